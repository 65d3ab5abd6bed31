//! The key that seals every secret, and where it comes from.
//!
//! It is either the operator's, in `DUOPOOL_MASTER_KEY`, or made at the first start and kept in a file beside the database.
//! The file guards a database that was copied without it, not a folder that was stolen whole. A key is never made where
//! sealed data already exists, and an existing key file is never overwritten: both would lose every credential.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use rand::TryRng;
use rand::rngs::SysRng;
use sha2::{Digest as _, Sha256};

use crate::domain::secret::Secret;
use crate::store::disk::{create_private_dir, replace_private, sync_dir};
use crate::store::opening::has_data;

/// Name of the key file in the data folder.
pub const KEY_FILE: &str = "master.key";
/// Name of the key that takes its place once everything is sealed under it.
const NEXT_KEY_FILE: &str = "master.key.next";
const KEY_BYTES: usize = 32;
/// A key file longer than this is no key file; keeps a wrong path from being read whole.
const FILE_BYTES_MAX: u64 = 256;
/// Everyone but the owner.
const OTHERS: u32 = 0o077;

/// Standard base64 whose padding may have been lost in copying.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// 32 secret bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MasterKey(Secret<[u8; KEY_BYTES]>);

/// A key that came from its file.
#[derive(Clone, Debug)]
pub struct KeyFile {
    /// The key.
    pub key: MasterKey,
    /// Where it lies.
    pub path: PathBuf,
    /// Whether the file was made just now.
    pub created: bool,
    /// Whether others than its owner may read it, which the operator should be told.
    pub exposed: bool,
}

/// Why there is no master key.
#[derive(Clone, Debug, thiserror::Error)]
pub enum KeyError {
    /// The text is no key.
    #[error("the master key must be 32 bytes, written as base64 or as 64 hexadecimal digits")]
    NotAKey,
    /// The key file holds something else; it was left as it is.
    #[error("{} holds no master key: restore it from a backup, or set DUOPOOL_MASTER_KEY", .0.display())]
    BadFile(PathBuf),
    /// There is data but no key file.
    #[error("the data folder has sealed data but {} is missing: restore it, or set DUOPOOL_MASTER_KEY", .0.display())]
    Missing(PathBuf),
    /// The key file can be neither read nor made.
    #[error("the key file {} cannot be used", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: Arc<io::Error>,
    },
    /// The system has no randomness to make a key from.
    #[error("the system gave no random bytes for a new master key")]
    NoRandomness,
}

