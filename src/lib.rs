//! duopool.
pub(crate) mod account;
pub mod domain;
pub(crate) mod gitlab;
pub(crate) mod router;
pub mod store;
