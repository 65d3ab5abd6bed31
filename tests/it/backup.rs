//! `duopool backup` and `duopool restore`, through the real binary.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use serde_json::{Value, json};

use crate::support::requests::{SONNET, messages};
use crate::support::{Machine, Request, TestApp, contents, simulated, token_of};

const PASSPHRASE: &str = "correct horse battery staple";

/// A machine that knows the passphrase, with these users' accounts.
async fn machine_with(gitlab: &duopool::simulator::Running, names: &[&str]) -> Machine {
    let mut machine = Machine::beside(gitlab);
    machine.set("DUOPOOL_BACKUP_PASSPHRASE", PASSPHRASE);
    for name in names {
        machine.run_with(&["login", "--pat"], &token_of(name)).await.fine();
    }
    machine
}

fn path(path: &Path) -> &str {
    path.to_str().expect("a path")
}

async fn usernames(machine: &Machine) -> Vec<String> {
    let list = machine.run(&["accounts", "list", "--json"]).await.json();
    let accounts = list["accounts"].as_array().expect("a list");
    let mut names: Vec<String> =
        accounts.iter().map(|one| one["username"].as_str().unwrap_or_default().to_owned()).collect();
    names.sort();
    names
}

#[actix::test]
async fn accounts_move_to_another_machine_while_the_first_one_serves() {
    let gitlab = simulated(&["ada", "grace"]).await;
    let first = machine_with(&gitlab, &["ada", "grace"]).await;
    let (server, address) = first.serve().await;
    let file = first.path("pool.backup");
    let told = first.run(&["backup", path(&file)]).await;
    assert!(told.fine().contains("pool.backup"), "{told:?}");
    let answer = Request::new(address, "POST", "/v1/messages").json(&messages(SONNET, false)).send().await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let log = server.stop("TERM").await;
    assert!(!format!("{log:?}{told:?}").contains(PASSPHRASE), "{log:?}");

    assert_eq!(std::fs::metadata(&file).expect("the backup").permissions().mode() & 0o777, 0o600);
    let text = String::from_utf8(std::fs::read(&file).expect("the backup")).expect("JSON");
    for secret in [token_of("ada"), token_of("grace"), PASSPHRASE.to_owned()] {
        assert!(!text.contains(&secret));
    }

    let second = machine_with(&gitlab, &[]).await;
    let restored = second.run(&["restore", path(&file), "--json"]).await.json();
    let outcomes: Vec<&Value> =
        restored["accounts"].as_array().expect("a list").iter().map(|one| &one["outcome"]).collect();
    assert_eq!(outcomes, [&json!("added"), &json!("added")], "{restored}");
    assert_ne!(master_key(&first), master_key(&second));
    assert_eq!(usernames(&second).await, ["ada", "grace"]);
    let (_server, address) = second.serve().await;
    let answer = Request::new(address, "POST", "/v1/messages").json(&messages(SONNET, false)).send().await;
    assert_eq!(answer.status, 200, "{}", answer.text());
}

fn master_key(machine: &Machine) -> Vec<u8> {
    std::fs::read(machine.data().join("master.key")).expect("a key")
}

#[actix::test]
async fn a_restore_says_what_became_of_each_account_and_keeps_what_is_newer() {
    let gitlab = simulated(&["ada", "grace"]).await;
    let machine = machine_with(&gitlab, &["ada", "grace"]).await;
    let file = machine.path("pool.backup");
    machine.run(&["backup", path(&file)]).await.fine();
    machine.run(&["accounts", "remove", "grace"]).await.fine();
    let again = machine.run(&["restore", path(&file)]).await;
    let line = |name: &str| again.fine().lines().find(|line| line.contains(name)).unwrap_or_default().to_owned();
    assert!(line(" of ada ").ends_with(": is stored already"), "{again:?}");
    assert!(line(" of grace ").ends_with(": added"), "{again:?}");
    assert_eq!(usernames(&machine).await, ["ada", "grace"]);

    // Since the backup, ada's token was replaced by one that may do more.
    let more = |user: &mut duopool::simulator::Standing| user.token.scopes.push("read_user".to_owned());
    gitlab.handle.change_account("ada", more).expect("ada is known");
    machine.run_with(&["login", "--pat"], &token_of("ada")).await.fine();
    let scopes = async || machine.run(&["accounts", "show", "ada", "--json"]).await.json()["token_scopes"].clone();
    let newer = scopes().await;
    let kept = machine.run(&["restore", path(&file)]).await;
    assert!(kept.fine().contains(" of ada ") && kept.out.contains("kept as stored, which is newer"), "{kept:?}");
    assert_eq!(scopes().await, newer);
    let told = machine.run(&["restore", path(&file), "--overwrite-newer"]).await;
    assert!(told.fine().contains("replaced what was stored, which was newer"), "{told:?}");
    assert_ne!(scopes().await, newer);
}

