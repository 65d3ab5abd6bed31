//! No account is lost: damaged files, lost and changed keys, full disks and sudden deaths.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::support::requests::{SONNET, messages};
use crate::support::{Machine, Request, contents, simulated, token_of};

/// The operator's own keys, for tests of those.
const OLD_KEY: &str = "0101010101010101010101010101010101010101010101010101010101010101";
const NEW_KEY: &str = "0202020202020202020202020202020202020202020202020202020202020202";

async fn machine_with(gitlab: &duopool::simulator::Running, names: &[&str]) -> Machine {
    let machine = Machine::beside(gitlab);
    for name in names {
        machine.run_with(&["login", "--pat"], &token_of(name)).await.fine();
    }
    machine
}

async fn count(machine: &Machine) -> usize {
    let list = machine.run(&["accounts", "list", "--json"]).await.json();
    list["accounts"].as_array().expect("a list").len()
}

fn sorted(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut files = contents(folder);
    files.sort();
    files
}

async fn assert_serves(machine: &Machine) {
    let (server, address) = machine.serve().await;
    let answer = Request::new(address, "POST", "/v1/messages").json(&messages(SONNET, false)).send().await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(server.stop("TERM").await.code, Some(0));
}

#[actix::test]
async fn a_lost_key_is_asked_for_and_never_replaced() {
    let gitlab = simulated(&["ada"]).await;
    let mut machine = machine_with(&gitlab, &["ada"]).await;
    let key = machine.data().join("master.key");
    let saved = std::fs::read(&key).expect("a key");
    std::fs::remove_file(&key).expect("the key");
    let before = sorted(&machine.data());
    for command in [&["serve", "--listen", "127.0.0.1:0"][..], &["accounts", "list"], &["rotate-master-key"]] {
        let refused = machine.run(command).await;
        assert!(refused.refusal().contains("master.key is missing: restore it"), "{refused:?}");
    }
    assert_eq!(sorted(&machine.data()), before);
    machine.set("DUOPOOL_MASTER_KEY", OLD_KEY);
    let refused = machine.run(&["accounts", "list"]).await;
    assert!(refused.refusal().contains("the master key does not fit this data folder"), "{refused:?}");
    machine.set("DUOPOOL_MASTER_KEY", "");
    std::fs::write(&key, saved).expect("the key");
    assert_serves(&machine).await;
}

#[actix::test]
async fn a_damaged_database_is_made_whole_at_the_start_and_says_so() {
    let gitlab = simulated(&["ada", "grace"]).await;
    let machine = machine_with(&gitlab, &["ada", "grace"]).await;
    let database = machine.data().join("store/db");
    let whole = std::fs::read(&database).expect("a database");
    let torn = whole[..512].to_vec();
    for (what, bytes) in [("torn", torn), ("noise", b"no database".repeat(9_000)), ("empty", Vec::new())] {
        std::fs::write(&database, &bytes).expect("damage");
        let (server, address) = machine.serve().await;
        let answer = Request::new(address, "POST", "/v1/messages").json(&messages(SONNET, false)).send().await;
        assert_eq!(answer.status, 200, "{what}: {}", answer.text());
        let ended = server.stop("TERM").await;
        assert!(ended.err.contains("all are back from their second copy"), "{what}: {}", ended.err);
        assert_eq!(count(&machine).await, 2, "{what}");
    }
    std::fs::remove_dir_all(machine.data().join("store")).expect("the database");
    assert_eq!(count(&machine).await, 2);
}

#[actix::test]
async fn a_data_folder_that_cannot_be_used_is_one_line_and_left_alone() {
    let machine = Machine::new();
    let file = machine.path("file");
    std::fs::write(&file, "mine").expect("a file");
    let inside = file.join("data");
    for folder in ["/proc/duopool", file.to_str().expect("a path"), inside.to_str().expect("a path")] {
        let refused = machine.run(&["serve", "--listen", "127.0.0.1:0", "--data-dir", folder]).await;
        assert!(refused.refusal().contains(folder), "{refused:?}");
    }
    assert_eq!(std::fs::read(&file).expect("a file"), b"mine");
}

#[actix::test]
async fn a_full_disk_refuses_the_login_keeps_the_server_and_is_over_once_there_is_room() {
    let gitlab = simulated(&["ada", "grace"]).await;
    let machine = machine_with(&gitlab, &["ada"]).await;
    // A file that may not grow stands for a full disk: the write fails, and with the signal ignored nobody is killed.
    let (server, address) = machine.serve_behind("trap '' XFSZ").await;
    let limit = |bytes: u64| {
        let pid = server.pid().to_string();
        let limited =
            std::process::Command::new("prlimit").args(["--pid", &pid, &format!("--fsize={bytes}:unlimited")]).status();
        assert!(limited.expect("prlimit").success());
    };
    limit(1);
    let before = machine.run(&["accounts", "list", "--json"]).await.json();
    for _ in 0..3 {
        let refused = machine.run_with(&["login", "--pat"], &token_of("grace")).await;
        assert!(refused.refusal().contains("could not be stored"), "{refused:?}");
        let answer = Request::new(address, "POST", "/v1/messages").json(&messages(SONNET, false)).send().await;
        assert_eq!(answer.status, 200, "what is in memory serves on: {}", answer.text());
    }
    assert_eq!(
        machine.run(&["accounts", "list", "--json"]).await.json()["accounts"][0]["id"],
        before["accounts"][0]["id"]
    );
    limit(1 << 30);
    machine.run_with(&["login", "--pat"], &token_of("grace")).await.fine();
    assert_eq!(server.stop("TERM").await.code, Some(0));
    assert_eq!(count(&machine).await, 2);
    assert_serves(&machine).await;
}

