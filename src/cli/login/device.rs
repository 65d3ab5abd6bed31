//! A login with a device code: shows it, and waits until it was entered at GitLab.

use std::time::Duration;

use anyhow::bail;
use serde_json::Value;

use crate::account::login::view::LoginView;
use crate::cli::client::Client;
use crate::cli::login::{is_over, look, say};
use crate::cli::output;

/// How often the server is asked; it asks GitLab at GitLab's own pace.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Begins a login and follows it to its end.
pub(super) async fn run(client: &Client, request: &Value, json: output::Json) -> anyhow::Result<LoginView> {
    let mut login: LoginView = client.post("/admin/v1/logins", request).await?;
    let (Some(code), Some(page)) = (&login.user_code, &login.verification_uri) else {
        bail!("the server gave no code to enter")
    };
    say(json, &format!("Open {page} on any device, sign in to GitLab, and enter this code:"))?;
    say(json, &format!("  {code}"))?;
    if let Some(page) = &login.verification_uri_complete {
        say(json, &format!("or open {page}"))?;
    }
    let until = login.expires_at.as_deref().unwrap_or("soon");
    say(json, &format!("The code works until {until}."))?;
    while !is_over(&login) {
        tokio::time::sleep(LOOK_EVERY).await;
        login = look(client, &login.id).await?;
    }
    Ok(login)
}
