//! The models that gateways do not support.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::domain::endpoint::GatewayUrl;
use crate::domain::model::ModelName;
use crate::domain::time::Timestamp;

/// GitLab's list grows monthly, so a refusal is believed for a day.
const BELIEVED_FOR: Duration = Duration::from_hours(24);
/// Names that one gateway may have refused at a time; the oldest makes room. Bounds what a client can make us remember.
const PER_GATEWAY_MAX: usize = 256;

/// Model names that gateways answered with `Unsupported model`, and until when that is believed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Refused(BTreeMap<GatewayUrl, BTreeMap<ModelName, Timestamp>>);

impl Refused {
    /// Returns whether `gateway` is believed not to support `model`.
    pub(crate) fn contains(&self, gateway: &GatewayUrl, model: &ModelName, now: Timestamp) -> bool {
        if self.0.is_empty() {
            return false;
        }
        self.0.get(gateway).and_then(|models| models.get(model)).is_some_and(|until| now < *until)
    }

    /// Returns whether nothing was ever refused, which is nearly always.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns a copy that knows that `gateway` refused `model` at `now`.
    pub(crate) fn with(&self, gateway: GatewayUrl, model: ModelName, now: Timestamp) -> Self {
        let mut all = self.clone();
        let models = all.0.entry(gateway).or_default();
        models.retain(|_, until| now < *until);
        if models.len() >= PER_GATEWAY_MAX {
            let oldest = models.iter().min_by_key(|(_, until)| **until).map(|(name, _)| name.clone());
            oldest.map(|name| models.remove(&name));
        }
        models.insert(model, now + BELIEVED_FOR);
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_believed_for_a_day_and_for_its_gateway_only() {
        let (now, model) = (Timestamp::from_secs(1_000), ModelName::parse("claude-x").unwrap());
        let elsewhere = GatewayUrl::parse("https://gw.example.com").unwrap();
        let refused = Refused::default().with(GatewayUrl::cloud(), model.clone(), now);
        assert!(refused.contains(&GatewayUrl::cloud(), &model, now + Duration::from_secs(86_399)));
        assert!(!refused.contains(&GatewayUrl::cloud(), &model, now + Duration::from_hours(24)));
        assert!(!refused.contains(&elsewhere, &model, now));
    }

    #[test]
    fn what_a_client_can_make_us_remember_is_bounded() {
        let mut refused = Refused::default();
        for index in 0..1_000_u64 {
            let model = ModelName::parse(&format!("claude-{index}")).unwrap();
            refused = refused.with(GatewayUrl::cloud(), model, Timestamp::from_secs(index));
        }
        let kept = &refused.0[&GatewayUrl::cloud()];
        assert_eq!(kept.len(), PER_GATEWAY_MAX);
        assert!(kept.contains_key(&ModelName::parse("claude-999").unwrap()));
    }
}