#[actix::test]
async fn a_start_on_a_full_disk_is_refused_and_loses_nothing() {
    let gitlab = simulated(&["ada"]).await;
    let machine = machine_with(&gitlab, &["ada"]).await;
    let database = machine.data().join("store/db");
    // Part of it is gone, so that the start has to write.
    let whole = std::fs::read(&database).expect("a database");
    std::fs::write(&database, &whole[..whole.len() / 2]).expect("damage");
    let copy = std::fs::read(machine.data().join("second-copy")).expect("the copy");
    let refused = machine.run_behind("trap '' XFSZ; ulimit -f 0", &["accounts", "list"]).await;
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(refused.err.lines().last().is_some_and(|line| line.starts_with("duopool: ")), "{refused:?}");
    assert_eq!(std::fs::read(machine.data().join("second-copy")).expect("the copy"), copy);
    assert_eq!(count(&machine).await, 1);
}

#[actix::test]
async fn a_new_master_key_in_the_data_folder_opens_everything_and_the_old_one_nothing() {
    let gitlab = simulated(&["ada"]).await;
    let machine = machine_with(&gitlab, &["ada"]).await;
    let nothing = Machine::new().run(&["rotate-master-key"]).await;
    assert!(nothing.refusal().contains("there is no data"), "{nothing:?}");
    let key = machine.data().join("master.key");
    let old = std::fs::read(&key).expect("a key");
    gitlab.handle.clear_requests();
    let told = machine.run(&["rotate-master-key"]).await;
    assert!(told.fine().contains("under a new master key, in ") && told.out.contains("keep a copy"), "{told:?}");
    let new = std::fs::read(&key).expect("a key");
    assert_ne!(new, old);
    assert_serves(&machine).await;
    assert!(gitlab.handle.requests_of(duopool::simulator::Call::ThirdPartyDirectAccess).is_empty(), "grants last");
    std::fs::write(&key, &old).expect("a key");
    let refused = machine.run(&["accounts", "list"]).await;
    assert!(refused.refusal().contains("the master key does not fit"), "{refused:?}");
    std::fs::write(&key, new).expect("a key");
    assert_eq!(count(&machine).await, 1);
}

#[actix::test]
async fn an_operators_own_master_key_is_changed_for_the_one_that_is_given() {
    let gitlab = simulated(&["ada"]).await;
    let mut machine = Machine::beside(&gitlab);
    machine.set("DUOPOOL_MASTER_KEY", OLD_KEY);
    machine.run_with(&["login", "--pat"], &token_of("ada")).await.fine();
    for (input, said) in [("", "no new key"), ("short", "must be 32 bytes"), (OLD_KEY, "is the present one")] {
        let refused = machine.run_with(&["rotate-master-key"], input).await;
        assert!(refused.refusal().contains(said) && !refused.err.contains(OLD_KEY), "{refused:?}");
    }
    let told = machine.run_with(&["rotate-master-key"], &format!("{NEW_KEY}\n")).await;
    assert!(told.fine().contains("set DUOPOOL_MASTER_KEY to it") && !told.out.contains(NEW_KEY), "{told:?}");
    assert!(machine.run(&["accounts", "list"]).await.refusal().contains("the master key does not fit"));
    machine.set("DUOPOOL_MASTER_KEY", NEW_KEY);
    assert_eq!(count(&machine).await, 1);
    machine.set("DUOPOOL_NEW_MASTER_KEY", OLD_KEY);
    machine.run(&["rotate-master-key"]).await.fine();
    machine.set("DUOPOOL_MASTER_KEY", OLD_KEY);
    assert_serves(&machine).await;
    assert!(!machine.data().join("master.key").exists());
}

#[actix::test]
async fn a_change_of_keys_that_is_killed_at_any_time_leaves_accounts_that_serve() {
    const KILLS: u32 = 16;
    let gitlab = simulated(&["ada", "grace"]).await;
    let machine = machine_with(&gitlab, &["ada", "grace"]).await;
    let begun = Instant::now();
    machine.run(&["rotate-master-key"]).await.fine();
    let takes = begun.elapsed() + Duration::from_millis(5);
    for kill in 1..=KILLS {
        let change = machine.start(&["rotate-master-key"]);
        // Not to wait for anything, but to strike at another place each time.
        sleep(takes * kill / KILLS).await;
        drop(change);
        assert_eq!(count(&machine).await, 2, "killed after {kill} of {KILLS} parts");
    }
    assert_serves(&machine).await;
}

#[actix::test]
async fn a_server_that_is_killed_after_a_login_has_the_account() {
    let gitlab = simulated(&["ada", "grace"]).await;
    let machine = Machine::beside(&gitlab);
    for (known, name) in ["ada", "grace"].into_iter().enumerate() {
        let (server, _) = machine.serve().await;
        machine.run_with(&["login", "--pat"], &token_of(name)).await.fine();
        drop(server);
        assert_eq!(count(&machine).await, known + 1);
    }
}
