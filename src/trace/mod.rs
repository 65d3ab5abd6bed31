//! The notebook: what was decided about each request, and what came of it.
//!
//! Every request that was let in writes here as it goes along. It writes values and no words, since this is done for
//! every request and read for few: a handful of small allocations, no text is made, and nobody waits for a lock for
//! longer than a push. Words are made where somebody asks.
//!
//! A choice could also be explained by making it once more, since it is pure; but the table that it was made from holds
//! grants, and the loads of that moment are gone. So what was seen of each account is noted instead.
//!
//! Kept are ids, names of models, numbers and reasons. Not kept, not even by reference: grants, keys, texts of prompts
//! and answers, headers, and what upstreams say in their errors, which may quote any of these.

mod record;
mod ring;
mod sheet;

pub(crate) use record::{
    Asked, Attempt, Begun, Chosen, Decider, Ended, Failure, Nobody, Outcome, Record, Trace, Trail,
};
pub(crate) use ring::{RECORDS_MAX, Ring};
pub(crate) use sheet::{Seen, Sheet, Tally, Verdict, Word};
