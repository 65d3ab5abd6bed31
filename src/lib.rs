//! duopool: pools several GitLab Duo accounts behind one endpoint that speaks Anthropic's and OpenAI's APIs.
//!
//! The rooms of the house, top floor first. A room may use those below it and never one above; `ARCHITECTURE.md` tells
//! the way of one request through them.
//!
//! - [`cli`]: one file per subcommand.
//! - `setup`: what clients are told so that they use the pool, and how that gets into their own files; pure.
//! - [`mod@bench`]: what the benchmarks measure in rooms that are closed to them.
//! - [`app`]: builds every room, wires the addresses, binds, drains.
//! - `http`: the door. Speaks HTTP, decides nothing about accounts.
//! - `router`: the chooser. Which account serves a request; pure.
//! - `account`: the owner. One actor per GitLab account, and the registry that publishes them.
//! - `access`: who may come in.
//! - `stored`: the shelf. Answers that clients may refer to, in memory for a while.
//! - `trace`: the notebook. What was decided about each of the last requests, and what came of it.
//! - `gitlab`: the outside. What is said to GitLab and its gateway, and what the answers mean.
//! - [`protocol`]: the translators. No async, no clock, no sockets.
//! - [`store`]: the cellar. What survives a restart, sealed.
//! - `simulation`: the proof of the choice, in virtual time; there for the tests alone.
//! - `telemetry`, [`config`]: what the program says, and what it is told.
//! - [`simulator`]: a GitLab with Duo on loopback, for the demo, the tests and the benchmarks.
//! - [`domain`]: the words that all rooms speak in.

pub(crate) mod access;
pub(crate) mod account;
pub mod app;
pub mod bench;
pub mod cli;
pub mod config;
pub mod domain;
pub(crate) mod gitlab;
pub(crate) mod http;
pub mod protocol;
pub(crate) mod router;
pub(crate) mod setup;
pub(crate) mod simulation;
pub mod simulator;
pub mod store;
pub(crate) mod stored;
pub(crate) mod telemetry;
pub(crate) mod trace;
