//! Child processes: started on chosen cores, watched through `/proc`, ended politely.

use std::fs;
use std::io::{BufRead, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

pub(crate) const ADMIN_KEY: &str = "bench-admin-key-0123456789";
pub(crate) const CLIENT_KEY: &str = "bench-client-key-0123456789";

const START_TRIES: u32 = 100;
const TRY_EVERY: Duration = Duration::from_millis(50);
const STOP_MAX: u32 = 400;

/// The duopool of this build.
pub(crate) const OWN: &str = env!("CARGO_BIN_EXE_duopool");

/// A proxy that runs, and its children.
pub(crate) struct Process {
    pub(crate) address: SocketAddr,
    child: Child,
    /// Kept open: a program that prints into a closed pipe dies.
    _stdout: Option<BufReader<ChildStdout>>,
    folder: TempDir,
}

/// How duopool is started.
pub(crate) struct Duopool<'a> {
    pub(crate) binary: &'a Path,
    pub(crate) cores: &'a str,
    pub(crate) workers: u32,
    pub(crate) settings: &'a [(&'a str, &'a str)],
}

impl Process {
    /// Starts a duopool.
    pub(crate) fn duopool(how: &Duopool<'_>) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let log = fs::File::create(folder.path().join("log")).expect("a log file");
        let mut child = Command::new("taskset")
            .args(["-c", how.cores])
            .arg(how.binary)
            .args(["serve", "--listen", "127.0.0.1:0"])
            .env("DUOPOOL_DATA_DIR", folder.path().join("data"))
            .env("DUOPOOL_WORKERS", how.workers.to_string())
            .env("DUOPOOL_ADMIN_KEY", ADMIN_KEY)
            .env("DUOPOOL_CLIENT_KEYS", CLIENT_KEY)
            .envs(how.settings.iter().copied())
            .stdout(Stdio::piped())
            .stderr(log)
            .current_dir(folder.path())
            .spawn()
            .expect("duopool starts");
        let mut stdout = BufReader::new(child.stdout.take().expect("its output is ours"));
        let mut line = String::new();
        stdout.read_line(&mut line).expect("it says where it listens");
        let address = line.trim().rsplit("http://").next().and_then(|text| text.parse().ok());
        let Some(address) = address else {
            let log = fs::read_to_string(folder.path().join("log")).unwrap_or_default();
            unreachable!("duopool did not start: {line}{log}");
        };
        Self { address, child, _stdout: Some(stdout), folder }
    }

