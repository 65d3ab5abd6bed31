//! The owner: one actor per GitLab account, and the registry that keeps them.
//!
//! An account's actor alone writes its credential, its grant, its discovered models and its health. What it decides,
//! it decides in [`state`], a pure machine; what it knows, it publishes as an immutable [`api::Snapshot`]. Who reads
//! the published table, and for what, is not known here.

mod actor;
pub(crate) mod api;
mod bell;
mod blocks;
mod broker;
mod checkup;
pub(crate) mod credentials;
pub(crate) mod doctor;
mod exchange;
mod exchanger;
mod gauge;
pub(crate) mod lease;
pub(crate) mod login;
mod minting;
pub(crate) mod registry;
mod removal;
pub(crate) mod shared_health;
pub(crate) mod state;
pub(crate) mod turns;
pub(crate) mod view;
