//! Behaviour of the whole, one module per subject, over real sockets and against the simulated GitLab.

#![expect(unreachable_pub, clippy::expect_used, clippy::panic, reason = "tests say what they are in their names")]

mod admin_api;
mod affinity;
mod architecture;
mod backup;
mod bad_input;
mod cancellation;
mod chat_on_both;
mod cli;
mod clients;
mod crash;
mod doctor;
mod error_table;
mod explain;
mod first_light;
mod health;
mod instances;
mod login;
mod model_names;
mod outages;
mod queue;
mod removal;
mod renewal;
mod restart;
mod routes;
mod routing;
mod same_content;
mod secrets;
mod shutdown;
mod store_safety;
mod stored_items;
mod streaming;
mod support;
mod translated;
mod translated_chat;
mod upstream_errors;
