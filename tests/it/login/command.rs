//! `duopool login` as the real binary: the browser that comes back, the address that is pasted, the device code.

use duopool::simulator::{
    DEMO_CONFIDENTIAL_CLIENT_ID, DEMO_CONFIDENTIAL_CLIENT_SECRET, DEMO_PUBLIC_CLIENT_ID, Decision, Entitlement, Flow,
    Hold, OauthApplication, Step, fingerprint,
};
use serde_json::json;
use tokio::net::TcpListener;

use crate::support::{Machine, Request, Started, simulated};

/// Returns a machine with an application in its environment, and a port for the browser to come back to.
async fn machine_of(gitlab: &duopool::simulator::Running) -> (Machine, u16) {
    let mut machine = Machine::beside(gitlab);
    machine.set("GITLAB_OAUTH_CLIENT_ID", DEMO_PUBLIC_CLIENT_ID);
    (machine, free_port().await)
}

/// GitLab ignores the port of a loopback address, so any that is free will do.
pub(super) async fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    listener.local_addr().expect("an address").port()
}

/// Waits for the address that is to be opened.
async fn address_to_open(login: &mut Started) -> String {
    login.line("/oauth/authorize?").await.trim().to_owned()
}

/// Goes where GitLab sends a browser.
async fn go(location: &str) -> crate::support::Answer {
    let (host, path) = location.strip_prefix("http://").and_then(|rest| rest.split_once('/')).expect("an address");
    Request::new(host.parse().expect("an address"), "GET", &format!("/{path}")).send().await
}

#[actix::test]
async fn a_browser_on_this_machine_comes_back_and_the_account_is_reported() {
    let gitlab = simulated(&["ada"]).await;
    let (machine, port) = machine_of(&gitlab).await;
    let mut login = machine.start(&["login", "--label", "work", "--callback-port", &port.to_string(), "--no-browser"]);
    let url = address_to_open(&mut login).await;
    let location = gitlab.handle.approve("ada", &url, Decision::Authorize).expect("GitLab's page works");
    assert!(location.starts_with(&format!("http://127.0.0.1:{port}/callback?")), "{location}");
    // Somebody else knocks first, with a state that is not ours.
    let strange = go(&format!("http://127.0.0.1:{port}/callback?code=x&state=made-up")).await;
    assert!(strange.status == 400 && strange.text().contains("not that of this sign-in"), "{}", strange.text());
    let page = go(&location).await;
    assert_eq!(page.status, 200, "{}", page.text());
    assert!(page.text().contains("Signed in") && !page.text().contains(&super::part(&location, "code")));
    let ended = login.ended().await;
    let out = ended.fine();
    for words in ["of ada on", "is in the pool", "scopes api", "ok    duo access", "`gitlab-duo` means"] {
        assert!(out.contains(words), "no `{words}`: {out}");
    }
    let list = machine.run(&["accounts", "list", "--json"]).await.json();
    assert_eq!(list["accounts"][0]["label"], "work");
}

#[actix::test]
async fn an_address_that_is_pasted_does_as_well_as_a_browser_that_comes_back() {
    let gitlab = simulated(&["ada"]).await;
    let (machine, port) = machine_of(&gitlab).await;
    // Somebody else has the port, as over SSH or beside another program.
    let taken = TcpListener::bind(("127.0.0.1", port)).await.expect("the port");
    let mut login = machine.start_open(&["login", "--callback-port", &port.to_string()]);
    login.line("Nothing can be received at").await;
    let url = address_to_open(&mut login).await;
    let location = gitlab.handle.approve("ada", &url, Decision::Authorize).expect("GitLab's page works");
    login.type_line("https://evil.example.com/callback?code=c&state=s");
    login.line("not an address that this sign-in was sent back to").await;
    login.type_line(&location);
    let ended = login.ended().await;
    assert!(ended.fine().contains("is in the pool"), "{ended:?}");
    drop(taken);
}

#[actix::test]
async fn a_login_at_a_server_that_runs_is_exchanged_by_the_server() {
    let gitlab = simulated(&["ada"]).await;
    let (mut machine, port) = machine_of(&gitlab).await;
    let (server, address) = machine.serve().await;
    // The command's own settings come first; the path is what was registered.
    let redirect = format!("http://127.0.0.1:{port}/auth/back");
    gitlab.handle.add_application(OauthApplication::public("mine", &redirect));
    machine.set("GITLAB_OAUTH_CLIENT_ID", "mine");
    machine.set("GITLAB_OAUTH_REDIRECT_PATH", "/auth/back");
    let mut login = machine.start(&["login", "--callback-port", &port.to_string(), "--no-browser"]);
    let url = address_to_open(&mut login).await;
    go(&gitlab.handle.approve("ada", &url, Decision::Authorize).expect("GitLab's page works")).await;
    assert!(login.ended().await.fine().contains("is in the pool"));
    let body =
        json!({ "model": "claude-sonnet-4-6", "max_tokens": 16, "messages": [{ "role": "user", "content": "hi" }] });
    let asked = Request::new(address, "POST", "/v1/messages").json(&body).send().await;
    assert_eq!(asked.status, 200, "{}", asked.text());
    drop(server);
}

