//! A client's settings file: read with bounds, backed up, and replaced whole or not at all.

use std::fs::{self, DirBuilder, File, Metadata, OpenOptions, Permissions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, fchown};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};

use crate::domain::time::{Clock as _, SystemClock};

/// No settings file is larger, in bytes.
const FILE_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// Such files hold keys.
const PRIVATE: u32 = 0o600;
const PRIVATE_FOLDER: u32 = 0o700;
/// As many backups may be made within a second.
const BACKUPS_MAX: u32 = 100;

/// A settings file as it was read, or one that is not there yet.
pub(super) struct SettingsFile {
    /// The file itself, where the path that was given is a link.
    path: PathBuf,
    text: String,
    there: Option<Metadata>,
}

impl SettingsFile {
    /// Reads the file at `path`.
    pub(super) fn read(path: &Path) -> anyhow::Result<Self> {
        let shown = path.display();
        let path = match fs::canonicalize(path) {
            Ok(path) => path,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                if fs::symlink_metadata(path).is_ok() {
                    bail!("{shown} is a link that leads nowhere: mend or remove it");
                }
                return Ok(Self { path: std::path::absolute(path)?, text: String::new(), there: None });
            }
            Err(error) => return Err(error).with_context(|| format!("{shown} cannot be read")),
        };
        // What is no file may be a pipe that is never written to.
        if !fs::metadata(&path).with_context(|| format!("{shown} cannot be read"))?.is_file() {
            bail!("{shown} is not a file");
        }
        let (text, there) = contents(&path).with_context(|| format!("{shown} cannot be read"))?;
        Ok(Self { path, text, there: Some(there) })
    }

    /// Returns what it says; nothing, if it is not there.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// Returns where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Writes a new text in place of what was read; returns the backup, if there was something to back up.
    ///
    /// The new file has the owner and the rights of the old one. Whoever reads it sees the one or the other.
    pub(super) fn replace(&self, text: &str) -> anyhow::Result<Option<PathBuf>> {
        let shown = self.path.display();
        let folder = self.path.parent().unwrap_or(Path::new("/"));
        let backup = match &self.there {
            None => {
                DirBuilder::new()
                    .recursive(true)
                    .mode(PRIVATE_FOLDER)
                    .create(folder)
                    .with_context(|| format!("cannot make the folder {}", folder.display()))?;
                None
            }
            Some(_) => Some(self.back_up().with_context(|| format!("cannot make a backup of {shown}"))?),
        };
        self.swap(folder, text).with_context(|| format!("cannot write {shown}"))?;
        Ok(backup)
    }

    fn swap(&self, folder: &Path, text: &str) -> anyhow::Result<()> {
        let mode = self.there.as_ref().map_or(PRIVATE, |there| there.mode() & 0o7777);
        let mut file = tempfile::Builder::new().permissions(Permissions::from_mode(PRIVATE)).tempfile_in(folder)?;
        file.write_all(text.as_bytes())?;
        if let Some(there) = &self.there {
            let fresh = file.as_file().metadata()?;
            if (fresh.uid(), fresh.gid()) != (there.uid(), there.gid()) {
                fchown(file.as_file(), Some(there.uid()), Some(there.gid()))?;
            }
        }
        file.as_file().set_permissions(Permissions::from_mode(mode))?;
        file.as_file().sync_all()?;
        // The client itself may have written it in the meantime.
        let is_same = match (&self.there, contents(&self.path)) {
            (Some(_), Ok((now, _))) => now == self.text,
            (None, Err(error)) => {
                error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::NotFound)
            }
            _ => false,
        };
        if !is_same {
            bail!("somebody else has just changed it: try again");
        }
        file.persist(&self.path).map_err(|error| error.error)?;
        Ok(File::open(folder)?.sync_all()?)
    }

    fn back_up(&self) -> anyhow::Result<PathBuf> {
        let time: String = SystemClock.now().to_string().chars().filter(char::is_ascii_alphanumeric).collect();
        let name = self.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        for number in 0..BACKUPS_MAX {
            let more = if number == 0 { String::new() } else { format!("-{number}") };
            let path = self.path.with_file_name(format!("{name}.{time}{more}.bak"));
            match OpenOptions::new().write(true).create_new(true).mode(PRIVATE).open(&path) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error.into()),
                Ok(mut file) => {
                    file.write_all(self.text.as_bytes())?;
                    file.sync_all()?;
                    return Ok(path);
                }
            }
        }
        bail!("there are {BACKUPS_MAX} of this second already")
    }
}

