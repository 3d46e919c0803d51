//! What happened in a run, folded into one hash, and kept in parts when asked for.
//!
//! Two runs took the same way exactly when they drew the same numbers, polled the same
//! tasks and wrote and sent the same bytes, in the same order: that is what the hash
//! compares.

use std::fmt;
use std::ops::Range;
use std::time::Duration;

use crate::Origin;

/// What a drawn or noted number stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Event {
    Turn = 1,
    Spawn,
    Delay,
    Timer,
    Disk,
    Crash,
    Net,
    Node,
    NodeRandom,
    Sent,
    Arrived,
    Digest,
    Slip,
}

impl Event {
    fn words(self) -> &'static str {
        match self {
            Self::Turn => "turn",
            Self::Spawn => "spawn",
            Self::Delay => "delay of work",
            Self::Timer => "timer",
            Self::Disk => "disk",
            Self::Crash => "power cut",
            Self::Net => "network",
            Self::Node => "node",
            Self::NodeRandom => "random bytes",
            Self::Sent => "message sent",
            Self::Arrived => "message arrives",
            Self::Digest => "state of the node after a turn",
            Self::Slip => "past the Env",
        }
    }
}

/// One event of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceEvent {
    /// How many events came before it.
    pub number: u64,
    /// What it is about.
    pub what: String,
    /// The number that was drawn or noted, or a digest of bytes.
    pub value: u64,
    /// The node whose task had its turn; empty between turns, and for the future that
    /// `block_on` was given.
    pub node: String,
    /// The name of the task.
    pub task: String,
    /// By which task it was started, and in which line; empty where there is no task.
    pub started: String,
    /// Virtual time at the start of that turn.
    pub at: Duration,
}

impl fmt::Display for TraceEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { number, what, value, node, task, started, at } = self;
        write!(f, "event {number} ({what} {value:#x}) in \"{node}: {task}\"")?;
        if !started.is_empty() {
            write!(f, ", started {started},")?;
        }
        write!(f, " at {at:?}")
    }
}

/// Whose turn it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Turn {
    pub(super) node: Option<u32>,
    pub(super) task: Whose,
    pub(super) at: u64,
}

/// Who is at work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Whose {
    /// With the name of the task that started it.
    Task(Origin, &'static str),
    /// The future that `block_on` was given.
    Root,
    /// The world itself, or who watches it.
    Nobody,
}

impl Whose {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Task(origin, _) => origin.name,
            Self::Root => "block_on",
            Self::Nobody => "between turns",
        }
    }

    /// Where it was started.
    pub(super) fn started(self) -> String {
        match self {
            Self::Task(origin, by) => format!("by \"{by}\" at {}", origin.place),
            Self::Root | Self::Nobody => String::new(),
        }
    }
}

pub(super) const NO_TURN: Turn = Turn { node: None, task: Whose::Nobody, at: 0 };

/// An event as it is kept.
#[derive(Debug, Clone, Copy)]
struct Kept {
    number: u64,
    event: Event,
    value: u64,
    turn: Turn,
}

pub(super) struct Trace {
    hash: u64,
    events: u64,
    /// The number of events after which there is something to keep next.
    keep_at: u64,
    every: u64,
    checkpoints: Vec<u64>,
    window: Range<u64>,
    kept: Vec<Kept>,
    turn: Turn,
}

pub(super) const MIX: u64 = 0x9E37_79B9_7F4A_7C15;

impl Trace {
    /// Keeps the hash after each `every` events, and the events in `window`.
    pub(super) fn new(seed: u64, every: Option<u64>, window: Range<u64>) -> Self {
        let every = every.unwrap_or(u64::MAX).max(1);
        let (checkpoints, kept) = (vec![], vec![]);
        let mut trace =
            Self { hash: seed, events: 0, keep_at: 0, every, checkpoints, window, kept, turn: NO_TURN };
        trace.plan();
        trace
    }

    /// Folds what happened into the hash.
    pub(super) fn note(&mut self, event: Event, value: u64) {
        self.hash = (self.hash.rotate_left(5) ^ value).wrapping_add(event as u64).wrapping_mul(MIX);
        self.events += 1;
        if self.events >= self.keep_at {
            self.keep(event, value);
        }
    }

    #[cold]
    fn keep(&mut self, event: Event, value: u64) {
        if self.events.is_multiple_of(self.every) {
            self.checkpoints.push(self.hash);
        }
        let number = self.events - 1;
        if self.window.contains(&number) {
            self.kept.push(Kept { number, event, value, turn: self.turn });
        }
        self.plan();
    }

    fn plan(&mut self) {
        let checkpoint = (self.events / self.every + 1).saturating_mul(self.every);
        let next = self.window.start.max(self.events);
        let kept = if next < self.window.end { next + 1 } else { u64::MAX };
        self.keep_at = checkpoint.min(kept);
    }

    /// From now on it is this task's turn.
    pub(super) fn turn(&mut self, turn: Turn) {
        self.turn = turn;
    }

    /// Whose turn it is.
    pub(super) fn whose(&self) -> Turn {
        self.turn
    }

    pub(super) fn hash(&self) -> u64 {
        self.hash
    }

    pub(super) fn events(&self) -> u64 {
        self.events
    }

    pub(super) fn checkpoints(&self) -> &[u64] {
        &self.checkpoints
    }

    /// The events of the window, with the names of nodes as `name` has them.
    pub(super) fn kept(&self, name: impl Fn(u32) -> String) -> Vec<TraceEvent> {
        let shown = |kept: &Kept| TraceEvent {
            number: kept.number,
            what: kept.event.words().to_owned(),
            value: kept.value,
            node: kept.turn.node.map(&name).unwrap_or_default(),
            task: kept.turn.task.name().to_owned(),
            started: kept.turn.task.started(),
            at: Duration::from_nanos(kept.turn.at),
        };
        self.kept.iter().map(shown).collect()
    }
}
