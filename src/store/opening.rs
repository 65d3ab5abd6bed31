//! From a data folder to an open database that has lost nothing.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use tracing::{debug, error, warn};

use crate::store::codec::{decode_account, decode_login};
use crate::store::disk::{create_private_dir, sync_dir, sync_files};
use crate::store::seal::{Place, Sealer};
use crate::store::second_copy::{self, Found, SecondCopy};
use crate::store::trees::{Change, KEY_CHECK, Tree, Trees, sequence};
use crate::store::{StoreError, migrate};

/// The database's own folder inside the data folder.
pub(super) const DATABASE_DIR: &str = "store";
/// The file in it that sled keeps its log in.
const DATABASE_FILE: &str = "db";
/// All records together are a few hundred KiB; sled's own default is 1 GiB.
const CACHE_BYTES: u64 = 16 << 20;
/// How often a locked database is tried again, and how long after. Right after a `kill -9` the lock of the dead process was
/// seen to linger; 3 s in all outlast that and a quick restart's overlap.
const LOCK_TRIES: u32 = 30;
const LOCK_PAUSE: Duration = Duration::from_millis(100);
/// How sled 0.34 begins the message of its lock error, which has no kind of its own (`config.rs`, `try_lock`).
const LOCK_MESSAGE: &str = "could not acquire lock";
/// Damaged databases that are kept beside the present one; more than these were never looked at.
const ASIDE_MAX: u32 = 100;

const KEY_CHECK_PLACE: Place<'static> = Place { kind: "meta", id: KEY_CHECK, version: 1, readable: "" };
const KEY_CHECK_TEXT: &[u8] = b"duopool";

/// Returns whether the data folder `dir` has a database or a copy of one, and so perhaps sealed data.
pub(super) fn has_data(dir: &Path) -> bool {
    dir.join(DATABASE_DIR).join(DATABASE_FILE).exists() || dir.join(second_copy::FILE).exists()
}

/// Opens the database in the data folder `dir`, brings it to the newest schema, and brings back from the second copy what
/// the database has lost. See [`crate::store::SledStore::open`] for refusals.
pub(super) fn open(dir: &Path, sealer: &Sealer) -> Result<Trees, StoreError> {
    let unusable = |error| StoreError::Folder { dir: dir.to_owned(), source: Arc::new(error) };
    create_private_dir(&dir.join(DATABASE_DIR)).map_err(unusable)?;
    let (copy, damaged) = match SecondCopy::read(dir)? {
        Found::Nothing => (None, false),
        Found::Copy(copy) => (Some(copy), false),
        Found::Damaged => (None, true),
    };
    let db = match open_database(dir, LOCK_TRIES) {
        Err(error) if is_damage(&error) => {
            let Some(copy) = &copy else { return Err(error) };
            if !fits(sealer, &copy.key_check) {
                return Err(StoreError::WrongKey);
            }
            set_aside(dir)?;
            open_database(dir, LOCK_TRIES)?
        }
        result => result?,
    };
    let seen = known_sequence(&db)?;
    if damaged {
        if seen == 0 {
            return Err(StoreError::Damaged("its database is empty, and the second copy of it is damaged"));
        }
        second_copy::set_aside(dir).map_err(unusable)?;
        warn!("the second copy of the accounts was damaged; it is written anew");
    }
    let trees = match &copy {
        Some(copy) if copy.sequence > seen => bring_back(db, copy, sealer)?,
        _ => admit(db, sealer)?,
    };
    if let Some(copy) = copy.as_ref().filter(|copy| copy.sequence == seen) {
        mend(&trees, copy, sealer)?;
    }
    if seen == 0 && copy.is_none() {
        // From now on a database that has seen nothing is one that has lost everything.
        trees.commit(&[])?;
    }
    settle(&trees, dir)?;
    if copy.is_none_or(|copy| copy.sequence != seen || copy.schema != migrate::newest()) {
        SecondCopy::of(&trees)?.write(dir)?;
    }
    Ok(trees)
}

/// Brings everything to disk. sled's own flush ends in `sync_file_range`, which does not promise to outlast a loss of power
/// (`pagecache/iobuf.rs` of sled 0.34.7).
pub(super) fn settle(trees: &Trees, dir: &Path) -> Result<(), StoreError> {
    trees.db.flush()?;
    let synced = sync_files(&dir.join(DATABASE_DIR)).and_then(|()| sync_dir(dir));
    synced.map_err(|error| StoreError::Sync(Arc::new(error)))
}

/// Opens sled in the data folder `dir`, trying a locked database `tries` times.
pub(super) fn open_database(dir: &Path, tries: u32) -> Result<sled::Db, StoreError> {
    let config = sled::Config::new().path(dir.join(DATABASE_DIR)).cache_capacity(CACHE_BYTES);
    // Some damage makes sled panic; nothing of what it was building is used then.
    let attempt = || catch_unwind(AssertUnwindSafe(|| config.open())).map_err(|_| StoreError::Crashed);
    for _ in 1..tries {
        match attempt()? {
            Err(error) if is_locked(&error) => thread::sleep(LOCK_PAUSE),
            result => return Ok(result?),
        }
    }
    match attempt()? {
        Err(error) if is_locked(&error) => Err(StoreError::InUse(dir.to_owned())),
        result => Ok(result?),
    }
}

fn is_locked(error: &sled::Error) -> bool {
    matches!(error, sled::Error::Io(error) if error.to_string().starts_with(LOCK_MESSAGE))
}