fn contents(path: &Path) -> anyhow::Result<(String, Metadata)> {
    let file = File::open(path)?;
    let metadata = file.metadata()?;
    let mut bytes = Vec::new();
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        bail!("it is larger than any settings file, {FILE_BYTES_MAX} bytes");
    }
    let text = String::from_utf8(bytes).map_err(|_| anyhow::anyhow!("it is not UTF-8 text"))?;
    Ok((text, metadata))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn modes(folder: &Path) -> Vec<(String, u32)> {
        let entries = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry"));
        let mut modes: Vec<(String, u32)> = entries
            .map(|entry| {
                (entry.file_name().to_string_lossy().into_owned(), entry.metadata().expect("metadata").mode() & 0o777)
            })
            .collect();
        modes.sort();
        modes
    }

    #[test]
    fn a_file_keeps_its_rights_and_leaves_a_private_backup() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("settings.json");
        fs::write(&path, "old").expect("a file");
        fs::set_permissions(&path, Permissions::from_mode(0o644)).expect("rights");
        let backups: Vec<PathBuf> = (0..3)
            .map(|number| {
                let file = SettingsFile::read(&path).expect("read");
                file.replace(&format!("new {number}")).expect("replaced").expect("a backup")
            })
            .collect();
        assert_eq!(fs::read_to_string(&path).expect("the file"), "new 2");
        assert_eq!(fs::read_to_string(&backups[0]).expect("a backup"), "old");
        let modes = modes(folder.path());
        assert_eq!((modes.len(), &modes[0]), (4, &("settings.json".to_owned(), 0o644)));
        assert!(
            modes[1..]
                .iter()
                .all(|(name, mode)| Path::new(name).extension().is_some_and(|extension| extension == "bak")
                    && *mode == 0o600),
            "{modes:?}"
        );
    }

    #[test]
    fn a_new_file_is_private_and_its_folder_is_made() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a/b/config.toml");
        let file = SettingsFile::read(&path).expect("nothing there");
        assert_eq!((file.text(), file.replace("x = 1\n").expect("written")), ("", None));
        assert_eq!(modes(&folder.path().join("a/b")), [("config.toml".to_owned(), 0o600)]);
    }

    #[test]
    fn a_link_is_followed_to_the_file() {
        let folder = tempfile::tempdir().expect("a folder");
        let (real, link) = (folder.path().join("dotfiles.json"), folder.path().join("settings.json"));
        fs::write(&real, "old").expect("a file");
        std::os::unix::fs::symlink(&real, &link).expect("a link");
        SettingsFile::read(&link).expect("read").replace("new").expect("replaced");
        assert!(fs::symlink_metadata(&link).expect("metadata").is_symlink());
        assert_eq!(fs::read_to_string(&real).expect("the file"), "new");
        fs::remove_file(&real).expect("removed");
        assert!(SettingsFile::read(&link).err().is_some_and(|error| error.to_string().contains("leads nowhere")));
    }

    #[test]
    fn what_somebody_else_has_just_written_is_not_lost() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("settings.json");
        let fresh = SettingsFile::read(&path).expect("nothing there");
        fs::write(&path, "theirs").expect("a file");
        assert!(fresh.replace("ours").is_err());
        let file = SettingsFile::read(&path).expect("read");
        fs::write(&path, "theirs again").expect("a file");
        let error = file.replace("ours").expect_err("a conflict");
        assert!(format!("{error:#}").contains("try again"), "{error:#}");
        assert_eq!(fs::read_to_string(&path).expect("the file"), "theirs again");
    }

    #[test]
    fn what_is_no_settings_file_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        assert!(SettingsFile::read(folder.path()).is_err());
        let path = folder.path().join("binary");
        fs::write(&path, [0xff, 0xfe]).expect("a file");
        assert!(SettingsFile::read(&path).err().is_some_and(|error| format!("{error:#}").contains("UTF-8")));
        let large = File::create(folder.path().join("large")).expect("a file");
        large.set_len(FILE_BYTES_MAX + 1).expect("a size");
        assert!(
            SettingsFile::read(&folder.path().join("large"))
                .err()
                .is_some_and(|error| format!("{error:#}").contains("larger"))
        );
    }
}