#[actix::test]
async fn a_wrong_passphrase_or_a_damaged_file_changes_nothing() {
    let gitlab = simulated(&["ada"]).await;
    let first = machine_with(&gitlab, &["ada"]).await;
    let file = first.path("pool.backup");
    first.run(&["backup", path(&file)]).await.fine();
    let whole = std::fs::read(&file).expect("the backup");
    let mut changed = whole.clone();
    let at = changed.len() / 2;
    changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
    let cases: [(&[u8], &str, &str); 5] = [
        (&whole, "another passphrase", "the passphrase is wrong"),
        (&changed, PASSPHRASE, "the passphrase is wrong, or the backup was changed"),
        (&whole[..whole.len() - 1], PASSPHRASE, "no backup, or a part of one is missing"),
        (b"", PASSPHRASE, "no backup"),
        (b"{\"duopool_backup\": 9}", PASSPHRASE, "format 9, which this duopool does not know"),
    ];
    let mut second = machine_with(&gitlab, &[]).await;
    for (bytes, passphrase, said) in cases {
        std::fs::write(&file, bytes).expect("a file");
        second.set("DUOPOOL_BACKUP_PASSPHRASE", passphrase);
        let refused = second.run(&["restore", path(&file)]).await;
        assert!(refused.refusal().contains(said), "{refused:?}");
        assert!(!second.data().exists(), "a refused restore made a data folder");
    }
    let missing = second.run(&["restore", "nowhere"]).await;
    assert!(missing.refusal().contains("cannot read nowhere"), "{missing:?}");
    second.set("DUOPOOL_BACKUP_PASSPHRASE", "");
    let nothing = second.run(&["restore", path(&file)]).await;
    assert!(nothing.refusal().contains("set DUOPOOL_BACKUP_PASSPHRASE"), "{nothing:?}");
}

#[actix::test]
async fn a_backup_is_refused_where_it_would_be_guessed_or_overwrite_a_file() {
    let gitlab = simulated(&["ada"]).await;
    let mut machine = machine_with(&gitlab, &["ada"]).await;
    let file = machine.path("pool.backup");
    std::fs::write(&file, "precious").expect("a file");
    let refused = machine.run(&["backup", path(&file)]).await;
    assert!(refused.refusal().contains("exists already"), "{refused:?}");
    assert_eq!(std::fs::read(&file).expect("a file"), b"precious");
    let elsewhere = machine.path("no/such/folder");
    let refused = machine.run(&["backup", path(&elsewhere)]).await;
    assert!(refused.refusal().contains("cannot write"), "{refused:?}");
    machine.set("DUOPOOL_BACKUP_PASSPHRASE", "short");
    let other = machine.path("other.backup");
    let refused = machine.run(&["backup", path(&other)]).await;
    assert!(refused.refusal().contains("at least 8 characters"), "{refused:?}");
    assert!(!other.exists());
    // No part of a file is left anywhere.
    let left = contents(&machine.path("")).into_iter().filter(|(path, _)| path.to_string_lossy().contains("backup"));
    assert_eq!(left.count(), 1);
}

#[actix::test]
async fn nothing_is_restored_while_a_server_runs() {
    let gitlab = simulated(&["ada"]).await;
    let machine = machine_with(&gitlab, &["ada"]).await;
    let file = machine.path("pool.backup");
    machine.run(&["backup", path(&file)]).await.fine();
    let (server, address) = machine.serve().await;
    for command in [&["restore", path(&file)][..], &["rotate-master-key"]] {
        let refused = machine.run(command).await;
        let line = refused.refusal();
        assert!(line.contains(&address.to_string()) && line.ends_with("stop it first"), "{line}");
    }
    assert_eq!(server.stop("TERM").await.code, Some(0));
    machine.run(&["restore", path(&file)]).await.fine();
}

#[actix::test]
async fn the_admin_api_gives_a_sealed_backup_for_a_good_passphrase_alone() {
    let app = TestApp::with_accounts(&["ada"]).await;
    let ask = async |body: &Value| app.admin("POST", "/admin/v1/backup").json(body).send().await;
    let made = ask(&json!({ "passphrase": PASSPHRASE })).await;
    assert_eq!((made.status, made.header("content-type")), (200, Some("application/json")), "{}", made.text());
    assert_eq!(made.json()["accounts"], 1);
    assert!(!made.text().contains(&token_of("ada")) && !made.text().contains(PASSPHRASE));
    let short = ask(&json!({ "passphrase": "secret7" })).await;
    assert_eq!((short.status, &short.json()["type"]), (422, &json!("/problems/short-passphrase")));
    for body in [json!({}), json!({ "passphrase": 12_345_678 }), json!({ "passphrase": PASSPHRASE, "more": 1 })] {
        let refused = ask(&body).await;
        assert_eq!(refused.status, 400, "{}", refused.text());
        assert!(!refused.text().contains(PASSPHRASE) && !refused.text().contains("12345678"));
    }
}
