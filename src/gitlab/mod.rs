//! The outside: everything that is said to GitLab and its AI gateway, and what the answers mean.
//!
//! Knows addresses, headers and bodies of GitLab's HTTP interface; knows nothing of accounts, actors or the dialects
//! that clients speak. What an answer means is decided in [`error`] and nowhere else.

pub(crate) mod direct_access;
pub(crate) mod error;
pub(crate) mod gateway;
pub(crate) mod identity;
pub(crate) mod models;
pub(crate) mod oauth;
pub(crate) mod rest;
pub(crate) mod upstream;
