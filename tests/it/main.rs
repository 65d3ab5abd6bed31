//! Behaviour of the whole, one module per subject, over real sockets and against the simulated GitLab.

#![expect(unreachable_pub, clippy::expect_used, clippy::panic, reason = "tests say what they are in their names")]

mod admin_api;
mod architecture;
mod cli;
mod first_light;
mod secrets;
mod support;
