//! What needs the data folder to itself: a change of its key, and a restore. Neither is done while a server runs, whose
//! accounts know their credentials by heart and would write them back.

use std::path::{Path, PathBuf};

use tracing::{info, warn};

use crate::app::StartError;
use crate::config::Config;
use crate::domain::secret::Secret;
use crate::store::backup::{self, BackupError};
use crate::store::{MasterKey, Restored, SledStore, change_key};

/// Opens the data folder of `config`, and returns the key it opened under as well. Blocks up to 3 s while another process
/// has it open.
pub(super) fn open_store(config: &Config) -> Result<(SledStore, MasterKey), StartError> {
    let configured = configured_key(config)?;
    let (store, key, file) = SledStore::open_under(&config.data_dir, configured)?;
    if let Some(file) = file {
        if file.created {
            info!("made a master key in {}; keep a copy of it apart from the data", file.path.display());
        }
        if file.exposed {
            warn!("others on this machine can read {}; run: chmod 600 {0}", file.path.display());
        }
    }
    Ok((store, key))
}

fn configured_key(config: &Config) -> Result<Option<MasterKey>, StartError> {
    Ok(config.master_key.as_ref().map(|text| MasterKey::parse(text.expose())).transpose()?)
}

/// Seals everything under a new master key: `new`, or one that is drawn. Returns the file that has it now, unless the
/// operator keeps the key.
pub async fn rotate_master_key(config: &Config, new: Option<Secret<String>>) -> Result<Option<PathBuf>, StartError> {
    let (dir, present) = (config.data_dir.clone(), configured_key(config)?);
    let new = new.map(|text| MasterKey::parse(text.expose())).transpose()?;
    blocking(move || Ok(change_key(&dir, present, new)?)).await
}

/// Brings back the accounts of a sealed backup, all or none, and says what became of each. The backup is opened before the
/// data folder is touched.
pub async fn restore(
    config: &Config,
    sealed: Vec<u8>,
    passphrase: Secret<String>,
    overwrite_newer: bool,
) -> Result<Vec<Restored>, RestoreError> {
    let config = config.clone();
    blocking(move || {
        let backup = backup::open(&sealed, &passphrase)?;
        let (mut store, _) = open_store(&config)?;
        Ok(store.restore(&backup, overwrite_newer).map_err(StartError::Store)?)
    })
    .await
}

/// Why nothing was restored.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// The backup does not open.
    #[error(transparent)]
    Backup(#[from] BackupError),
    /// The data folder does not.
    #[error(transparent)]
    Start(#[from] StartError),
}

async fn blocking<T, E>(work: impl FnOnce() -> Result<T, E> + Send + 'static) -> Result<T, E>
where
    T: Send + 'static,
    E: From<StartError> + Send + 'static,
{
    let done = actix_web::rt::task::spawn_blocking(work).await;
    done.unwrap_or_else(|error| Err(StartError::Thread(error.to_string()).into()))
}

/// Writes a file that only its owner can read, whole or not at all, and never over another.
pub fn write_new_private(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    use std::io::Write as _;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // Temporary files have mode 0600 from their start.
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    file.persist_noclobber(path)?;
    std::fs::File::open(folder)?.sync_all()
}
