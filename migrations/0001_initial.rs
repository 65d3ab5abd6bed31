//! Schema 1: the trees, all empty.

/// Creates what is missing of schema 1.
pub(super) fn up(db: &sled::Db) -> sled::Result<()> {
    for tree in ["meta", "accounts", "grants", "health", "keys", "usage", "audit"] {
        db.open_tree(tree)?;
    }
    db.open_tree("meta")?.insert("schema", "1")?;
    Ok(())
}