#[actix::test]
async fn a_device_code_is_shown_and_waited_for() {
    let gitlab = simulated(&["ada"]).await;
    gitlab.handle.change_instance(|instance| instance.oauth.device_interval_s = 1);
    let (machine, _) = machine_of(&gitlab).await;
    let mut login = machine.start(&["login", "--device"]);
    login.line("and enter this code:").await;
    let code = login.line("  ").await.trim().to_owned();
    gitlab.handle.approve_device("ada", &code, Decision::Authorize).expect("GitLab's page works");
    assert!(login.ended().await.fine().contains("is in the pool"));
}

#[actix::test]
async fn an_account_that_cannot_serve_is_reported_with_who_can_mend_it() {
    let gitlab = simulated(&["ada"]).await;
    gitlab.handle.change_account("ada", |user| user.entitlement = Entitlement::NotEntitled).expect("ada");
    let (machine, port) = machine_of(&gitlab).await;
    let mut login = machine.start(&["login", "--callback-port", &port.to_string(), "--no-browser"]);
    let url = address_to_open(&mut login).await;
    go(&gitlab.handle.approve("ada", &url, Decision::Authorize).expect("GitLab's page works")).await;
    let ended = login.ended().await;
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.out.contains("FAIL  duo access") && ended.out.contains("ask the group owner"), "{ended:?}");
    assert!(ended.err.contains("is stored, but cannot serve yet"), "{ended:?}");
    assert_eq!(machine.run(&["accounts", "list", "--json"]).await.json()["accounts"][0]["username"], "ada");
}

#[actix::test]
async fn a_declined_sign_in_is_one_line() {
    let gitlab = simulated(&["ada"]).await;
    let (machine, port) = machine_of(&gitlab).await;
    let mut login = machine.start(&["login", "--callback-port", &port.to_string(), "--no-browser"]);
    let url = address_to_open(&mut login).await;
    let page = go(&gitlab.handle.approve("ada", &url, Decision::Deny).expect("a redirect")).await;
    assert!(page.status == 400 && page.text().contains("declined"), "{}", page.text());
    let ended = login.ended().await;
    assert!(ended.code == Some(1) && ended.err.contains("duopool: the sign-in was declined at GitLab"), "{ended:?}");
}

#[actix::test]
async fn the_secret_of_an_application_comes_from_standard_input_or_the_environment() {
    let gitlab = simulated(&["ada"]).await;
    let (mut machine, port) = machine_of(&gitlab).await;
    let port = port.to_string();
    let flags = ["login", "--client-id", DEMO_CONFIDENTIAL_CLIENT_ID, "--callback-port", &port, "--no-browser"];
    let mut login = machine.start_open(&[&flags[..], &["--client-secret-stdin"]].concat());
    login.type_line(DEMO_CONFIDENTIAL_CLIENT_SECRET);
    let url = address_to_open(&mut login).await;
    assert!(!url.contains(DEMO_CONFIDENTIAL_CLIENT_SECRET));
    go(&gitlab.handle.approve("ada", &url, Decision::Authorize).expect("GitLab's page works")).await;
    assert!(login.ended().await.fine().contains("is in the pool"));
    machine.set("GITLAB_OAUTH_CLIENT_ID", DEMO_CONFIDENTIAL_CLIENT_ID);
    machine.set("GITLAB_OAUTH_CLIENT_SECRET", "a-wrong-one");
    let mut login = machine.start(&["login", "--callback-port", &port, "--no-browser"]);
    let url = address_to_open(&mut login).await;
    go(&gitlab.handle.approve("ada", &url, Decision::Authorize).expect("GitLab's page works")).await;
    let ended = login.ended().await;
    assert!(ended.code == Some(1) && ended.err.contains("Renew secret"), "{ended:?}");
    let refused = machine.run(&["login", "--client-secret", "x"]).await;
    assert_eq!(refused.code, Some(2), "{refused:?}");
}

#[actix::test]
async fn without_an_application_the_command_says_how_to_register_one() {
    let gitlab = simulated(&["ada"]).await;
    let machine = Machine::beside(&gitlab);
    for (arguments, redirect) in [
        (&["login"][..], "http://127.0.0.1:17171/callback"),
        (&["login", "--callback-port", "9123", "--callback-path", "/back"], "http://127.0.0.1:9123/back"),
        (&["login", "--device"], "http://127.0.0.1:17171/callback"),
    ] {
        let refused = machine.run(arguments).await;
        let line = refused.refusal();
        for words in
            ["/-/user_settings/applications", redirect, "scope `api`", "Confidential", "GITLAB_OAUTH_CLIENT_ID"]
        {
            assert!(line.contains(words), "no `{words}`: {line}");
        }
    }
    for arguments in [
        &["login", "--pat", "--device"][..],
        &["login", "--device", "--no-browser"],
        &["login", "--callback-port", "0"],
        &["login", "--callback-port", "70000"],
    ] {
        assert_eq!(machine.run(arguments).await.code, Some(2), "{arguments:?}");
    }
    let path = machine.run(&["login", "--callback-path", "no-slash"]).await;
    assert!(path.refusal().contains("--callback-path"), "{path:?}");
}

