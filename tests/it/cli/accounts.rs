//! `duopool accounts`, `models` and `status`: alike with a server and without.

use serde_json::{Value, json};

use duopool::simulator::{Call, Entitlement};

use crate::support::{Machine, Request, simulated, token_of};

async fn with_ada_and_grace(gitlab: &duopool::simulator::Running) -> Machine {
    let machine = Machine::beside(gitlab);
    for name in ["ada", "grace"] {
        machine.run_with(&["login", "--pat", "--label", name], &token_of(name)).await.fine();
    }
    machine
}

/// Goes through what can be done with accounts; the same whether a server runs or not.
async fn goes_through_its_commands(machine: &Machine, gitlab: &duopool::simulator::Running) {
    let list = machine.run(&["accounts", "list", "--json"]).await.json();
    let accounts = list["accounts"].as_array().expect("a list");
    let ada = accounts.iter().find(|account| account["username"] == "ada").expect("ada");
    let id = ada["id"].as_str().expect("an id");
    let table = machine.run(&["accounts", "list"]).await;
    assert!(table.fine().starts_with("ID "), "{}", table.out);
    assert!(table.out.lines().any(|line| line.starts_with(id) && line.contains(" ada ")), "{}", table.out);

    for name in [id, "ada"] {
        assert_eq!(machine.run(&["accounts", "show", name, "--json"]).await.json()["id"], id);
        let shown = machine.run(&["accounts", "show", name]).await;
        assert!(shown.fine().contains("user          ada (1)"), "{}", shown.out);
    }

    let mints = gitlab.handle.requests_of(Call::ThirdPartyDirectAccess).len();
    let refreshed = machine.run(&["accounts", "refresh", "ada", "--json"]).await.json();
    assert!(refreshed["grant_generation"].as_u64() > ada["grant_generation"].as_u64(), "{refreshed}");
    let refreshed = machine.run(&["accounts", "refresh", "ada"]).await;
    assert!(refreshed.fine().contains(&format!("account {id} has a new gateway credential")), "{}", refreshed.out);
    assert_eq!(gitlab.handle.requests_of(Call::ThirdPartyDirectAccess).len(), mints + 2);

    let tested = machine.run(&["accounts", "test", "ada", "--json"]).await.json();
    assert_eq!(tested["ok"], true, "{tested}");
    let tested = machine.run(&["accounts", "test", "ada"]).await;
    assert_eq!(tested.fine().lines().filter(|line| line.starts_with("ok ")).count(), 2, "{}", tested.out);

    let models = machine.run(&["models", "--json"]).await.json();
    assert!(models["models"].as_array().is_some_and(|all| all.iter().any(|one| one["name"] == "claude-sonnet-4-6")));
    assert!(machine.run(&["models"]).await.fine().contains("\nclaude-sonnet-4-6 "));

    let set = ["accounts", "set", "ada", "--weight", "3", "--priority", "-2", "--pool", "team", "--json"];
    let changed = machine.run(&set).await.json();
    assert_eq!((&changed["weight"], &changed["priority"], &changed["pool"]), (&json!(3), &json!(-2), &json!("team")));
    assert!(machine.run(&["accounts", "set", "ada"]).await.refusal().contains("nothing to change"));
    assert!(machine.run(&["accounts", "set", "ada", "--weight", "0"]).await.refusal().contains("1 to 1000"));
    assert!(machine.run(&["accounts", "disable", "ada"]).await.fine().contains("is disabled"));
    assert_eq!(machine.run(&["accounts", "show", id, "--json"]).await.json()["health"], "disabled");
    assert_eq!(machine.run(&["accounts", "enable", "ada", "--json"]).await.json()["enabled"], true);
    let reset = machine.run(&["accounts", "reset", "ada"]).await;
    assert!(reset.fine().contains(&format!("account {id}: nothing was blocked")), "{}", reset.out);
    assert_eq!(machine.run(&["accounts", "reset", "--all", "--json"]).await.json().as_array().map(Vec::len), Some(2));
    assert_eq!(machine.run(&["accounts", "reset"]).await.code, Some(2));

    for verb in ["show", "refresh", "test", "disable", "reset"] {
        let refused = machine.run(&["accounts", verb, "nobody"]).await;
        assert!(refused.refusal().contains("`nobody`") && refused.refusal().contains("accounts list"), "{refused:?}");
    }
    assert_eq!(machine.run(&["accounts", "remove", "nobody"]).await.code, Some(1));
    machine.run(&["accounts", "remove", "grace"]).await.fine();
    assert_eq!(machine.run(&["accounts", "remove", id, "--json"]).await.json(), json!({ "removed": id }));
    assert_eq!(machine.run(&["accounts", "list", "--json"]).await.json(), json!({ "accounts": [] }));
    assert!(machine.run(&["accounts", "list"]).await.fine().contains("duopool login --pat"));
}

