//! A login in a browser: opens it, prints the address as well, and takes what comes back, from the browser itself or as
//! an address that the user pastes.

use std::time::Duration;

use actix_web::dev::ServerHandle;
use anyhow::{Context as _, bail};
use futures::StreamExt as _;
use futures::stream::{self, BoxStream, LocalBoxStream};
use serde_json::{Value, json};
use url::Url;

use crate::account::login::view::{LoginStatus, LoginView};
use crate::cli::client::Client;
use crate::cli::login::callback::{self, Hit, Listener, Shown};
use crate::cli::login::input::Lines;
use crate::cli::login::{Login, Redirect, is_over, look, say};
use crate::domain::secret::Secret;

/// How often the server is asked how far the login has come: it may be answered there as well.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// What happens while the user is waited for.
enum Sign {
    Hit(Hit),
    Line(String),
    Look,
}

/// Begins a login and follows it to its end.
pub(super) async fn run(
    client: &Client,
    request: &Value,
    redirect: &Redirect,
    lines: Lines,
    flags: &Login,
) -> anyhow::Result<LoginView> {
    // Before the login is begun: a browser that comes back at once must find somebody.
    let socket = callback::bind(redirect.port);
    let login: LoginView = client.post("/admin/v1/logins", request).await?;
    let Some(authorize_url) = &login.authorize_url else { bail!("the server gave no address to open") };
    let state = state_of(authorize_url).context("the server's answer is not understood")?;
    let listener = match socket {
        Ok(socket) => Some(Listener::start(socket, &redirect.uri, &redirect.path, state)?),
        Err(error) => {
            say(
                flags.json,
                &format!(
                    "Nothing can be received at {} ({error}): when the browser shows an error there, paste its address here.",
                    redirect.uri
                ),
            )?;
            None
        }
    };
    say(flags.json, "Open this address in your browser and sign in to GitLab:")?;
    say(flags.json, &format!("  {authorize_url}"))?;
    if !flags.no_browser && has_display() {
        open(authorize_url.clone());
    }
    say(flags.json, "If the browser is on another machine, it ends at an address that it cannot open:")?;
    say(flags.json, &format!("paste that address here, which begins with {}?", redirect.uri))?;
    let (hits, handle) = match listener.map(Listener::split) {
        Some((hits, handle)) => (hits.map(Sign::Hit).boxed_local(), Some(handle)),
        None => (stream::empty().boxed_local(), None),
    };
    let done = follow(client, login, hits, lines, flags).await;
    if let Some(handle) = handle {
        close(&handle).await;
    }
    done
}

/// Waits for an answer from wherever it comes, and then for what the server makes of it.
async fn follow(
    client: &Client,
    mut login: LoginView,
    hits: LocalBoxStream<'_, Sign>,
    lines: Lines,
    flags: &Login,
) -> anyhow::Result<LoginView> {
    let lines: BoxStream<'_, Sign> = lines.all().map(Sign::Line).boxed();
    let looks = stream::unfold((), async |()| {
        tokio::time::sleep(LOOK_EVERY).await;
        Some((Sign::Look, ()))
    });
    let mut signs = stream::select(hits, stream::select(lines, looks.boxed_local()));
    while !is_over(&login) {
        let Some(sign) = signs.next().await else { bail!("nothing is left to wait for") };
        match sign {
            Sign::Look => login = look(client, &login.id).await?,
            Sign::Line(line) => match answer(client, &login, &Secret::new(line)).await {
                Ok(answered) => login = answered,
                Err(error) => say(flags.json, &format!("{error:#}"))?,
            },
            Sign::Hit(Hit { url, told }) => match answer(client, &login, &url).await {
                Ok(answered) => {
                    // A browser that has left needs no page.
                    drop(told.send(shown(&answered)));
                    login = answered;
                }
                Err(error) => {
                    let text = format!("{error:#}");
                    say(flags.json, &text)?;
                    drop(told.send(Shown { fine: false, text }));
                }
            },
        }
    }
    Ok(login)
}

async fn answer(client: &Client, login: &LoginView, url: &Secret<String>) -> anyhow::Result<LoginView> {
    client.post(&format!("/admin/v1/logins/{}", login.id), &json!({ "callback_url": url.expose() })).await
}

fn shown(login: &LoginView) -> Shown {
    let text = match (&login.status, &login.problem) {
        (_, Some(problem)) => problem.message.clone(),
        (LoginStatus::Done, None) => "duopool has the account.".to_owned(),
        _ => "duopool has the sign-in, and is checking the account.".to_owned(),
    };
    Shown { fine: login.status != LoginStatus::Failed, text }
}

/// Ends the listening once the browser has its page.
async fn close(handle: &ServerHandle) {
    handle.stop(true).await;
}

/// Opens the user's browser. On a thread of its own, since one in a terminal runs until it is left; whether it opens
/// decides nothing, for the address was printed as well.
fn open(url: String) {
    std::thread::spawn(move || webbrowser::open(&url));
}

fn state_of(authorize_url: &str) -> Option<Secret<String>> {
    let url = Url::parse(authorize_url).ok()?;
    let state = url.query_pairs().find(|(name, _)| name == "state")?.1.into_owned();
    Some(Secret::new(state))
}

/// Returns whether a browser would have somewhere to show itself. On other systems than Linux there always is.
fn has_display() -> bool {
    let is_set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    !cfg!(target_os = "linux") || is_set("DISPLAY") || is_set("WAYLAND_DISPLAY")
}
