//! TLS as a self-managed GitLab has it: an authority of its own, certificates with and without flaws, and a server that
//! takes the TLS off and passes everything on.

use std::cell::Cell;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;

use actix::spawn;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, date_time_ymd};
use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

/// An authority that nobody knows.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

/// What a server shows: a certificate, and the key to it.
pub struct Identity {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

impl Authority {
    pub fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().expect("a key");
        let pem = params.self_signed(&key).expect("a certificate").pem();
        Self { issuer: Issuer::new(params, key), pem }
    }

    /// Returns a certificate for `host`.
    pub fn issue(&self, host: &str) -> Identity {
        self.issue_with(host, |_| {})
    }

    /// Returns a certificate for `host` that ended years ago.
    pub fn issue_expired(&self, host: &str) -> Identity {
        self.issue_with(host, |params| params.not_after = date_time_ymd(2020, 1, 1))
    }

    /// Returns a certificate for `host` that begins in a thousand years.
    pub fn issue_too_early(&self, host: &str) -> Identity {
        self.issue_with(host, |params| params.not_before = date_time_ymd(3026, 1, 1))
    }

    fn issue_with(&self, host: &str, change: impl FnOnce(&mut CertificateParams)) -> Identity {
        let mut params = CertificateParams::new(vec![host.to_owned()]).expect("a name");
        change(&mut params);
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        identity(certificate.der().clone(), &key)
    }

    /// Writes the authority's certificate into `folder`; returns where it is.
    pub fn file(&self, folder: &Path) -> PathBuf {
        write(folder, &self.pem)
    }
}

/// Returns a certificate for `host` that signs itself, as `openssl req -x509` makes it, and the file in `folder` that it is
/// trusted by.
pub fn self_signed(host: &str, folder: &Path) -> (Identity, PathBuf) {
    self_signed_with(host, folder, |_| {})
}

/// As [`self_signed`], with a certificate that ended years ago.
pub fn self_signed_and_expired(host: &str, folder: &Path) -> (Identity, PathBuf) {
    self_signed_with(host, folder, |params| params.not_after = date_time_ymd(2020, 1, 1))
}

fn self_signed_with(host: &str, folder: &Path, change: impl FnOnce(&mut CertificateParams)) -> (Identity, PathBuf) {
    let mut params = CertificateParams::new(vec![host.to_owned()]).expect("a name");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    change(&mut params);
    let key = KeyPair::generate().expect("a key");
    let certificate = params.self_signed(&key).expect("a certificate");
    (identity(certificate.der().clone(), &key), write(folder, &certificate.pem()))
}

fn identity(certificate: CertificateDer<'static>, key: &KeyPair) -> Identity {
    Identity { chain: vec![certificate], key: PrivatePkcs8KeyDer::from(key.serialize_der()).into() }
}

fn write(folder: &Path, pem: &str) -> PathBuf {
    let (_, path) = tempfile::Builder::new().suffix(".pem").tempfile_in(folder).expect("a file").keep().expect("kept");
    std::fs::write(&path, pem).expect("it is written");
    path
}

impl Identity {
    /// Returns what a server needs to speak TLS as this identity.
    pub fn acceptor(self) -> TlsAcceptor {
        let builder = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()));
        let builder = builder.with_safe_default_protocol_versions().expect("versions").with_no_client_auth();
        let config = builder.with_single_cert(self.chain, self.key).expect("a certificate and its key");
        TlsAcceptor::from(Arc::new(config))
    }
}

/// A server that takes the TLS off and passes everything on to another one. It ends with the test.
pub struct Front {
    address: SocketAddr,
    connections: Rc<Cell<usize>>,
}

impl Front {
    /// Starts in front of `behind`.
    pub async fn start(identity: Identity, behind: SocketAddr) -> Self {
        let acceptor = identity.acceptor();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let connections = Rc::new(Cell::new(0));
        let taken = Rc::clone(&connections);
        spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, taken) = (acceptor.clone(), Rc::clone(&taken));
                spawn(async move {
                    // A client that does not trust the certificate goes away.
                    let Ok(mut near) = acceptor.accept(stream).await else { return };
                    taken.set(taken.get() + 1);
                    let mut far = TcpStream::connect(behind).await.expect("the server behind is there");
                    // Whoever goes first ends it.
                    drop(copy_bidirectional(&mut near, &mut far).await);
                });
            }
        });
        Self { address, connections }
    }

    /// Returns its root, where it is called `host`.
    pub fn url(&self, host: &str) -> String {
        format!("https://{host}:{}", self.address.port())
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns how many connections came to have TLS.
    pub fn connections(&self) -> usize {
        self.connections.get()
    }
}
