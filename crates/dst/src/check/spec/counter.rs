//! A number that is added to.

use super::Specification;

/// A counter. It answers its total; where an object adds and does not say the total, record
/// [`crate::check::Outcome::Done`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counter {
    /// Where it begins.
    pub initial: i64,
}

/// What can be asked of a [`Counter`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CounterInput {
    /// Add this, wrapping, and say the total.
    Add(i64),
    /// Say the total.
    Get,
}

impl Specification for Counter {
    type State = i64;
    type Input = CounterInput;
    type Output = i64;

    fn initial(&self) -> i64 {
        self.initial
    }

    fn apply(&self, state: &mut i64, input: &CounterInput) -> i64 {
        if let CounterInput::Add(amount) = input {
            *state = state.wrapping_add(*amount);
        }
        *state
    }
}
