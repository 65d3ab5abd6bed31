//! `duopool login`.

use duopool::simulator::{Effect, Entitlement, Rule, Standing};
use serde_json::json;

use crate::support::{Machine, simulated, token_of};

#[actix::test]
async fn a_token_on_standard_input_adds_its_account() {
    let gitlab = simulated(&["ada", "grace"]).await;
    let machine = Machine::beside(&gitlab);
    let ended = machine.run_with(&["login", "--pat", "--label", "work"], &format!("{}\n", token_of("ada"))).await;
    let first = ended.fine().lines().next().unwrap_or_default();
    assert!(
        first.contains("ada") && first.contains(&gitlab.url()) && first.ends_with("is in the pool"),
        "{}",
        ended.out
    );
    let grace = machine.run_with(&["login", "--pat", "--json"], &token_of("grace")).await.json();
    assert_eq!(
        (&grace["username"], &grace["label"], &grace["health"]),
        (&json!("grace"), &json!(null), &json!("ready"))
    );
    let list = machine.run(&["accounts", "list", "--json"]).await.json();
    let labels: Vec<_> = list["accounts"].as_array().expect("a list").iter().map(|one| one["label"].clone()).collect();
    assert!(labels.len() == 2 && labels.contains(&json!("work")), "{list}");
    for secret in [token_of("ada"), token_of("grace")] {
        assert!(!format!("{ended:?}{grace}{list}").contains(&secret));
    }
}

#[actix::test]
async fn a_token_in_the_environment_comes_first_and_renews_a_known_account() {
    let gitlab = simulated(&["ada"]).await;
    let mut machine = Machine::beside(&gitlab);
    machine.set("GITLAB_PERSONAL_ACCESS_TOKEN", &token_of("ada"));
    let first = machine.run_with(&["login", "--pat", "--json"], "not-this-one").await.json();
    let second = machine.run(&["login", "--pat", "--json"]).await.json();
    assert_eq!((&first["username"], &first["id"]), (&json!("ada"), &second["id"]));
    assert!(second["grant_generation"].as_u64() > first["grant_generation"].as_u64(), "{first} {second}");
}

#[actix::test]
async fn an_instance_and_gateway_of_ones_own_are_named_by_flags() {
    let gitlab = simulated(&["ada"]).await;
    let machine = Machine::new();
    let (url, gateway) = (gitlab.url(), gitlab.gateway_url());
    let flags = ["login", "--pat", "--base-url", &url, "--gateway-url", &gateway, "--json"];
    let account = machine.run_with(&flags, &token_of("ada")).await.json();
    assert_eq!((&account["base_url"], &account["gateway_url"]), (&json!(url), &json!(gateway)));
    for (flag, address) in [
        ("--base-url", "http://gitlab.example.com"),
        ("--base-url", "https://169.254.169.254"),
        ("--gateway-url", "ftp://x"),
    ] {
        let refused = machine.run_with(&["login", "--pat", flag, address], &token_of("ada")).await;
        assert!(refused.refusal().contains(flag), "{refused:?}");
    }
}

/// What is wrong with a user, which check finds it, and what to do.
type Refusal = (fn(&mut Standing), &'static str, &'static str);

#[actix::test]
async fn a_refusal_is_one_line_that_says_which_check_and_what_to_do() {
    let gitlab = simulated(&["ada"]).await;
    let machine = Machine::beside(&gitlab);
    let changes: &[Refusal] = &[
        (
            |user| user.token.expires_at = Some("2020-01-01".to_owned()),
            "the token check failed",
            "create a new personal access token",
        ),
        (|user| user.token.revoked = true, "the token check failed", "create a new personal access token"),
        (|user| user.token.scopes.clear(), "the token check failed", "scope `ai_features` or `api`"),
        (|user| user.entitlement = Entitlement::NotEntitled, "GitLab Duo access failed", "ask the group owner"),
        (
            |user| user.entitlement = Entitlement::MissingNamespace,
            "GitLab Duo access failed",
            "choose a default GitLab Duo namespace",
        ),
        (|user| user.entitlement = Entitlement::FeaturesDisabled, "GitLab Duo access failed", "switch GitLab Duo on"),
    ];
    for (change, check, fix) in changes {
        gitlab.handle.change_account("ada", change).expect("ada");
        let refused = machine.run_with(&["login", "--pat"], &token_of("ada")).await;
        let line = refused.refusal();
        assert!(line.contains(check) && line.contains("; to mend it: ") && line.contains(fix), "{line}");
        assert!(!line.contains(&token_of("ada")), "{line}");
        gitlab.handle.change_account("ada", |user| *user = Standing::default()).expect("ada");
    }
    let unknown = machine.run_with(&["login", "--pat"], "glpat-nobody-0123456789").await;
    assert!(unknown.refusal().contains("GitLab does not accept the token"), "{unknown:?}");
    gitlab.handle.add_rule(Rule::once(Effect::login_page()));
    let page = machine.run_with(&["login", "--pat"], &token_of("ada")).await;
    assert!(page.refusal().contains("not its API") && page.refusal().contains("login page"), "{page:?}");

    for input in ["", "\n", "  \n"] {
        let empty = machine.run_with(&["login", "--pat"], input).await;
        assert!(
            empty.refusal().contains("no token") && empty.refusal().contains("GITLAB_PERSONAL_ACCESS_TOKEN"),
            "{empty:?}"
        );
    }
    for input in ["two words", "line\nbreak", &"x".repeat(5_000)] {
        let nonsense = machine.run_with(&["login", "--pat"], input).await;
        assert!(nonsense.refusal().contains("is no token") && !nonsense.err.contains(input), "{nonsense:?}");
    }
    assert_eq!(machine.run(&["accounts", "list", "--json"]).await.json(), json!({ "accounts": [] }));
}
