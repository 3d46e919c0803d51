//! Recorded protocol steps as traces that TLC can follow.
//!
//! ```text
//!   steps of a store ─(a module of this folder each)─▶ events ─▶ Trace.tla
//!                                     specs/traces/KelpieX_Trace.tla ─┘ each event is a step of KelpieX
//! ```
//!
//! What a module makes of steps is names and numbers: processes and keys get short names, numbers
//! count from the beginning of a trace. It decides nothing: whether an event may happen is what
//! the specification says.

#![expect(clippy::wildcard_enum_match_arm, reason = "each specification is about some kinds of steps")]

mod activation;
mod keys;
mod migration;
mod registry;
mod run;
mod state;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use kelpie_core::protocol::Step;

/// A value of the specification's language.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Value {
    /// A string.
    Text(String),
    /// A number.
    Number(u64),
    /// A truth value.
    Flag(bool),
    /// A set.
    Set(BTreeSet<Value>),
    /// A sequence.
    Sequence(Vec<Value>),
    /// A record.
    Record(Vec<(&'static str, Value)>),
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |values: &mut dyn Iterator<Item = String>| values.collect::<Vec<_>>().join(", ");
        match self {
            Self::Text(text) => write!(f, "\"{}\"", text.replace(['\\', '"'], "_")),
            Self::Number(number) => write!(f, "{number}"),
            Self::Flag(true) => f.write_str("TRUE"),
            Self::Flag(false) => f.write_str("FALSE"),
            Self::Set(values) => write!(f, "{{{}}}", list(&mut values.iter().map(Self::to_string))),
            Self::Sequence(values) => write!(f, "<<{}>>", list(&mut values.iter().map(Self::to_string))),
            Self::Record(fields) => {
                let fields = &mut fields.iter().map(|(name, value)| format!("{name} |-> {value}"));
                write!(f, "[{}]", list(fields))
            }
        }
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<u64> for Value {
    fn from(number: u64) -> Self {
        Self::Number(number)
    }
}

impl From<u32> for Value {
    fn from(number: u32) -> Self {
        Self::Number(number.into())
    }
}

impl From<bool> for Value {
    fn from(flag: bool) -> Self {
        Self::Flag(flag)
    }
}

/// What happened, by its action's name, and what was seen of it.
pub type Event = Vec<(&'static str, Value)>;

/// The events of some traces of one specification, and the constants that they are about.
#[derive(Debug, Default)]
pub struct Traces {
    events: Vec<Vec<Event>>,
    /// How many have too few events to see anything, and how many take too long.
    left_out: LeftOut,
    sets: BTreeMap<&'static str, BTreeSet<String>>,
    maps: BTreeMap<&'static str, BTreeMap<String, String>>,
}

/// Traces that are not followed.
#[derive(Debug, Clone, Copy, Default)]
struct LeftOut {
    /// Of fewer events than `EVENTS_MIN`.
    short: usize,
    /// Of more than `EVENTS_MAX`, or about more than fits.
    long: usize,
}

/// The specifications that traces are made for.
pub const SPECS: &[(&str, Follow)] = &[
    ("KelpieRegistry", registry::follow),
    ("KelpieSingleActivation", activation::follow),
    ("KelpieActorState", state::follow),
    ("KelpieIdempotency", keys::follow),
    ("KelpieMigration", migration::follow),
    ("KelpieAgentTurn", run::follow),
];

/// Events of a trace that is worth following.
const EVENTS_MIN: usize = 6;
/// Events of the longest trace that is followed.
const EVENTS_MAX: usize = 400;

/// Makes traces of the steps of one store.
pub type Follow = fn(&[Step], &mut Traces);

impl Traces {
    /// The traces of a specification in the steps of stores.
    ///
    /// # Errors
    /// When no traces are made for it.
    pub fn new(spec: &str, stores: &[Vec<Step>]) -> Result<Self, NoTraces> {
        let Some((_, follow)) = SPECS.iter().find(|(name, _)| *name == spec) else {
            let specs = SPECS.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
            return Err(NoTraces { spec: spec.to_owned(), specs });
        };
        let mut traces = Self::default();
        for steps in stores {
            follow(steps, &mut traces);
        }
        Ok(traces)
    }

    /// How many traces there are.
    pub fn len(&self) -> usize {
        self.events.len()
    }

    /// How many events they have together.
    pub fn events(&self) -> usize {
        self.events.iter().map(Vec::len).sum()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    /// The module `Trace`: the traces, and a set or a function for each constant.
    pub fn module(&self) -> String {
        let LeftOut { short, long } = self.left_out;
        let mut text = format!(
            "---- MODULE Trace ----\n\\* left out: {short} short, {long} long\nEXTENDS Naturals, Sequences, TLC\n\nTraces == <<\n"
        );
        let traces = self.events.iter().map(|events| {
            let lines = events.iter().map(|event| format!("    {}", Value::Record(event.clone())));
            format!("  <<\n{}\n  >>", lines.collect::<Vec<_>>().join(",\n"))
        });
        text += &traces.collect::<Vec<_>>().join(",\n");
        text += "\n>>\n";
        for (name, set) in &self.sets {
            let set = Value::Set(set.iter().map(|text| text.as_str().into()).collect());
            text += &format!("\nTrace{name} == {set}\n");
        }
        for (name, map) in &self.maps {
            let pairs = map
                .iter()
                .map(|(from, to)| format!("{} :> {}", Value::from(from.as_str()), Value::from(to.as_str())));
            text += &format!("\nTrace{name} == {}\n", pairs.collect::<Vec<_>>().join(" @@ "));
        }
        text + "====\n"
    }

    /// The members of sets that fields of events name.
    fn learn(&mut self, events: &[Event], fields: &[(&str, &'static str)]) {
        for (field, value) in events.iter().flatten() {
            for (_, set) in fields.iter().filter(|(name, _)| name == field) {
                if let Value::Text(text) = value {
                    self.put(set, text);
                }
            }
        }
    }

    /// Whether a trace has enough to see, and not so much that it takes all the time. Counts it if not.
    fn takes(&mut self, events: &[Event], fits: bool) -> bool {
        let LeftOut { short, long } = &mut self.left_out;
        let (short_of, too_long) = (events.len() < EVENTS_MIN, events.len() > EVENTS_MAX || !fits);
        *short += usize::from(short_of);
        *long += usize::from(too_long && !short_of);
        !short_of && !too_long
    }

    fn put(&mut self, set: &'static str, member: &str) {
        self.sets.entry(set).or_default().insert(member.to_owned());
    }

    fn map(&mut self, map: &'static str, from: &str, to: &str) {
        self.maps.entry(map).or_default().insert(from.to_owned(), to.to_owned());
    }
}

/// The actors whose commits are among some steps.
fn actors(steps: &[Step]) -> BTreeSet<String> {
    let actor = |step: &Step| match step {
        Step::Commit { actor, .. } => Some(actor.clone()),
        _ => None,
    };
    steps.iter().filter_map(actor).collect()
}

/// No traces are made for a specification.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoTraces {
    spec: String,
    specs: String,
}

impl fmt::Display for NoTraces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no traces are made for `{}`, but for {}", self.spec, self.specs)
    }
}

impl std::error::Error for NoTraces {}
