//! What an operator may say of an account, whichever way it logs in.

use serde::{Deserialize, Deserializer};
use serde_json::Value;
use utoipa::ToSchema;

use crate::account::api::{Change, Changes};
use crate::account::login::Given;
use crate::domain::endpoint::GatewayUrl;
use crate::domain::secret::Secret;
use crate::http::admin::problem::{Problem, bad_request};

/// Longest label or pool name, in characters.
const TEXT_CHARS_MAX: usize = 512;
/// Longest token, in characters.
const TOKEN_CHARS_MAX: usize = 512;

/// As it comes in.
pub(super) struct GivenText {
    pub(super) gateway_url: Option<String>,
    pub(super) label: Option<String>,
    pub(super) pool: Option<String>,
    pub(super) priority: Option<i32>,
    pub(super) weight: Option<u32>,
    pub(super) max_concurrency: Option<u32>,
}

impl GivenText {
    /// Returns what was said, if all of it is of the right form.
    pub(super) fn check(self) -> Result<Given, Box<Problem>> {
        let gateway_url = self.gateway_url.as_deref().map(GatewayUrl::parse).transpose();
        let gateway_url = gateway_url.map_err(|error| bad_request(format!("`gateway_url` {error}")))?;
        let texts = [self.pool.as_deref(), self.label.as_deref()];
        if texts.into_iter().flatten().any(|text| text.trim().is_empty() || text.len() > TEXT_CHARS_MAX) {
            return Err(bad_request("`pool` and `label` must be 1 to 512 characters").into());
        }
        let in_range = |value: Option<u32>, most| value.is_none_or(|value| (1..=most).contains(&value));
        if !in_range(self.weight, 1_000) || !in_range(self.max_concurrency, 10_000) {
            return Err(bad_request("`weight` must be 1 to 1000 and `max_concurrency` 1 to 10000").into());
        }
        Ok(Given {
            gateway_url,
            label: self.label,
            pool: self.pool,
            priority: self.priority,
            weight: self.weight,
            max_concurrency: self.max_concurrency,
        })
    }
}

/// Returns `text` as a token, if it can be one.
pub(super) fn token(text: &str) -> Result<Secret<String>, Box<Problem>> {
    let token = text.trim();
    if token.is_empty() || token.len() > TOKEN_CHARS_MAX || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(bad_request("`personal_access_token` is no token: it must be 1 to 512 printable characters").into());
    }
    Ok(Secret::new(token.to_owned()))
}

/// What is to be changed of an account; what is absent stays as it is.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ChangeRequest {
    /// A name for people; `null`: none.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>)]
    label: Change<String>,
    /// Which keys may use it.
    pool: Option<String>,
    /// Higher tiers are used first.
    priority: Option<i32>,
    /// Share among accounts of one tier, 1 to 1000.
    weight: Option<u32>,
    /// Most requests in flight, 1 to 10000.
    max_concurrency: Option<u32>,
    /// Whether it serves; `false` lets running requests end and gives it no more.
    enabled: Option<bool>,
    /// The AI gateway; `null`: the one that GitLab names.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>)]
    gateway_url: Change<String>,
}

/// Tells `null`, which clears, from a member that is absent.
fn given<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Change<String>, D::Error> {
    Option::deserialize(deserializer).map(Change::To)
}

impl ChangeRequest {
    /// Reads a JSON merge patch (RFC 7396), and checks it by the same bounds as a new account.
    pub(super) fn parse(bytes: &[u8]) -> Result<Changes, Box<Problem>> {
        let json: Value = serde_json::from_slice(bytes).map_err(|error| {
            bad_request(format!("it is no JSON at line {}, column {}", error.line(), error.column()))
        })?;
        let nulled = ["pool", "priority", "weight", "max_concurrency", "enabled"]
            .into_iter()
            .find(|member| json.get(member).is_some_and(Value::is_null));
        if let Some(member) = nulled {
            return Err(unprocessable(format!("`{member}` cannot be null: leave it out to keep it")).into());
        }
        let asked: Self = serde_json::from_value(json).map_err(|error| unprocessable(error.to_string()))?;
        let given = GivenText {
            gateway_url: asked.gateway_url.clone().or(None),
            label: asked.label.clone().or(None),
            pool: asked.pool,
            priority: asked.priority,
            weight: asked.weight,
            max_concurrency: asked.max_concurrency,
        };
        let given = given.check().map_err(|problem| unprocessable(problem.detail))?;
        Ok(Changes {
            label: if asked.label == Change::Keep { Change::Keep } else { Change::To(given.label) },
            pool: given.pool,
            priority: given.priority,
            weight: given.weight,
            max_concurrency: given.max_concurrency,
            enabled: asked.enabled,
            gateway_url: if asked.gateway_url == Change::Keep { Change::Keep } else { Change::To(given.gateway_url) },
        })
    }
}

fn unprocessable(detail: impl Into<String>) -> Problem {
    Problem::new(422, "bad-settings", "The settings are not as this route takes them").because(detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<Changes, u16> {
        ChangeRequest::parse(text.as_bytes()).map_err(|problem| problem.status)
    }

    #[test]
    fn null_clears_and_what_is_absent_stays() {
        let changes = parsed(r#"{"label":null,"weight":3,"enabled":false}"#);
        let wanted = Changes { label: Change::To(None), weight: Some(3), enabled: Some(false), ..Changes::default() };
        assert_eq!(changes, Ok(wanted));
        assert_eq!(parsed("{}"), Ok(Changes::default()));
        let gateway = parsed(r#"{"gateway_url":"https://gw.example.com"}"#).unwrap().gateway_url;
        assert_eq!(gateway.or(None).map(|url| url.to_string()).as_deref(), Some("https://gw.example.com"));
    }

    #[test]
    fn what_is_out_of_bounds_unknown_or_of_another_kind_is_refused() {
        assert_eq!(parsed("{"), Err(400));
        for refused in [
            r#"{"weight":0}"#,
            r#"{"weight":1001}"#,
            r#"{"max_concurrency":0}"#,
            r#"{"pool":""}"#,
            r#"{"pool":null}"#,
            r#"{"label":" "}"#,
            r#"{"enabled":"no"}"#,
            r#"{"gateway_url":"http://elsewhere.example.com"}"#,
            r#"{"personal_access_token":"glpat-x"}"#,
            r"[]",
            "null",
        ] {
            assert_eq!(parsed(refused), Err(422), "{refused}");
        }
    }
}
