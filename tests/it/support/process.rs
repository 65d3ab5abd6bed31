//! The real binary as a child process, in an environment of its own.

use std::ffi::OsStr;
use std::io::{BufRead as _, BufReader, Read, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::thread;
use std::time::Duration;

use duopool::domain::time::{Clock as _, SystemClock};
use duopool::store::{Credential, MasterKey, SledStore, Store as _};
use serde_json::Value;
use tempfile::TempDir;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::time::{sleep, timeout};

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(30);

/// A machine with duopool on it: a home, a data folder, and environment variables that commands see.
pub struct Machine {
    folder: TempDir,
    variables: Vec<(String, String)>,
}

/// What a command that has ended left behind.
#[derive(Debug)]
pub struct Ended {
    /// Exit code; `None` if a signal ended it.
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

/// A command that goes on until it is told to stop. Dropping it kills it.
pub struct Started {
    child: Child,
    lines: UnboundedReceiver<String>,
    out: String,
    err: Option<thread::JoinHandle<String>>,
    /// Standard input, where it was left open.
    input: Option<ChildStdin>,
}

impl Machine {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::create_dir(folder.path().join("tmp")).expect("a folder for temporary files");
        let mut machine = Self { folder, variables: Vec::new() };
        let home = machine.path("").display().to_string();
        machine.set("HOME", &home);
        machine.set("TMPDIR", &machine.path("tmp").display().to_string());
        machine.set("DUOPOOL_DATA_DIR", &machine.data().display().to_string());
        machine
    }

    /// Returns a machine whose commands mean the GitLab at `url` and its gateway when nobody says otherwise.
    pub fn beside(gitlab: &duopool::simulator::Running) -> Self {
        let mut machine = Self::new();
        machine.set("GITLAB_BASE_URL", &gitlab.url());
        // A bug in finding the gateway must not send a packet out.
        machine.set("GITLAB_AI_GATEWAY_URL", &gitlab.gateway_url());
        machine
    }

    /// Sets an environment variable of every command from now on.
    pub fn set(&mut self, name: &str, value: &str) {
        self.variables.retain(|(other, _)| other != name);
        self.variables.push((name.to_owned(), value.to_owned()));
    }

    /// Returns an environment variable of the commands.
    pub fn variable(&self, name: &str) -> Option<String> {
        self.variables.iter().find(|(other, _)| other == name).map(|(_, value)| value.clone())
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Returns the data folder; it is there once a command has made it.
    pub fn data(&self) -> PathBuf {
        self.path("data")
    }

    /// Lets the access token of every stored pair have come to its end, as hours later; nothing may run meanwhile. So the
    /// next server exchanges the pairs at once.
    pub fn let_pairs_age(&self) {
        let key = match self.variable("DUOPOOL_MASTER_KEY") {
            Some(text) => MasterKey::parse(&text).expect("a key"),
            None => MasterKey::load_or_create(&self.data()).expect("a key").key,
        };
        let mut store = SledStore::open(&self.data(), &key).expect("the store opens");
        let now = SystemClock.now();
        for mut record in store.load_accounts().expect("the accounts").records {
            if let Credential::OAuth { pair, .. } = &mut record.credential {
                (pair.obtained_at, pair.expires_at) = (now - Duration::from_hours(2), now);
                store.put_account(&record).expect("it is stored");
            }
        }
    }

    /// Runs a command to its end, with `input` on its standard input.
    pub async fn run_with(&self, arguments: &[&str], input: &str) -> Ended {
        Self::to_the_end(self.spawn(arguments), arguments, input).await
    }

    /// Runs a command to its end behind a line of shell, such as a limit that is set.
    pub async fn run_behind(&self, shell: &str, arguments: &[&str]) -> Ended {
        Self::to_the_end(self.spawn_behind(shell, arguments), arguments, "").await
    }

    async fn to_the_end(mut child: Child, arguments: &[&str], input: &str) -> Ended {
        let (mut stdin, input) = (child.stdin.take().expect("standard input"), input.to_owned());
        // A command that does not read closes its end; that is its right.
        thread::spawn(move || drop(stdin.write_all(input.as_bytes())));
        let (out, err) = (read(child.stdout.take()), read(child.stderr.take()));
        let code = ended(&mut child, arguments).await;
        Ended { code, out: out.join().expect("standard output"), err: err.join().expect("standard error") }
    }

    /// Runs a command to its end, with nothing on its standard input.
    pub async fn run(&self, arguments: &[&str]) -> Ended {
        self.run_with(arguments, "").await
    }

    /// Starts a command that stays.
    pub fn start(&self, arguments: &[&str]) -> Started {
        let mut started = self.start_open(arguments);
        drop(started.input.take());
        started
    }

    /// Starts a command that stays behind a line of shell, such as a limit that is set.
    pub fn start_behind(&self, shell: &str, arguments: &[&str]) -> Started {
        let mut started = Self::started(self.spawn_behind(shell, arguments));
        drop(started.input.take());
        started
    }

    /// Starts a command that stays and can be typed to.
    pub fn start_open(&self, arguments: &[&str]) -> Started {
        Self::started(self.spawn(arguments))
    }

    fn started(mut child: Child) -> Started {
        let input = child.stdin.take();
        let err = Some(read(child.stderr.take()));
        let (told, lines) = unbounded_channel();
        let out = BufReader::new(child.stdout.take().expect("standard output"));
        thread::spawn(move || out.lines().map_while(Result::ok).try_for_each(|line| told.send(line)));
        Started { child, lines, out: String::new(), err, input }
    }

    /// Starts `duopool serve` on a free port behind a line of shell, such as a limit that is set, and waits until it serves.
    pub async fn serve_behind(&self, shell: &str) -> (Started, SocketAddr) {
        let mut server = Self::started(self.spawn_behind(shell, &["serve", "--listen", "127.0.0.1:0"]));
        let address = server.address().await;
        (server, address)
    }

    /// Starts `duopool serve` on a free port and waits until it serves.
    pub async fn serve(&self) -> (Started, SocketAddr) {
        let mut server = self.start(&["serve", "--listen", "127.0.0.1:0"]);
        let address = server.address().await;
        (server, address)
    }

    fn spawn(&self, arguments: &[&str]) -> Child {
        let mut command = Command::new(env!("CARGO_BIN_EXE_duopool"));
        command.args(arguments.iter().map(OsStr::new));
        self.launch(command)
    }

    fn spawn_behind(&self, shell: &str, arguments: &[&str]) -> Child {
        let mut command = Command::new("/bin/sh");
        command.arg("-c").arg(format!("{shell}; exec \"$0\" \"$@\"")).arg(env!("CARGO_BIN_EXE_duopool"));
        command.args(arguments);
        self.launch(command)
    }

    fn launch(&self, mut command: Command) -> Child {
        command.env_clear().current_dir(self.folder.path());
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().expect("the binary starts")
    }
}

impl Ended {
    /// Returns standard output as JSON; fails unless the command ended well.
    pub fn json(&self) -> Value {
        serde_json::from_str(self.fine()).unwrap_or_else(|error| panic!("no JSON ({error}): {self:?}"))
    }

    /// Returns standard output; fails unless the command ended well.
    pub fn fine(&self) -> &str {
        assert_eq!(self.code, Some(0), "{self:?}");
        &self.out
    }

    /// Returns the one line that says why the command failed.
    pub fn refusal(&self) -> &str {
        assert_eq!((self.code, self.out.as_str()), (Some(1), ""), "{self:?}");
        let line = self.err.strip_suffix('\n').unwrap_or_default();
        assert!(line.starts_with("duopool: ") && !line.contains('\n'), "{self:?}");
        let parts: Vec<&str> = line.split(": ").collect();
        assert!(parts.windows(2).all(|pair| pair[0] != pair[1]), "it says the same twice: {line}");
        line
    }
}

impl Started {
    /// Waits for a line of standard output that contains `text`, and returns it.
    pub async fn line(&mut self, text: &str) -> String {
        let Some(line) = self.line_or_end(text).await else {
            let err = self.err.take().map(|err| err.join().expect("standard error"));
            panic!("it ended without `{text}`: {} {err:?}", self.out);
        };
        line
    }

    /// As [`Started::line`], but returns `None` if standard output ends before.
    pub async fn line_or_end(&mut self, text: &str) -> Option<String> {
        loop {
            let line = timeout(PATIENCE, self.lines.recv()).await.expect("a line in time")?;
            self.out += &line;
            self.out.push('\n');
            if line.contains(text) {
                return Some(line);
            }
        }
    }

    async fn address(&mut self) -> SocketAddr {
        let line = self.line("serves on http://").await;
        line.rsplit("http://").next().and_then(|text| text.parse().ok()).expect("an address")
    }

    /// Returns standard output so far.
    pub fn so_far(&self) -> &str {
        &self.out
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Types a line on its standard input.
    pub fn type_line(&mut self, line: &str) {
        let input = self.input.as_mut().expect("an open standard input");
        writeln!(input, "{line}").expect("it reads");
    }

    /// Sends a signal such as `INT`, and waits for the end.
    pub async fn stop(self, signal: &str) -> Ended {
        let sent = Command::new("sh").arg("-c").arg(format!("kill -{signal} {}", self.pid())).status();
        assert!(sent.expect("a shell").success(), "the signal was not sent");
        self.ended().await
    }

    /// Waits until it ends by itself.
    pub async fn ended(mut self) -> Ended {
        let code = ended(&mut self.child, &["its own end"]).await;
        while let Some(line) = self.lines.recv().await {
            self.out += &line;
            self.out.push('\n');
        }
        let err = self.err.take().expect("standard error").join().expect("standard error");
        Ended { code, out: std::mem::take(&mut self.out), err }
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        // It may have ended by itself.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Waits for the end of a child, which the standard library cannot wait for with a limit.
async fn ended(child: &mut Child, what: &[&str]) -> Option<i32> {
    let waiting = async {
        loop {
            if let Some(status) = child.try_wait().expect("a child") {
                return status.code();
            }
            sleep(Duration::from_millis(5)).await;
        }
    };
    if let Ok(code) = timeout(PATIENCE, waiting).await {
        return code;
    }
    drop(child.kill());
    panic!("it does not end: {what:?}")
}

fn read(source: Option<impl Read + Send + 'static>) -> thread::JoinHandle<String> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        source.expect("a pipe").read_to_end(&mut bytes).expect("its end");
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

/// Returns every file below `folder` with its bytes.
pub fn contents(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let (mut found, mut open) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                open.push(path);
            } else {
                found.push((path.clone(), std::fs::read(path).expect("a file")));
            }
        }
    }
    found
}
