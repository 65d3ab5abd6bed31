//! Brings a data folder to the schema that this program speaks.
//!
//! The steps live in `migrations/`, one file per version. Here is only which of them a folder still needs.

use crate::store::StoreError;

#[path = "../../migrations/0001_initial.rs"]
mod m0001_initial;
#[path = "../../migrations/0002_logins.rs"]
mod m0002_logins;

type Step = fn(&sled::Db) -> sled::Result<()>;

/// Step *n* leads from schema *n* to *n* + 1.
const STEPS: &[Step] = &[m0001_initial::up, m0002_logins::up];

/// The newest schema this program knows.
pub(super) fn newest() -> u32 {
    u32::try_from(STEPS.len()).unwrap_or(u32::MAX)
}

/// Returns the schema of the folder, 0 for an empty one, and changes nothing.
///
/// # Errors
/// [`StoreError::NewerSchema`] if this program does not know it, [`StoreError::Damaged`] if the entry is no number.
pub(super) fn schema(db: &sled::Db) -> Result<u32, StoreError> {
    if !db.tree_names().iter().any(|name| name.as_ref() == b"meta") {
        return Ok(0);
    }
    let Some(bytes) = db.open_tree("meta")?.get("schema")? else { return Ok(0) };
    let number = std::str::from_utf8(&bytes).ok().and_then(|text| text.parse().ok());
    match number {
        Some(found) if found > newest() => Err(StoreError::NewerSchema { found, known: newest() }),
        Some(found) => Ok(found),
        None => Err(StoreError::Damaged("its schema version is not a number")),
    }
}

/// Runs the steps that the folder still needs, each flushed before the next.
pub(super) fn run(db: &sled::Db) -> Result<(), StoreError> {
    let from = schema(db)?;
    for (step, number) in STEPS.iter().zip(1..) {
        if number > from {
            step(db)?;
            db.flush()?;
            tracing::info!(schema = number, "migrated the data folder to schema {number}");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn empty() -> sled::Db {
        sled::Config::new().temporary(true).open().unwrap()
    }

    #[test]
    fn an_empty_folder_gets_every_tree_and_the_newest_schema() {
        let db = empty();
        assert_eq!(schema(&db).unwrap(), 0);
        run(&db).unwrap();
        assert_eq!(schema(&db).unwrap(), newest());
        let trees: BTreeSet<_> =
            db.tree_names().iter().map(|name| String::from_utf8_lossy(name).into_owned()).collect();
        for tree in ["meta", "accounts", "grants", "health", "keys", "usage", "audit", "logins"] {
            assert!(trees.contains(tree), "{tree}");
        }
    }

    #[test]
    fn running_a_step_again_keeps_what_is_stored() {
        let db = empty();
        run(&db).unwrap();
        db.open_tree("accounts").unwrap().insert("acct_1", "x").unwrap();
        for step in STEPS {
            step(&db).unwrap();
            run(&db).unwrap();
        }
        assert_eq!(db.open_tree("accounts").unwrap().get("acct_1").unwrap().as_deref(), Some(&b"x"[..]));
        assert_eq!(schema(&db).unwrap(), newest());
    }

    #[test]
    fn a_step_that_was_cut_short_is_finished_the_next_time() {
        let db = empty();
        db.open_tree("meta").unwrap();
        db.open_tree("accounts").unwrap();
        run(&db).unwrap();
        assert_eq!(schema(&db).unwrap(), newest());
    }

    #[test]
    fn an_unknown_schema_is_refused() {
        let db = empty();
        let meta = db.open_tree("meta").unwrap();
        meta.insert("schema", "99").unwrap();
        assert!(matches!(run(&db), Err(StoreError::NewerSchema { found: 99, .. })));
        meta.insert("schema", "one").unwrap();
        assert!(matches!(run(&db), Err(StoreError::Damaged(_))));
    }
}
