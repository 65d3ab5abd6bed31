//! A proxy that is not ours: Debian's tinyproxy. Run by `scripts/test`, which knows where it is.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tokio::net::{TcpSocket, TcpStream};

use super::{assert_refused, assert_serves, behind_tls, restart_with, through, trusting};
use crate::support::tls::Authority;

/// A tinyproxy that runs as long as this lives.
struct Tinyproxy {
    port: u16,
    child: Child,
}

impl Tinyproxy {
    /// Starts it with its files in `folder`, for whoever knows that Ada's password is `se-cret`; connections may go to
    /// `port` alone.
    async fn start(folder: &Path, port: u16) -> Self {
        let binary = std::env::var("DUOPOOL_TINYPROXY").expect("DUOPOOL_TINYPROXY says where tinyproxy is");
        let own = free_port();
        let (settings, log) = (folder.join("tinyproxy.conf"), folder.join("tinyproxy.log"));
        let lines = format!(
            "Port {own}\nListen 127.0.0.1\nTimeout 30\nMaxClients 50\nAllow 127.0.0.1\nConnectPort {port}\n\
             BasicAuth ada se-cret\nLogLevel Info\nLogFile \"{}\"\n",
            log.display()
        );
        fs::write(&settings, lines).expect("it is written");
        let command = [&"-d" as &dyn AsRef<std::ffi::OsStr>, &"-c", &settings];
        let mut started = Command::new(binary);
        started.args(command.map(AsRef::as_ref)).stdout(Stdio::null()).stderr(Stdio::null());
        let child = started.spawn().expect("tinyproxy starts");
        let this = Self { port: own, child };
        for _ in 0..1_000 {
            if TcpStream::connect(("127.0.0.1", own)).await.is_ok() {
                return this;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("tinyproxy does not listen: {}", fs::read_to_string(log).unwrap_or_default());
    }

    fn url(&self, user: &str) -> String {
        format!("http://{user}127.0.0.1:{}", self.port)
    }
}

impl Drop for Tinyproxy {
    fn drop(&mut self) {
        self.child.kill().expect("it runs");
        self.child.wait().expect("it ends");
    }
}

/// tinyproxy must be told a port; this one was free a moment ago.
fn free_port() -> u16 {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind(([127, 0, 0, 1], 0).into()).expect("a free port");
    socket.local_addr().expect("an address").port()
}

#[actix::test]
#[ignore = "needs Debian's tinyproxy, which scripts/test provides"]
async fn a_gitlab_is_reached_through_tinyproxy() {
    let authority = Authority::new("Corp");
    let (mut app, front) = behind_tls(authority.issue("localhost")).await;
    let (url, ca_file) = (front.url("localhost"), authority.file(app.folder()));
    let folder = tempfile::tempdir().expect("a folder");
    let proxy = Tinyproxy::start(folder.path(), front.address().port()).await;
    restart_with(&mut app, vec![through(&proxy.url("ada:se-cret@"), trusting(&url, &ca_file))]).await;
    assert_serves(&app, &url).await;
    let log = fs::read_to_string(folder.path().join("tinyproxy.log")).expect("a log");
    assert!(log.contains(&format!("CONNECT localhost:{}", front.address().port())), "{log}");
}

#[actix::test]
#[ignore = "needs Debian's tinyproxy, which scripts/test provides"]
async fn what_tinyproxy_refuses_is_told() {
    let authority = Authority::new("Corp");
    let (mut app, front) = behind_tls(authority.issue("localhost")).await;
    let (url, ca_file) = (front.url("localhost"), authority.file(app.folder()));
    let folder = tempfile::tempdir().expect("a folder");
    let proxy = Tinyproxy::start(folder.path(), front.address().port()).await;
    for (user, reason) in [("", "proxy_unauthorized"), ("ada:wrong@", "proxy_unauthorized")] {
        restart_with(&mut app, vec![through(&proxy.url(user), trusting(&url, &ca_file))]).await;
        assert_refused(&app, &url, reason).await;
    }
    // A port that it does not open, and a name that leads nowhere.
    for url in ["https://localhost:1", "https://gitlab.corp.test"] {
        restart_with(&mut app, vec![through(&proxy.url("ada:se-cret@"), trusting(url, &ca_file))]).await;
        assert_refused(&app, url, "proxy_refused").await;
    }
}
