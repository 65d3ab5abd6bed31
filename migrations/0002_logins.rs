//! Schema 2: logins that are not an account yet.

/// Adds the tree of logins.
pub(super) fn up(db: &sled::Db) -> sled::Result<()> {
    db.open_tree("logins")?;
    db.open_tree("meta")?.insert("schema", "2")?;
    Ok(())
}
