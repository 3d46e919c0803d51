//! Between the wire and the domain, in both directions.
//!
//! Invariant: what leaves is a pure function of what the domain gave, so the same recorded
//! reply gives the same bytes whenever it is asked for again.

pub(crate) mod actor;
pub(crate) mod agent;
pub(crate) mod message;
pub(crate) mod model;
