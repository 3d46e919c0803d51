//! Checkers: code that judges a history, after the fact.
//!
//! ```text
//!   clients ──▶ Recorder ──▶ operations ──▶ Linearizability { specification } ──▶ an order, or why not
//!   transfers, balances ──▶ Conservation ──▶ nothing came from nowhere, nothing went away
//!   attempts, acknowledgements, effects ──▶ EffectLedger ──▶ each key once
//! ```
//!
//! They know nothing of the simulator: a test on threads or on a real cluster records its
//! history in the same way.
//!
//! Invariant: a checker never accepts a broken history. What it cannot decide within its
//! limits it says it cannot decide.

mod conservation;
mod effects;
mod history;
mod linear;
pub mod spec;

pub use conservation::{Conservation, ConservationError, Transfer, TransferOutcome};
pub use effects::{EffectLedger, EffectViolation, EffectsError};
pub use history::{Invocation, Operation, Outcome, Recorder, by_object};
pub use linear::{Attempt, Explanation, Linearizability, LinearizabilityError, Misfit};
pub use spec::Specification;
