//! What clients asked and were answered, in the order in which it happened.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;

/// One operation of one client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operation<I, O> {
    /// Who asked. Only shown: a client may have several operations under way.
    pub client: u64,
    /// What was asked.
    pub input: I,
    /// When. Numbers order events; they are no time.
    pub invoked: u64,
    /// How it ended.
    pub outcome: Outcome<O>,
}

/// How an operation ended. One that was definitely refused has no place in a history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome<O> {
    /// It was answered.
    Answered {
        /// With this.
        output: O,
        /// When, in the numbers of [`Operation::invoked`].
        at: u64,
    },
    /// It took effect before `at`, and its answer is not known.
    Done {
        /// When that was found out.
        at: u64,
    },
    /// It may have taken effect, may still do so at any time, or never will.
    Unknown,
}

impl<O> Outcome<O> {
    /// When it had taken effect at the latest, if it has to.
    pub(crate) fn at(&self) -> Option<u64> {
        match self {
            Self::Answered { at, .. } | Self::Done { at } => Some(*at),
            Self::Unknown => None,
        }
    }
}

/// Writes down a history. Cheap to clone; all clones write into one.
///
/// ```
/// use kelpie_dst::check::{Linearizability, Recorder};
/// use kelpie_dst::check::spec::{Register, RegisterInput, RegisterOutput};
///
/// let recorder = Recorder::new();
/// let write = recorder.invoke(1, RegisterInput::Write(7));
/// let read = recorder.invoke(2, RegisterInput::Read);
/// read.answered(RegisterOutput::Value(Some(7)));
/// drop(write); // the connection broke: whether 7 was written is unknown
/// assert!(Linearizability::new(Register::<u64>::empty()).check(&recorder.operations()).is_ok());
/// ```
#[derive(Debug)]
pub struct Recorder<I, O> {
    recorded: Arc<Mutex<Recorded<I, O>>>,
}

#[derive(Debug)]
struct Recorded<I, O> {
    /// The number of the next event.
    next: u64,
    /// By [`Operation::invoked`].
    operations: BTreeMap<u64, Operation<I, O>>,
}

impl<I, O> Recorded<I, O> {
    fn tick(&mut self) -> u64 {
        let now = self.next;
        self.next += 1;
        now
    }
}

impl<I, O> Recorder<I, O> {
    /// An empty history.
    pub fn new() -> Self {
        let recorded = Recorded { next: 0, operations: BTreeMap::new() };
        Self { recorded: Arc::new(Mutex::new(recorded)) }
    }

    /// A client is about to ask for something. Call this before the request leaves.
    pub fn invoke(&self, client: u64, input: I) -> Invocation<I, O> {
        let mut recorded = self.recorded.lock();
        let invoked = recorded.tick();
        recorded.operations.insert(invoked, Operation { client, input, invoked, outcome: Outcome::Unknown });
        Invocation { recorder: self.clone(), invoked }
    }
}

impl<I: Clone, O: Clone> Recorder<I, O> {
    /// What has been recorded so far, in the order of the invocations.
    pub fn operations(&self) -> Vec<Operation<I, O>> {
        self.recorded.lock().operations.values().cloned().collect()
    }
}

impl<I, O> Default for Recorder<I, O> {
    fn default() -> Self {
        Self::new()
    }
}

impl<I, O> Clone for Recorder<I, O> {
    fn clone(&self) -> Self {
        Self { recorded: self.recorded.clone() }
    }
}

/// An operation under way. Dropped, its outcome stays unknown.
#[derive(Debug)]
#[must_use = "dropped, its outcome stays unknown"]
pub struct Invocation<I, O> {
    recorder: Recorder<I, O>,
    invoked: u64,
}

impl<I, O> Invocation<I, O> {
    /// It was answered. Call this after the answer has arrived.
    pub fn answered(self, output: O) {
        self.ended(|at| Outcome::Answered { output, at });
    }

    /// It has taken effect, and what it answered is not known.
    pub fn done(self) {
        self.ended(|at| Outcome::Done { at });
    }

    /// Nothing happened, and nothing will: it is struck out.
    pub fn refused(self) {
        self.recorder.recorded.lock().operations.remove(&self.invoked);
    }

    fn ended(self, outcome: impl FnOnce(u64) -> Outcome<O>) {
        let mut recorded = self.recorder.recorded.lock();
        let at = recorded.tick();
        if let Some(operation) = recorded.operations.get_mut(&self.invoked) {
            operation.outcome = outcome(at);
        }
    }
}

/// Takes a history apart by the object that each operation is about. A history is
/// linearizable when that of each object is.
///
/// ```
/// use kelpie_dst::check::{Linearizability, Recorder, by_object};
/// use kelpie_dst::check::spec::{Counter, CounterInput};
///
/// let recorder = Recorder::new();
/// recorder.invoke(1, ("a", CounterInput::Add(2))).answered(2);
/// recorder.invoke(1, ("b", CounterInput::Add(5))).answered(5);
/// for (name, operations) in by_object(recorder.operations(), |(name, input)| (name, input)) {
///     Linearizability::new(Counter::default()).check(&operations).expect(name);
/// }
/// ```
pub fn by_object<K: Ord, I, J, O>(
    operations: impl IntoIterator<Item = Operation<I, O>>,
    split: impl Fn(I) -> (K, J),
) -> BTreeMap<K, Vec<Operation<J, O>>> {
    let mut objects = BTreeMap::<K, Vec<_>>::new();
    for Operation { client, input, invoked, outcome } in operations {
        let (object, input) = split(input);
        objects.entry(object).or_default().push(Operation { client, input, invoked, outcome });
    }
    objects
}
