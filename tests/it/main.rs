//! Behaviour of the whole, one module per subject, over real sockets and against the simulated GitLab.

#![expect(missing_docs, clippy::expect_used, clippy::panic, reason = "tests say what they are in their names")]

mod bad_input;
mod clients;
mod first_light;
mod model_names;
mod routes;
mod same_content;
mod support;
mod upstream_errors;