impl MasterKey {
    /// Reads a key as an operator writes it: base64 of 32 bytes, or 64 hexadecimal digits.
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        let text = text.trim();
        let bytes = if text.len() == 2 * KEY_BYTES { unhex(text) } else { BASE64.decode(text).ok() };
        let bytes = bytes.and_then(|bytes| <[u8; KEY_BYTES]>::try_from(bytes).ok()).ok_or(KeyError::NotAKey)?;
        Ok(Self::from_bytes(bytes))
    }

    /// Reads the key file in the data folder `dir`, or makes folder and file where there is neither key nor data yet.
    ///
    /// A new file has mode 0600 and has reached the disk when this returns.
    pub fn load_or_create(dir: &Path) -> Result<KeyFile, KeyError> {
        let path = dir.join(KEY_FILE);
        if let Some(found) = Self::load(&path)? {
            return Ok(found);
        }
        if has_data(dir) {
            return Err(KeyError::Missing(path));
        }
        let key = Self::random()?;
        match key.write(dir, &path) {
            Ok(()) => Ok(KeyFile { key, path, created: true, exposed: false }),
            // Another start was faster: its key is the key.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                Self::load(&path)?.ok_or(KeyError::Missing(path))
            }
            Err(error) => Err(KeyError::File { path, source: Arc::new(error) }),
        }
    }

    /// Draws a new key.
    pub fn random() -> Result<Self, KeyError> {
        let mut bytes = [0; KEY_BYTES];
        SysRng.try_fill_bytes(&mut bytes).map_err(|_| KeyError::NoRandomness)?;
        Ok(Self::from_bytes(bytes))
    }

    /// Reads the key that a change of keys in the data folder `dir` leads to, if one was begun.
    pub(super) fn load_next(dir: &Path) -> Result<Option<Self>, KeyError> {
        Ok(Self::load(&dir.join(NEXT_KEY_FILE))?.map(|file| file.key))
    }

    /// Writes this key beside the present one in `dir`. One that lies there from a change that was cut short is of no use:
    /// the caller has opened the data under the present key.
    pub(super) fn write_next(&self, dir: &Path) -> Result<(), KeyError> {
        let path = dir.join(NEXT_KEY_FILE);
        replace_private(&path, format!("{}\n", BASE64.encode(self.0.expose())).as_bytes())
            .map_err(|error| KeyError::File { path, source: Arc::new(error) })
    }

    /// Puts the next key into the place of the present one, once the data in `dir` is sealed under it.
    pub(super) fn promote_next(dir: &Path) -> Result<(), KeyError> {
        let path = dir.join(KEY_FILE);
        let renamed = fs::rename(dir.join(NEXT_KEY_FILE), &path).and_then(|()| sync_dir(dir));
        renamed.map_err(|error| KeyError::File { path, source: Arc::new(error) })
    }

    fn load(path: &Path) -> Result<Option<KeyFile>, KeyError> {
        let unusable = |error| KeyError::File { path: path.to_owned(), source: Arc::new(error) };
        let about = match fs::metadata(path) {
            Ok(about) => about,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(unusable(error)),
        };
        let bad = || KeyError::BadFile(path.to_owned());
        if !about.is_file() || about.len() > FILE_BYTES_MAX {
            return Err(bad());
        }
        let text = String::from_utf8(fs::read(path).map_err(unusable)?).map_err(|_| bad())?;
        let key = Self::parse(&text).map_err(|_| bad())?;
        let exposed = about.permissions().mode() & OTHERS != 0;
        Ok(Some(KeyFile { key, path: path.to_owned(), created: false, exposed }))
    }

    /// Writes the file whole or not at all, and never over another; a temporary file has mode 0600 from its start.
    fn write(&self, dir: &Path, path: &Path) -> io::Result<()> {
        create_private_dir(dir)?;
        let mut file = tempfile::NamedTempFile::new_in(dir)?;
        writeln!(file, "{}", BASE64.encode(self.0.expose()))?;
        file.as_file().sync_all()?;
        file.persist_noclobber(path)?;
        sync_dir(dir)
    }

    /// Returns a key for something else than the store, which tells nothing about this one.
    pub fn derive(&self, purpose: &str) -> Secret<[u8; KEY_BYTES]> {
        let hash = Sha256::new().chain_update(b"duopool ").chain_update(purpose).chain_update([0]);
        Secret::new(hash.chain_update(self.0.expose()).finalize().into())
    }

    /// Takes the bare bytes.
    pub const fn from_bytes(bytes: [u8; KEY_BYTES]) -> Self {
        Self(Secret::new(bytes))
    }

    pub(super) fn bytes(&self) -> &Secret<[u8; KEY_BYTES]> {
        &self.0
    }
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    text.as_bytes().chunks(2).map(|pair| Some(digit(pair[0])? << 4 | digit(*pair.get(1)?)?)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_read_from_base64_and_from_hexadecimal_digits() {
        let key = MasterKey::from_bytes([0xab; 32]);
        let base64 = BASE64.encode([0xab; 32]);
        for text in [base64.clone(), base64.trim_end_matches('=').to_owned(), format!(" {base64}\n"), "aB".repeat(32)] {
            assert_eq!(MasterKey::parse(&text).unwrap(), key, "{text}");
        }
        for bad in ["", "secret", &"ab".repeat(31), &"xy".repeat(32), &BASE64.encode([1; 31]), &"é".repeat(32)] {
            assert!(matches!(MasterKey::parse(bad), Err(KeyError::NotAKey)), "{bad}");
        }
    }

    #[test]
    fn the_first_start_makes_a_private_key_file_and_later_ones_read_it() {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("data");
        let made = MasterKey::load_or_create(&dir).unwrap();
        assert!(made.created && !made.exposed);
        assert_eq!(fs::metadata(&made.path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::metadata(&dir).unwrap().permissions().mode() & 0o777, 0o700);
        let read = MasterKey::load_or_create(&dir).unwrap();
        assert!(!read.created);
        assert_eq!(read.key, made.key);
        assert_eq!(fs::read_dir(&dir).unwrap().count(), 1, "no temporary file is left");
        let other = MasterKey::load_or_create(&root.path().join("other")).unwrap();
        assert_ne!(other.key, made.key);
    }

    #[test]
    fn a_key_file_that_others_may_read_is_used_and_pointed_out() {
        let dir = tempfile::tempdir().unwrap();
        let made = MasterKey::load_or_create(dir.path()).unwrap();
        fs::set_permissions(&made.path, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(MasterKey::load_or_create(dir.path()).unwrap().exposed);
    }

    #[test]
    fn a_file_that_holds_no_key_is_refused_and_kept() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(KEY_FILE);
        for content in [&b""[..], b"my notes", &[0xff; 32], &[b'a'; 1_000]] {
            fs::write(&path, content).unwrap();
            assert!(matches!(MasterKey::load_or_create(dir.path()), Err(KeyError::BadFile(_))));
            assert_eq!(fs::read(&path).unwrap(), content);
        }
    }

    #[test]
    fn no_new_key_is_made_over_existing_data() {
        let dir = tempfile::tempdir().unwrap();
        let made = MasterKey::load_or_create(dir.path()).unwrap();
        drop(crate::store::SledStore::open(dir.path(), &made.key).unwrap());
        fs::remove_file(&made.path).unwrap();
        assert!(matches!(MasterKey::load_or_create(dir.path()), Err(KeyError::Missing(_))));
        assert!(!made.path.exists());
    }

    #[test]
    fn derived_keys_differ_by_their_purpose_and_from_the_key_itself() {
        let (key, other) = (MasterKey::from_bytes([7; 32]), MasterKey::from_bytes([8; 32]));
        assert_eq!(key.derive("a").expose(), key.derive("a").expose());
        for different in [key.derive("b"), other.derive("a"), Secret::new([7; 32])] {
            assert_ne!(key.derive("a").expose(), different.expose());
        }
    }

    #[test]
    fn a_key_does_not_show_in_debug_output() {
        assert_eq!(format!("{:?}", MasterKey::from_bytes([7; 32])), "MasterKey(Secret(***))");
    }
}
