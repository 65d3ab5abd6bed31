//! What every test stands on: a simulated GitLab, duopool in front of it, and a client that reads what comes.

mod app;
pub mod ask;
mod client;
pub mod gateway;
#[path = "../../../src/protocol/grammar/mod.rs"]
pub mod grammar;
mod process;
pub mod proxy;
pub mod requests;
pub mod said;
pub mod tls;
pub mod told;

pub use app::{ADMIN_KEY, TestApp, simulated, token_of};
pub use client::{Answer, Event, Open, Request};
pub use process::{Machine, Started, contents};
