//! What every test stands on: a simulated GitLab, duopool in front of it, and a client that reads what comes.

mod app;
pub mod ask;
mod client;
pub mod gateway;
pub mod requests;
pub mod said;
pub mod told;

pub use app::{ADMIN_KEY, TestApp, token_of};
pub use client::{Answer, Event, Open, Request};
