//! What an object does when one operation comes after the other.

mod bank;
mod collections;
mod counter;
mod register;

use std::fmt::Debug;
use std::hash::Hash;

pub use bank::{Bank, BankInput, BankOutput};
pub use collections::{AppendList, ListInput, ListOutput, SetInput, SetOf, SetOutput};
pub use counter::{Counter, CounterInput};
pub use register::{Register, RegisterInput, RegisterOutput};

/// A sequential specification: one state, and what each operation makes of it.
///
/// ```
/// use kelpie_dst::check::{Linearizability, Recorder, Specification};
///
/// /// A ticket machine: each ticket once, in order.
/// struct Tickets;
///
/// impl Specification for Tickets {
///     type State = u32;
///     type Input = ();
///     type Output = u32;
///     fn initial(&self) -> u32 {
///         0
///     }
///     fn apply(&self, state: &mut u32, _: &()) -> u32 {
///         *state += 1;
///         *state
///     }
/// }
///
/// let recorder = Recorder::new();
/// recorder.invoke(1, ()).answered(1);
/// recorder.invoke(2, ()).answered(1); // the same ticket twice
/// let broken = Linearizability::new(Tickets).check(&recorder.operations()).unwrap_err();
/// assert!(broken.to_string().contains("would have answered 2"));
/// ```
pub trait Specification {
    /// What the object remembers. One is kept for each configuration that the search has
    /// seen, so it should be small or cheap to clone.
    type State: Clone + Eq + Hash + Debug;
    /// What can be asked.
    type Input: PartialEq + Debug;
    /// What can be answered.
    type Output: PartialEq + Debug;

    /// Before the first operation.
    fn initial(&self) -> Self::State;

    /// Carries out `input` and answers it. The same state and input always give the same.
    fn apply(&self, state: &mut Self::State, input: &Self::Input) -> Self::Output;

    /// Whether a client may have been told `answered` where [`Specification::apply`] answers
    /// `expected`: for objects whose answers are not decided by what came before alone.
    fn accepts(&self, expected: &Self::Output, answered: &Self::Output) -> bool {
        expected == answered
    }

    /// Whether the state after `input` is the same whatever it was before. Saying so is never
    /// needed; it spares the search much when many such operations have unknown outcomes.
    fn overwrites(&self, input: &Self::Input) -> bool {
        let _ = input;
        false
    }
}
