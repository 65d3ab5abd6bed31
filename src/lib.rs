//! duopool.
pub(crate) mod access;
pub(crate) mod account;
pub mod domain;
pub(crate) mod gitlab;
pub(crate) mod http;
pub mod protocol;
pub(crate) mod router;
pub mod store;
