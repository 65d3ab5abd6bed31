//! The GitLab files of `CLIProxyAPI`: `gitlab-NAME.json` for an OAuth login, `gitlab-NAME-pat.json` for a token.
//!
//! Source: `sdk/auth/gitlab.go` and `internal/auth/gitlab/gitlab.go` of router-for-me/CLIProxyAPI, versions 7 and 8. Of its
//! members these are read: `type`, `auth_method` (`oauth` or `pat`), `auth_kind`, `base_url`, `personal_access_token`,
//! `access_token`, `refresh_token`, `scope`, `oauth_client_id`, `oauth_client_secret` (which its command line does not
//! write, and its web page does), `oauth_expires_at`, `username` and `disabled`. The gateway's token in it is none of ours:
//! it ends within the hour, and an account mints its own.

use serde::Deserialize;
use serde_json::Value;

use crate::domain::secret::Secret;

/// Where its GitLab accounts are unless the file says otherwise.
const BASE_URL: &str = "https://gitlab.com";

/// A file, as it is written.
#[derive(Deserialize)]
struct AuthFile {
    #[serde(default, rename = "type")]
    kind: String,
    #[serde(default)]
    auth_method: String,
    #[serde(default)]
    base_url: String,
    #[serde(default)]
    personal_access_token: String,
    #[serde(default)]
    access_token: String,
    #[serde(default)]
    refresh_token: String,
    #[serde(default)]
    scope: String,
    #[serde(default)]
    oauth_client_id: String,
    #[serde(default)]
    oauth_client_secret: String,
    #[serde(default)]
    oauth_expires_at: String,
    #[serde(default)]
    username: String,
    #[serde(default)]
    disabled: bool,
}

/// An account of a file.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Foreign {
    pub(super) base_url: String,
    /// Its username, if the file has one.
    pub(super) username: Option<String>,
    pub(super) credential: Credential,
}

/// What it logs in with.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Credential {
    Token(Secret<String>),
    Pair {
        client_id: String,
        client_secret: Option<Secret<String>>,
        access_token: Secret<String>,
        refresh_token: Secret<String>,
        /// RFC 3339.
        expires_at: Option<String>,
        scopes: Vec<String>,
    },
}

/// Why a file cannot be used: what is wrong, and what to do.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unusable {
    pub(super) why: String,
    pub(super) fix: String,
}

fn unusable<T>(why: &str, fix: &str) -> Result<T, Unusable> {
    Err(Unusable { why: why.to_owned(), fix: fix.to_owned() })
}

const LOG_IN: &str = "log in again with `duopool login`";

/// Reads a file's text.
pub(super) fn parse(bytes: &[u8]) -> Result<Foreign, Unusable> {
    let Ok(value) = serde_json::from_slice::<Value>(bytes) else { return unusable("it is no JSON", "") };
    // A parser's message may quote what it found, and that may be a token.
    let Ok(file) = serde_json::from_value::<AuthFile>(value) else {
        return unusable("it is no file of a GitLab login: a member is of another kind than it should be", "");
    };
    if file.kind != "gitlab" && file.kind != "gitlab-duo" {
        return unusable("it is no file of a GitLab login", "give the files whose `type` is `gitlab`, or their folder");
    }
    if file.disabled {
        return unusable("the account is disabled there", "take `disabled` out of the file if it is to serve");
    }
    let base_url = normal(&file.base_url);
    let username = Some(file.username.trim().to_owned()).filter(|name| !name.is_empty());
    let credential = if file.auth_method.eq_ignore_ascii_case("pat") || file.access_token.trim().is_empty() {
        let token = file.personal_access_token.trim();
        if token.is_empty() {
            return unusable("it holds no token", LOG_IN);
        }
        Credential::Token(Secret::new(token.to_owned()))
    } else {
        pair(&file)?
    };
    Ok(Foreign { base_url, username, credential })
}

/// Completes an address as that program does.
fn normal(text: &str) -> String {
    let text = text.trim().trim_end_matches('/');
    match text {
        "" => BASE_URL.to_owned(),
        text if text.contains("://") => text.to_owned(),
        text => format!("https://{text}"),
    }
}

