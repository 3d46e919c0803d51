//! Sets and lists that things are put into.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::hash::Hash;
use std::marker::PhantomData;

use super::Specification;

/// A set, empty at first.
///
/// ```
/// use kelpie_dst::check::{Linearizability, Recorder};
/// use kelpie_dst::check::spec::{SetInput, SetOf, SetOutput};
///
/// let recorder = Recorder::new();
/// recorder.invoke(1, SetInput::Insert("a")).answered(SetOutput::Was(true));
/// recorder.invoke(2, SetInput::Insert("a")).answered(SetOutput::Was(true)); // new, twice
/// Linearizability::new(SetOf::default()).check(&recorder.operations()).unwrap_err();
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SetOf<T>(PhantomData<T>);

impl<T> Default for SetOf<T> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

/// What can be asked of a [`SetOf`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SetInput<T> {
    /// Put this in.
    Insert(T),
    /// Take this out.
    Remove(T),
    /// Is this in it?
    Contains(T),
    /// What is in it?
    All,
}

/// What a [`SetOf`] answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SetOutput<T> {
    /// Whether an insertion or a removal changed it, or whether it contains the value.
    Was(bool),
    /// Everything in it.
    All(BTreeSet<T>),
}

impl<T: Clone + Ord + Hash + Debug> Specification for SetOf<T> {
    type State = BTreeSet<T>;
    type Input = SetInput<T>;
    type Output = SetOutput<T>;

    fn initial(&self) -> BTreeSet<T> {
        BTreeSet::new()
    }

    fn apply(&self, state: &mut BTreeSet<T>, input: &SetInput<T>) -> SetOutput<T> {
        match input {
            SetInput::Insert(value) => SetOutput::Was(state.insert(value.clone())),
            SetInput::Remove(value) => SetOutput::Was(state.remove(value)),
            SetInput::Contains(value) => SetOutput::Was(state.contains(value)),
            SetInput::All => SetOutput::All(state.clone()),
        }
    }
}

/// A list that grows at its end, empty at first.
///
/// ```
/// use kelpie_dst::check::{Linearizability, Recorder};
/// use kelpie_dst::check::spec::{AppendList, ListInput, ListOutput};
///
/// let recorder = Recorder::new();
/// recorder.invoke(1, ListInput::Append(1)).done(); // its answer says nothing
/// drop(recorder.invoke(2, ListInput::Append(2))); // its answer never came
/// recorder.invoke(1, ListInput::Read).answered(ListOutput::Items(vec![1, 2]));
/// Linearizability::new(AppendList::default()).check(&recorder.operations()).unwrap();
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AppendList<T>(PhantomData<T>);

impl<T> Default for AppendList<T> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

/// What can be asked of an [`AppendList`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ListInput<T> {
    /// Put this at the end.
    Append(T),
    /// What is in it?
    Read,
}

/// What an [`AppendList`] answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ListOutput<T> {
    /// Its length after an append.
    Length(usize),
    /// Everything in it.
    Items(Vec<T>),
}

impl<T: Clone + Eq + Hash + Debug> Specification for AppendList<T> {
    type State = Vec<T>;
    type Input = ListInput<T>;
    type Output = ListOutput<T>;

    fn initial(&self) -> Vec<T> {
        Vec::new()
    }

    fn apply(&self, state: &mut Vec<T>, input: &ListInput<T>) -> ListOutput<T> {
        match input {
            ListInput::Append(value) => {
                state.push(value.clone());
                ListOutput::Length(state.len())
            }
            ListInput::Read => ListOutput::Items(state.clone()),
        }
    }
}
