//! A second copy of what must not be lost, in a file of its own beside the database.
//!
//! sled opens a damaged file without a word: it keeps what lies before the first byte that does not fit, and overwrites the
//! rest (measured with 0.34.7: of 350 files with flipped bytes, holes or cut ends every one opened, most with records
//! missing). One bad sector would so lose accounts for good. This file is written whole after every change of a precious
//! tree, and the count of changes in both tells which one is behind.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::domain::id::hex;
use crate::store::disk::replace_private;
use crate::store::trees::{Change, KEY_CHECK, Tree, Trees, sequence};
use crate::store::{StoreError, migrate};

/// Its name in the data folder.
pub(super) const FILE: &str = "second-copy";

/// Where a damaged one is kept, for people who want to look at it.
const DAMAGED_FILE: &str = "second-copy.damaged";

/// The copy: a line with the digest of the rest, and the rest, which is this as JSON. Records are in base64, sealed as they
/// are in the database.
#[derive(Serialize, Deserialize)]
pub(super) struct SecondCopy {
    /// The schema of the records.
    pub(super) schema: u32,
    /// How many changes it has seen.
    pub(super) sequence: u64,
    /// What opens under the right master key alone.
    pub(super) key_check: String,
    trees: BTreeMap<String, BTreeMap<String, String>>,
}

/// What lies where the copy belongs.
pub(super) enum Found {
    Nothing,
    Damaged,
    Copy(SecondCopy),
}

impl SecondCopy {
    /// Reads the copy in the data folder `dir`.
    pub(super) fn read(dir: &Path) -> Result<Found, StoreError> {
        let path = dir.join(FILE);
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Found::Nothing),
            Err(error) => return Err(unusable(&path, error)),
        };
        let mut parts = text.splitn(2, |byte| *byte == b'\n');
        let (sum, rest) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        if sum != digest(rest).as_bytes() {
            return Ok(Found::Damaged);
        }
        Ok(serde_json::from_slice(rest).map_or(Found::Damaged, Found::Copy))
    }

    /// Takes a copy of what `trees` holds.
    pub(super) fn of(trees: &Trees) -> Result<Self, StoreError> {
        let meta = trees.of(Tree::Meta);
        let key_check = meta.get(KEY_CHECK)?.unwrap_or_default();
        let mut copied = BTreeMap::new();
        for tree in Tree::PRECIOUS {
            let mut records = BTreeMap::new();
            for entry in trees.of(tree) {
                let (key, bytes) = entry?;
                records.insert(String::from_utf8_lossy(&key).into_owned(), STANDARD.encode(bytes));
            }
            copied.insert(tree.name().to_owned(), records);
        }
        Ok(Self {
            schema: migrate::newest(),
            sequence: sequence(meta)?,
            key_check: String::from_utf8_lossy(&key_check).into_owned(),
            trees: copied,
        })
    }

    /// Writes it into the data folder `dir`, whole or not at all; on return it has reached the disk.
    pub(super) fn write(&self, dir: &Path) -> Result<(), StoreError> {
        let rest = serde_json::to_vec(self).map_err(|_| StoreError::Damaged("a record cannot be copied"))?;
        let text = [digest(&rest).as_bytes(), b"\n", rest.as_slice()].concat();
        replace_private(&dir.join(FILE), &text).map_err(|error| StoreError::Sync(Arc::new(error)))
    }

    /// Returns the records of `tree`.
    pub(super) fn records(&self, tree: Tree) -> Vec<(&str, Vec<u8>)> {
        let records = self.trees.get(tree.name()).into_iter().flatten();
        records.filter_map(|(key, text)| Some((key.as_str(), STANDARD.decode(text).ok()?))).collect()
    }

    /// Returns what makes the precious trees of `trees` the same as this copy.
    pub(super) fn changes(&self, trees: &Trees) -> Result<Vec<Change>, StoreError> {
        let mut changes = vec![Change::put(Tree::Meta, KEY_CHECK, self.key_check.as_str())];
        for tree in Tree::PRECIOUS {
            for key in trees.of(tree).iter().keys() {
                changes.push(Change::remove(tree, &String::from_utf8_lossy(&key?)));
            }
            changes.extend(self.records(tree).into_iter().map(|(key, bytes)| Change::put(tree, key, bytes)));
        }
        Ok(changes)
    }
}

/// Moves a damaged copy in the data folder `dir` out of the way.
pub(super) fn set_aside(dir: &Path) -> io::Result<()> {
    fs::rename(dir.join(FILE), dir.join(DAMAGED_FILE))
}

fn digest(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

fn unusable(path: &Path, error: io::Error) -> StoreError {
    StoreError::Folder { dir: PathBuf::from(path), source: Arc::new(error) }
}
