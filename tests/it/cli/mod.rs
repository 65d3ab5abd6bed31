//! The command line, as the real binary: what it prints, what it leaves behind, and how it ends.

mod accounts;
mod demo;
mod import;
mod login;
mod serve;
mod setup;

use crate::support::Machine;

#[actix::test]
async fn help_and_version_are_there_without_any_settings() {
    let mut machine = Machine::new();
    machine.set("DUOPOOL_LISTEN", "nonsense");
    let help = machine.run(&["--help"]).await;
    for command in [
        "serve", "demo", "simulate", "login", "accounts", "models", "status", "config", "explain", "doctor", "setup",
        "import", "backup", "restore",
    ] {
        assert!(help.fine().contains(&format!("\n  {command} ")), "{command}: {}", help.out);
        let own = machine.run(&[command, "--help"]).await;
        assert!(own.fine().contains("Usage: duopool"), "{}", own.out);
    }
    assert_eq!(machine.run(&["--version"]).await.fine(), concat!("duopool ", env!("CARGO_PKG_VERSION"), "\n"));
    assert!(!machine.data().exists(), "asking for help made a data folder");
}

#[actix::test]
async fn wrong_usage_ends_with_2() {
    let machine = Machine::new();
    let cases: &[&[&str]] = &[
        &[],
        &["nonsense"],
        &["accounts"],
        &["accounts", "show"],
        &["serve", "--port", "1"],
        &["status", "extra"],
        &["backup"],
        &["restore"],
        &["rotate-master-key", "extra"],
        &["demo", "--listen", "nowhere"],
        &["login", "--pat", "--json=yes"],
        &["doctor", "ada", "--pat"],
        &["doctor", "--base-url", "https://gitlab.com"],
        &["explain", "req_0", "--model", "gpt-5.5"],
        &["explain", "--without", "ada"],
        &["explain", "--model", "gpt-5.5", "--dialect", "morse"],
    ];
    for arguments in cases {
        let ended = machine.run(arguments).await;
        assert_eq!((ended.code, ended.out.as_str()), (Some(2), ""), "{arguments:?}: {ended:?}");
        assert!(ended.err.contains("duopool") || ended.err.contains("--help"), "{arguments:?}: {ended:?}");
    }
}

#[actix::test]
async fn there_is_no_flag_for_a_secret() {
    let machine = Machine::new();
    // A value on the command line can be read by every user of the machine.
    for flag in [
        "--token",
        "--personal-access-token",
        "--password",
        "--admin-key",
        "--master-key",
        "--client-key",
        "--passphrase",
        "--client-secret",
    ] {
        for command in ["login", "serve", "accounts", "status", "backup", "restore", "rotate-master-key"] {
            assert_eq!(machine.run(&[command, flag, "secret"]).await.code, Some(2), "{command} {flag}");
        }
    }
    assert_eq!(machine.run(&["login", "--pat", "glpat-0123456789"]).await.code, Some(2));
    assert_eq!(machine.run(&["login", "--pat=glpat-0123456789"]).await.code, Some(2));
}

#[actix::test]
async fn settings_are_shown_masked_with_or_without_json() {
    let mut machine = Machine::new();
    let secrets = [
        ("DUOPOOL_ADMIN_KEY", "admin-key-0123456789"),
        ("DUOPOOL_CLIENT_KEYS", "client-key-0123456789,client-key-9876543210"),
        ("GITLAB_PERSONAL_ACCESS_TOKEN", "glpat-0123456789abcdef"),
        ("GITLAB_OAUTH_CLIENT_SECRET", "gloas-0123456789abcdef"),
    ];
    for (name, value) in secrets {
        machine.set(name, value);
    }
    machine.set("DUOPOOL_DRAIN_S", "7");
    std::fs::write(machine.path("duopool.toml"), "drain_s = 8\nheartbeat_s = 9\n").expect("a settings file");
    let shown = machine.run(&["config", "--json"]).await;
    let settings = shown.json();
    assert_eq!((&settings["drain_s"], &settings["heartbeat_s"]), (&7.into(), &9.into()), "{settings}");
    assert_eq!((&settings["admin_key"], &settings["client_keys"]), (&"***".into(), &2.into()), "{settings}");
    assert_eq!(settings["data_dir"].as_str(), machine.data().to_str());
    let plain = machine.run(&["config", "--data-dir", "/elsewhere"]).await;
    assert!(
        plain.fine().lines().any(|line| line.starts_with("data_dir ") && line.ends_with(" /elsewhere")),
        "{}",
        plain.out
    );
    for (_, secret) in secrets {
        for part in secret.split(',') {
            assert!(!shown.out.contains(part) && !plain.out.contains(part), "{}", plain.out);
        }
    }
    std::fs::write(machine.path("duopool.toml"), "drain = 8\n").expect("a settings file");
    let refused = machine.run(&["config"]).await;
    assert!(refused.refusal().contains("duopool.toml") && refused.refusal().contains("line 1"), "{refused:?}");
}
