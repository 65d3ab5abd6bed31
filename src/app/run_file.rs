//! `run.json`: how the command line finds the server that has the data folder open.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::app::{StartError, boot};

const NAME: &str = "run.json";

/// Where a server is; the file is removed on drop.
#[derive(Debug)]
pub struct RunFile {
    path: PathBuf,
}

#[derive(Serialize, Deserialize)]
struct Contents {
    address: SocketAddr,
    pid: u32,
}

impl RunFile {
    /// Says in `data_dir` that a server listens on `address`.
    pub(super) fn write(data_dir: &Path, address: SocketAddr) -> Result<Self, StartError> {
        let path = data_dir.join(NAME);
        let contents = Contents { address, pid: std::process::id() };
        let written = serde_json::to_vec(&contents).map_err(io::Error::from);
        match written.and_then(|bytes| boot::write_private(&path, &bytes)) {
            Ok(()) => Ok(Self { path }),
            Err(source) => Err(StartError::File { path, source }),
        }
    }
}

impl Drop for RunFile {
    fn drop(&mut self) {
        // One that stays behind names a process that is gone; whoever reads it asks the address first.
        drop(std::fs::remove_file(&self.path));
    }
}

/// Returns where the server of `data_dir` says it is. It may be gone: ask it.
pub fn find(data_dir: &Path) -> Option<SocketAddr> {
    let bytes = std::fs::read(data_dir.join(NAME)).ok()?;
    let contents: Contents = serde_json::from_slice(&bytes).ok()?;
    // A server that listens on every address is asked on this machine's own.
    let mut address = contents.address;
    if address.ip().is_unspecified() {
        address.set_ip(if address.is_ipv4() { [127, 0, 0, 1].into() } else { std::net::Ipv6Addr::LOCALHOST.into() });
    }
    Some(address)
}
