//! What the program says about itself.

pub(crate) mod logging;