    /// Starts nginx in front of `upstream`.
    pub(crate) fn nginx(cores: &str, workers: u32, upstream: SocketAddr) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        // The port is free again at once; nobody else on this machine takes one in between.
        let address = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a free port");
        let path = folder.path().display();
        let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|kind| format!("{kind}_temp_path {path}/{kind};\n"))
            .concat();
        let config = format!(
            "daemon off; worker_processes {workers}; worker_rlimit_nofile {files}; pid {path}/pid; error_log stderr crit;\n\
             events {{ worker_connections {connections}; multi_accept on; }}\n\
             http {{ access_log off; {temporary} client_max_body_size 64m; client_body_buffer_size 2m;\n\
             keepalive_requests 100000000;\n\
             upstream plain {{ server {upstream}; keepalive 512; keepalive_requests 100000000; }}\n\
             server {{ listen {address} backlog=4096; location / {{ proxy_pass http://plain; proxy_http_version 1.1;\n\
             proxy_set_header Connection \"\"; proxy_buffering off; proxy_read_timeout 3600s; }} }} }}\n",
            files = FILES_MAX,
            connections = FILES_MAX - 1_000,
        );
        let file = folder.path().join("nginx.conf");
        fs::write(&file, config).expect("a settings file");
        let log = fs::File::create(folder.path().join("log")).expect("a log file");
        let child = Command::new("taskset")
            .args(["-c", cores, "nginx", "-p"])
            .arg(folder.path())
            .arg("-c")
            .arg(file)
            .stderr(log)
            .spawn()
            .expect("nginx starts");
        let process = Self { address, child, _stdout: None, folder };
        for _ in 0..START_TRIES {
            if TcpStream::connect(address).is_ok() {
                return process;
            }
            std::thread::sleep(TRY_EVERY);
        }
        unreachable!("nginx does not listen: {}", process.log());
    }

    /// Returns what it logged.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// Returns the process and its children.
    fn family(&self) -> Vec<PathBuf> {
        let own = self.child.id().to_string();
        let is_ours = |path: &PathBuf| {
            path.ends_with(&own)
                || fs::read_to_string(path.join("stat")).is_ok_and(|stat| {
                    // The name, in parentheses, may hold blanks; state and parent follow it.
                    let after = stat.rsplit_once(')').map(|(_, rest)| rest.split_ascii_whitespace().nth(1));
                    after == Some(Some(own.as_str()))
                })
        };
        let entries = fs::read_dir("/proc").expect("/proc is there");
        let named = |name: &str| name.bytes().all(|byte| byte.is_ascii_digit());
        let numbered = entries.flatten().filter(|entry| entry.file_name().to_str().is_some_and(named));
        numbered.map(|entry| entry.path()).filter(is_ours).collect()
    }

    /// Returns the CPU time used so far by all threads that live, in nanoseconds.
    pub(crate) fn cpu(&self) -> u64 {
        let threads = self.family().into_iter().filter_map(|path| fs::read_dir(path.join("task")).ok());
        let stats = threads.flat_map(Iterator::flatten).filter_map(|thread| {
            let text = fs::read_to_string(thread.path().join("schedstat")).ok()?;
            text.split(' ').next()?.parse::<u64>().ok()
        });
        stats.sum()
    }

    /// Returns the resident memory in kB.
    pub(crate) fn rss_kb(&self) -> u64 {
        let lines = self.family().into_iter().filter_map(|path| fs::read_to_string(path.join("status")).ok());
        let values = lines.filter_map(|status| {
            let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
            line.split_ascii_whitespace().next()?.parse::<u64>().ok()
        });
        values.sum()
    }

    /// Returns how many entries a folder of the process in `/proc` has: `fd` for open files, `task` for threads.
    pub(crate) fn entries(&self, folder: &str) -> usize {
        fs::read_dir(format!("/proc/{}/{folder}", self.child.id())).map_or(0, Iterator::count)
    }

    /// Asks duopool's admin API, and returns status and answer.
    pub(crate) async fn admin(&self, method: &str, path: &str, body: Option<&Value>) -> (u16, Value) {
        let method = awc::http::Method::from_bytes(method.as_bytes()).expect("a method");
        let client = awc::Client::builder().timeout(Duration::from_mins(1)).finish();
        let request = client.request(method, format!("http://{}{path}", self.address)).bearer_auth(ADMIN_KEY);
        let sent = match body {
            Some(body) => request.send_json(body).await,
            None => request.send().await,
        };
        let mut reply = sent.expect("the admin API answers");
        let body = reply.body().limit(16 * 1_024 * 1_024).await.expect("a whole answer");
        (reply.status().as_u16(), serde_json::from_slice(&body).unwrap_or_default())
    }

    /// Adds an account of the simulated GitLab, and returns its id.
    pub(crate) async fn add_account(&self, gitlab: &str, token: &str, gateway: Option<&str>) -> String {
        let account = json!({
            "base_url": gitlab, "personal_access_token": token, "gateway_url": gateway, "max_concurrency": 10_000,
        });
        let (status, view) = self.admin("POST", "/admin/v1/accounts", Some(&account)).await;
        assert_eq!(status, 201, "the account is added: {view}");
        view["id"].as_str().expect("it has an id").to_owned()
    }
}

/// Open files that nginx may have: a stream takes two.
const FILES_MAX: u32 = 16_000;

/// Binds this process, with all its threads, to some cores.
pub(crate) fn pin(cores: &str) {
    let pid = std::process::id().to_string();
    let done = Command::new("taskset").args(["-apc", cores, &pid]).stdout(Stdio::null()).status();
    assert!(done.is_ok_and(|status| status.success()), "taskset binds the load to core {cores}");
}

impl Drop for Process {
    fn drop(&mut self) {
        let pid = self.child.id().to_string();
        drop(Command::new("kill").arg(&pid).status());
        for _ in 0..STOP_MAX {
            if matches!(self.child.try_wait(), Ok(Some(_))) {
                return;
            }
            std::thread::sleep(TRY_EVERY);
        }
        drop(writeln!(std::io::stderr(), "process {pid} does not end and is killed"));
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
