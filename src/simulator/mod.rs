//! A GitLab with Duo, on loopback: OAuth, tokens, direct access, GraphQL, the AI gateway with its models, and faults at
//! will.
//!
//! It exists so that every promise of duopool can be tried without a GitLab account: the demo, the tests and the
//! benchmarks run against it. It is strict where the real services are strict, since a simulator that forgives proves
//! nothing: what GitLab, the gateway, Anthropic or OpenAI would refuse is refused here with their own words. Facts come
//! from GitLab's source and documentation and from the providers' published APIs; none of the wire types are shared
//! with `protocol`, which would make both wrong in the same way.
//!
//! What a client promises about its credentials is proved here as well: each account has a tally of what really
//! happened to its tokens, and calls can be held at the steps where a crash would matter.
//!
//! Deliberately not here: passwords and sessions, encryption on the wire, and any address but loopback. Its models do
//! not think; they answer the same request with the same words.

mod account;
mod answer;
mod anthropic;
mod bearer;
mod clock;
mod control;
mod exchange;
mod gateway;
mod gitlab_api;
mod grants;
mod graphql;
mod handle;
mod journal;
mod json;
mod limits;
mod mind;
mod mint_cases;
mod models;
mod oauth;
mod openai;
mod openai_chat;
mod openai_responses;
mod plausible;
mod script;
mod seen_secrets;
mod server;
mod state;
mod steps;
mod tally;

#[cfg(test)]
mod tests;

pub use account::{
    ChatModel, ChatModels, Credit, Entitlement, PersonalToken, SimulatedAccount, Standing, demo_accounts,
};
pub use handle::{NotDone, SimulatorHandle, UnknownAccount};
pub use journal::{Ending, Gauges, Record, fingerprint};
pub use limits::{Limit, Limits};
pub use mint_cases::{MintCase, MintClass};
pub use oauth::{
    DEMO_CONFIDENTIAL_CLIENT_ID, DEMO_CONFIDENTIAL_CLIENT_SECRET, DEMO_PUBLIC_CLIENT_ID, DEMO_REDIRECT_URI, Decision,
    IssuedTokens, OauthApplication, OauthPolicy, demo_applications,
};
pub use script::{Call, Effect, Rule};
pub use seen_secrets::SeenSecret;
pub use server::{Running, Settings, start};
pub use state::{Deployment, Instance};
pub use steps::{Flow, Hold, HoldInForce, Step, StepEvent};
pub use tally::Tally;
