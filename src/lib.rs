//! duopool.
pub mod domain;