#[actix::test]
async fn accounts_are_kept_where_no_server_runs() {
    let gitlab = simulated(&["ada", "grace"]).await;
    let machine = with_ada_and_grace(&gitlab).await;
    let status = machine.run(&["status", "--json"]).await.json();
    assert_eq!((&status["running"], &status["status"]["accounts"]), (&json!(false), &json!(2)), "{status}");
    assert!(machine.run(&["status"]).await.fine().starts_with("no server runs; 2 account(s)"));
    goes_through_its_commands(&machine, &gitlab).await;
    assert!(!machine.data().join("run.json").exists(), "a command passed itself off as a server");
}

#[actix::test]
async fn accounts_of_a_running_server_are_kept_through_it() {
    let gitlab = simulated(&["ada", "grace"]).await;
    let machine = with_ada_and_grace(&gitlab).await;
    let (server, address) = machine.serve().await;
    let status = machine.run(&["status", "--json"]).await.json();
    assert_eq!((&status["running"], &status["address"]), (&json!(true), &json!(address)), "{status}");
    let plain = machine.run(&["status"]).await;
    assert!(plain.fine().contains(&format!("http://{address}")) && plain.out.contains("2 of 2"), "{}", plain.out);
    let body =
        json!({ "model": "claude-sonnet-4-6", "max_tokens": 20, "messages": [{ "role": "user", "content": "Hi" }] });
    let ask = || Request::new(address, "POST", "/v1/messages").json(&body).send();
    assert_eq!(ask().await.status, 200);
    goes_through_its_commands(&machine, &gitlab).await;
    assert_eq!(ask().await.status, 503, "the server still routes to accounts that a command removed");
    assert_eq!(server.stop("TERM").await.code, Some(0));
}

#[actix::test]
async fn a_command_that_fails_at_gitlab_says_what_to_do() {
    let gitlab = simulated(&["ada", "grace"]).await;
    let machine = with_ada_and_grace(&gitlab).await;
    gitlab.handle.change_account("ada", |user| user.entitlement = Entitlement::NotEntitled).expect("ada");
    let refused = machine.run(&["accounts", "refresh", "ada"]).await;
    assert!(refused.refusal().contains("; to mend it: ask the group owner"), "{refused:?}");
    gitlab.handle.change_account("ada", |user| user.token.revoked = true).expect("ada");
    let failed = machine.run(&["accounts", "test", "ada"]).await;
    assert_eq!(failed.code, Some(1), "{failed:?}");
    assert!(failed.out.starts_with("FAIL  token: ") && failed.out.contains("; to mend it: "), "{failed:?}");
    let failed = machine.run(&["accounts", "test", "ada", "--json"]).await;
    let report: Value = serde_json::from_str(&failed.out).expect("a report even so");
    assert_eq!((failed.code, &report["ok"]), (Some(1), &json!(false)));
}

#[actix::test]
async fn a_name_that_two_accounts_have_is_refused() {
    let gitlab = simulated(&["ada", "grace"]).await;
    let machine = Machine::beside(&gitlab);
    machine.run_with(&["login", "--pat"], &token_of("ada")).await.fine();
    machine.run_with(&["login", "--pat", "--label", "ada"], &token_of("grace")).await.fine();
    for verb in ["show", "remove"] {
        let refused = machine.run(&["accounts", verb, "ada"]).await;
        assert!(refused.refusal().contains("more than one account"), "{verb}: {refused:?}");
    }
    assert_eq!(machine.run(&["accounts", "list", "--json"]).await.json()["accounts"].as_array().map(Vec::len), Some(2));
}
