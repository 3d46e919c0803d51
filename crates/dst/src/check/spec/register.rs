//! A value that is read and written as a whole.

use std::fmt::Debug;
use std::hash::Hash;

use super::Specification;

/// A register.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Register<V> {
    initial: Option<V>,
}

impl<V> Register<V> {
    /// One that nothing has been written to.
    pub fn empty() -> Self {
        Self { initial: None }
    }

    /// One that holds `value`.
    pub fn holding(value: V) -> Self {
        Self { initial: Some(value) }
    }
}

/// What can be asked of a [`Register`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RegisterInput<V> {
    /// What does it hold?
    Read,
    /// Hold this.
    Write(V),
    /// Hold `new` if it holds `old`.
    CompareAndSet {
        /// What it has to hold.
        old: Option<V>,
        /// What it holds then.
        new: V,
    },
}

/// What a [`Register`] answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RegisterOutput<V> {
    /// It holds this.
    Value(Option<V>),
    /// It was written.
    Written,
    /// Whether it was set.
    Set(bool),
}

impl<V: Clone + Eq + Hash + Debug> Specification for Register<V> {
    type State = Option<V>;
    type Input = RegisterInput<V>;
    type Output = RegisterOutput<V>;

    fn initial(&self) -> Option<V> {
        self.initial.clone()
    }

    fn apply(&self, state: &mut Option<V>, input: &RegisterInput<V>) -> RegisterOutput<V> {
        match input {
            RegisterInput::Read => RegisterOutput::Value(state.clone()),
            RegisterInput::Write(value) => {
                *state = Some(value.clone());
                RegisterOutput::Written
            }
            RegisterInput::CompareAndSet { old, new } => {
                let equal = state == old;
                if equal {
                    *state = Some(new.clone());
                }
                RegisterOutput::Set(equal)
            }
        }
    }
    fn overwrites(&self, input: &RegisterInput<V>) -> bool {
        matches!(input, RegisterInput::Write(_))
    }
}
