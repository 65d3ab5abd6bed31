//! The proof of the choice: a world of accounts, outages and clients, drawn from a seed and played in virtual time.
//!
//! It runs the product's own decisions, which are all pure: `account::state`, `account::turns`, slots and leases, the
//! chooser of `router`, its retries, and the table of `gitlab::error`. Everything around them is played: GitLab, its
//! gateways, the network, clients who come and leave, operators, restarts, and the clock. After every step the promises
//! of [`invariants`] are looked at; each is said in words of its own, never by calling what it is to prove.
//!
//! The same seed gives the same run to the last event. A failing one names the command that plays it again and prints
//! what happened: `scripts/simulate-choice --seed N`.
//!
//! Not to be confused with `simulator`, a GitLab that speaks HTTP; here nothing is ever sent.
#![cfg(test)]

mod accounts;
mod invariants;
mod judge;
mod operators;
mod plan;
mod requests;
mod tests;
mod truth;
mod world;
