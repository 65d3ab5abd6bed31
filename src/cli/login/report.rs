//! What a login came to: the account, its scopes, its access to GitLab Duo and its models, or what stands in the way and
//! who can mend it.

use anyhow::bail;
use serde_json::json;

use crate::account::login::view::LoginView;
use crate::account::view::AccountView;
use crate::cli::client::Client;
use crate::cli::output;

/// Prints it.
///
/// # Errors
/// Fails where there is no account, or one that GitLab Duo is not open to: the account is kept all the same.
pub(super) async fn tell(client: &Client, login: &LoginView, json: output::Json) -> anyhow::Result<()> {
    let Some(id) = &login.account else {
        let (message, fix) = match &login.problem {
            Some(problem) if problem.fix.is_empty() => (problem.message.as_str(), String::new()),
            Some(problem) => (problem.message.as_str(), format!("; to mend it: {}", problem.fix)),
            None => ("the login came to nothing", String::new()),
        };
        bail!("{message}{fix}");
    };
    let account: AccountView = client.get(&format!("/admin/v1/accounts/{id}")).await?;
    if json.json {
        output::print_json(&json!({ "login": login, "account": account }))?;
    } else {
        output::line(&format!("account {id} of {} on {} is in the pool", account.username, account.base_url))?;
        for finding in login.report.iter().flat_map(|report| &report.findings) {
            let mark = if finding.ok { "ok  " } else { "FAIL" };
            output::line(&format!("  {mark}  {}: {}", finding.check, finding.message))?;
            if !finding.fix.is_empty() {
                output::line(&format!("        to mend it: {}", finding.fix))?;
            }
        }
    }
    match &login.report {
        Some(report) if !report.ok => bail!("account {id} is stored, but cannot serve yet"),
        _ => Ok(()),
    }
}
