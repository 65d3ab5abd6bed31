//! Files and folders that only their owner may read, and that outlive a loss of power.

use std::fs::{DirBuilder, File, read_dir};
use std::io::{self, Write as _};
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

/// Makes `dir` and missing parents with mode 0700; leaves the mode of an existing one to its owner.
pub(super) fn create_private_dir(dir: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(dir)
}

/// Brings the names in `dir` to disk: a new file's content alone does not make it findable after a crash.
pub(super) fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

/// Brings all files in `dir`, and their names, to disk.
pub(super) fn sync_files(dir: &Path) -> io::Result<()> {
    for entry in read_dir(dir)? {
        let path = entry?.path();
        if !path.is_file() {
            continue;
        }
        match File::open(&path).and_then(|file| file.sync_all()) {
            // sled replaces its snapshots while we look.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            result => result?,
        }
    }
    sync_dir(dir)
}

/// Writes a file that only its owner can read, whole or not at all, over one that is there; on return it has reached the
/// disk.
pub(super) fn replace_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let dir = path.parent().unwrap_or(Path::new("."));
    // Temporary files have mode 0600 from their start.
    let mut file = tempfile::NamedTempFile::new_in(dir)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    sync_dir(dir)
}
