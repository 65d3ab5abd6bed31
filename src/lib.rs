//! duopool.
pub mod domain;
pub mod simulator;
