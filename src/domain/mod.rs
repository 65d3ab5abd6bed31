//! The words of the house: small values that every room speaks in.
//!
//! Nothing here does IO, reads a clock or knows a protocol. A value that exists is valid: parsing happens in the
//! constructors, so no room below the door checks twice.

pub mod catalogue;
pub mod conversation;
pub mod endpoint;
pub mod fault;
pub mod id;
pub mod model;
pub mod oauth;
pub mod route;
pub mod secret;
pub mod strategy;
pub mod time;
