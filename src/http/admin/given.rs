//! What an operator may say of an account, whichever way it logs in.

use crate::account::login::Given;
use crate::domain::endpoint::GatewayUrl;
use crate::http::admin::problem::{Problem, bad_request};

/// Longest label or pool name, in characters.
const TEXT_CHARS_MAX: usize = 512;

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