fn pair(file: &AuthFile) -> Result<Credential, Unusable> {
    let text = |text: &str| Some(text.trim().to_owned()).filter(|text| !text.is_empty());
    let Some(refresh_token) = text(&file.refresh_token) else {
        return unusable("it has no refresh token: its access token ends within two hours, and then for good", LOG_IN);
    };
    let Some(client_id) = text(&file.oauth_client_id) else {
        return unusable("it names no OAuth application, without which its tokens cannot be renewed", LOG_IN);
    };
    let scopes: Vec<String> = file.scope.split_whitespace().map(str::to_owned).collect();
    if !scopes.is_empty() && !scopes.iter().any(|scope| scope == "api" || scope == "ai_features") {
        return unusable("its tokens have neither the scope `api` nor `ai_features`", LOG_IN);
    }
    Ok(Credential::Pair {
        client_id,
        client_secret: text(&file.oauth_client_secret).map(Secret::new),
        access_token: Secret::new(file.access_token.trim().to_owned()),
        refresh_token: Secret::new(refresh_token),
        expires_at: text(&file.oauth_expires_at),
        scopes,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn oauth() -> Value {
        json!({
            "type": "gitlab", "auth_method": "oauth", "auth_kind": "oauth", "base_url": "https://gitlab.com",
            "access_token": "access", "refresh_token": "refresh", "token_type": "Bearer", "scope": "api read_user",
            "oauth_client_id": "app", "oauth_expires_at": "2026-01-01T00:00:00Z", "username": "ada",
            "duo_gateway_token": "none-of-ours", "duo_gateway_headers": { "X-Gitlab-Realm": "saas" },
            "model_details": { "model_provider": "anthropic", "model_name": "x" }, "refresh_interval_seconds": 240,
        })
    }

    fn with(change: &Value) -> Result<Foreign, Unusable> {
        let mut file = oauth();
        for (name, value) in change.as_object().expect("an object") {
            file[name] = value.clone();
        }
        parse(file.to_string().as_bytes())
    }

    #[test]
    fn both_kinds_of_files_are_read() {
        let read = parse(oauth().to_string().as_bytes()).expect("a login");
        assert_eq!((read.base_url.as_str(), read.username.as_deref()), ("https://gitlab.com", Some("ada")));
        let Credential::Pair { client_id, client_secret, scopes, expires_at, .. } = read.credential else {
            panic!("a pair")
        };
        assert_eq!((client_id.as_str(), client_secret, scopes.len()), ("app", None, 2));
        assert_eq!(expires_at.as_deref(), Some("2026-01-01T00:00:00Z"));
        let pat = json!({ "type": "gitlab", "auth_method": "pat", "base_url": "git.example.com/", "personal_access_token": " glpat-x ", "token_preview": "glpa...at-x" });
        let read = parse(pat.to_string().as_bytes()).expect("a token");
        assert_eq!(
            read,
            Foreign {
                base_url: "https://git.example.com".to_owned(),
                username: None,
                credential: Credential::Token(Secret::new("glpat-x".to_owned()))
            }
        );
    }

    #[test]
    fn a_file_that_cannot_be_used_says_why() {
        for (change, why) in [
            (json!({ "type": "codex" }), "no file of a GitLab login"),
            (json!({ "type": 7 }), "of another kind"),
            (json!({ "disabled": true }), "disabled there"),
            (json!({ "refresh_token": "" }), "no refresh token"),
            (json!({ "oauth_client_id": " " }), "no OAuth application"),
            (json!({ "scope": "read_user" }), "neither the scope"),
            (json!({ "access_token": "" }), "holds no token"),
        ] {
            let unusable = with(&change).expect_err("unusable");
            assert!(unusable.why.contains(why), "{change}: {unusable:?}");
        }
        assert_eq!(parse(b"glpat-secret").expect_err("unusable").why, "it is no JSON");
        assert!(!format!("{:?}", with(&json!({}))).contains("refresh"), "a token is shown");
    }
}
