//! duopool: pools several GitLab Duo accounts behind one endpoint.
pub(crate) mod access;
pub(crate) mod account;
pub mod app;
pub mod config;
pub mod domain;
pub(crate) mod gitlab;
pub(crate) mod http;
pub mod protocol;
pub(crate) mod router;
pub mod store;
pub(crate) mod telemetry;