/// Returns whether the files are at fault, and not the disk or another process.
fn is_damage(error: &StoreError) -> bool {
    use std::io::ErrorKind::{InvalidData, InvalidInput, UnexpectedEof};
    match error {
        StoreError::Crashed => true,
        StoreError::Database(error) => match &**error {
            sled::Error::Io(error) => matches!(error.kind(), InvalidData | InvalidInput | UnexpectedEof),
            _ => true,
        },
        _ => false,
    }
}

/// Moves a database that cannot be opened out of the way, where it can still be looked at.
fn set_aside(dir: &Path) -> Result<(), StoreError> {
    let unusable = |error| StoreError::Folder { dir: dir.to_owned(), source: Arc::new(error) };
    let names = (1..=ASIDE_MAX).map(|number| dir.join(format!("{DATABASE_DIR}.damaged-{number}")));
    let Some(aside) = names.into_iter().find(|path| !path.exists()) else {
        return Err(StoreError::Damaged("its database cannot be opened, and too many damaged ones lie beside it"));
    };
    fs::rename(dir.join(DATABASE_DIR), &aside).map_err(unusable)?;
    create_private_dir(&dir.join(DATABASE_DIR)).map_err(unusable)?;
    error!("the database could not be opened and was moved to {}", aside.display());
    sync_dir(dir).map_err(unusable)
}

/// Returns how many changes the database has seen, and makes no tree for that.
fn known_sequence(db: &sled::Db) -> Result<u64, StoreError> {
    if db.tree_names().iter().any(|name| name.as_ref() == b"meta") { sequence(&db.open_tree("meta")?) } else { Ok(0) }
}

/// Takes a database as it is, if the key fits.
fn admit(db: sled::Db, sealer: &Sealer) -> Result<Trees, StoreError> {
    let checked = check_key(&db, migrate::schema(&db)?, sealer)?;
    migrate::run(&db)?;
    let trees = Trees::open(db)?;
    if !checked {
        trees.of(Tree::Meta).insert(KEY_CHECK, key_check(sealer)?.as_str())?;
    }
    Ok(trees)
}

/// Makes a database that has lost changes what its copy says, if the key fits the copy.
fn bring_back(db: sled::Db, copy: &SecondCopy, sealer: &Sealer) -> Result<Trees, StoreError> {
    if copy.schema > migrate::newest() {
        return Err(StoreError::NewerSchema { found: copy.schema, known: migrate::newest() });
    }
    if !fits(sealer, &copy.key_check) {
        return Err(StoreError::WrongKey);
    }
    migrate::run(&db)?;
    let trees = Trees::open(db)?;
    let before: usize = Tree::PRECIOUS.into_iter().map(|tree| trees.of(tree).len()).sum();
    let after: usize = Tree::PRECIOUS.into_iter().map(|tree| copy.records(tree).len()).sum();
    trees.commit_as(&copy.changes(&trees)?, copy.sequence)?;
    error!("the database was damaged and had {before} of {after} records left; all are back from their second copy");
    Ok(trees)
}

/// Brings back single records that are missing or broken, from a copy of the same age.
fn mend(trees: &Trees, copy: &SecondCopy, sealer: &Sealer) -> Result<(), StoreError> {
    let mut changes = Vec::new();
    for tree in Tree::PRECIOUS {
        for (key, bytes) in copy.records(tree) {
            let stored = trees.of(tree).get(key)?;
            let is_sound = |bytes: &[u8]| match tree {
                Tree::Accounts => decode_account(sealer, key, bytes).is_ok(),
                Tree::Logins => decode_login(sealer, key, bytes).is_ok(),
                Tree::Keys | Tree::Meta | Tree::Grants | Tree::Health => true,
            };
            if !stored.is_some_and(|stored| is_sound(&stored)) && is_sound(&bytes) {
                error!("a record of `{key}` was damaged or missing; it is back from its second copy");
                changes.push(Change::put(tree, key, bytes));
            }
        }
    }
    if changes.is_empty() { Ok(()) } else { trees.commit_as(&changes, copy.sequence) }
}

/// Returns what opens under the right master key alone.
pub(super) fn key_check(sealer: &Sealer) -> Result<String, StoreError> {
    sealer.seal(KEY_CHECK_PLACE, KEY_CHECK_TEXT).ok_or(StoreError::Unsealable)
}

fn fits(sealer: &Sealer, check: &str) -> bool {
    sealer.open(KEY_CHECK_PLACE, check).as_deref() == Some(KEY_CHECK_TEXT)
}

/// Returns whether the folder knows its key already and `sealer` has it, or `false` for a folder without records, which may
/// still take any key.
fn check_key(db: &sled::Db, schema: u32, sealer: &Sealer) -> Result<bool, StoreError> {
    if schema > 0
        && let Some(check) = db.open_tree("meta")?.get(KEY_CHECK)?
    {
        let fits = std::str::from_utf8(&check).is_ok_and(|check| fits(sealer, check));
        return if fits { Ok(true) } else { Err(StoreError::WrongKey) };
    }
    for name in db.tree_names() {
        let holds_secrets = matches!(name.as_ref(), b"accounts" | b"grants" | b"logins");
        if holds_secrets && !db.open_tree(&name)?.is_empty() {
            debug!(tree = %String::from_utf8_lossy(&name), schema, "no key check");
            return Err(StoreError::Damaged("it has accounts, but lacks what tells their schema and key"));
        }
    }
    Ok(false)
}