#[actix::test]
async fn a_server_that_is_killed_in_the_middle_says_so_until_somebody_has_seen_it() {
    let gitlab = simulated(&["ada"]).await;
    let (mut machine, _) = machine_of(&gitlab).await;
    machine.set("DUOPOOL_ADMIN_KEY", crate::support::ADMIN_KEY);
    let (server, address) = machine.serve().await;
    let hold = gitlab.handle.hold(Hold { flow: Flow::CodeExchange, step: Step::Committed, account: None, times: None });
    let admin = |address, method: &str, path: &str| {
        Request::new(address, method, path).header("authorization", &format!("Bearer {}", crate::support::ADMIN_KEY))
    };
    let login = admin(address, "POST", "/admin/v1/logins").json(&json!({})).send().await.json();
    let url = login["authorize_url"].as_str().expect("an address");
    let location = gitlab.handle.approve("ada", url, Decision::Authorize).expect("GitLab's page works");
    let path = format!("/admin/v1/logins/{}", login["id"].as_str().expect("an id"));
    let waiting = admin(address, "POST", &path).json(&json!({ "callback_url": location })).begin().await;
    gitlab.handle.reached(|event| event.flow == Flow::CodeExchange && event.step == Step::Committed).await;
    let killed = server.stop("KILL").await;
    assert_eq!(killed.code, None, "{killed:?}");
    drop(waiting);
    gitlab.handle.release(hold);

    // Killed again before anybody looked.
    let (server, _) = machine.serve().await;
    let killed = server.stop("KILL").await;
    assert!(killed.err.contains("the server stopped in the middle of a login"), "{killed:?}");
    let (server, address) = machine.serve().await;
    let list = admin(address, "GET", "/admin/v1/logins").send().await.json();
    let left = &list["logins"][0];
    assert_eq!((&left["id"], &left["status"]), (&login["id"], &json!("failed")), "{list}");
    let message = left["problem"]["message"].as_str().unwrap_or_default();
    assert!(message.contains("whether GitLab handed out tokens is not known"), "{list}");
    let stopped = server.stop("TERM").await;
    assert!(stopped.err.contains("the server stopped in the middle of a login"), "{stopped:?}");
    // It has been shown, and is forgotten by now.
    let (server, address) = machine.serve().await;
    assert_eq!(admin(address, "GET", "/admin/v1/logins").send().await.json(), json!({ "logins": [] }));
    let stopped = server.stop("TERM").await;
    assert!(!stopped.err.contains("in the middle of a login"), "{stopped:?}");
}

#[actix::test]
async fn not_even_the_most_talkative_log_has_a_code_or_a_token_in_it() {
    let gitlab = simulated(&["ada"]).await;
    let (mut machine, _) = machine_of(&gitlab).await;
    machine.set("DUOPOOL_ADMIN_KEY", crate::support::ADMIN_KEY);
    machine.set("DUOPOOL_LOG", "trace");
    let (server, address) = machine.serve().await;
    let redirect = format!("http://{address}/oauth/callback");
    gitlab.handle.add_application(OauthApplication::public("here", &redirect));
    let order = json!({ "client_id": "here", "redirect_uri": redirect });
    let begun = Request::new(address, "POST", "/admin/v1/logins").json(&order);
    let login = begun.header("authorization", &format!("Bearer {}", crate::support::ADMIN_KEY)).send().await.json();
    let url = login["authorize_url"].as_str().expect("an address");
    let location = gitlab.handle.approve("ada", url, Decision::Authorize).expect("GitLab's page works");
    // The server is where the browser is sent back to.
    let page = go(&location).await;
    assert!(page.status == 200 && page.text().contains("in the pool"), "{}", page.text());
    let stopped = server.stop("TERM").await;
    assert!(stopped.err.contains("a login by OAuth gave account"), "{stopped:?}");
    for name in ["code", "state"] {
        assert!(!stopped.err.contains(&super::part(&location, name)), "the log has the {name}: {}", stopped.err);
    }
    let valid = gitlab.handle.tally("ada").expect("ada");
    let words = stopped.err.split(|c: char| !c.is_ascii_alphanumeric() && !"-_".contains(c));
    let told: Vec<String> = words.filter(|word| word.len() >= 20).map(fingerprint).collect();
    let valid = valid.access_tokens_valid.iter().chain(&valid.refresh_tokens_valid);
    assert!(valid.clone().count() == 2 && valid.clone().all(|print| !told.contains(print)), "{}", stopped.err);
}
