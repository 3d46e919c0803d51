//! One activation: its mailbox, its turn, and the commit of that turn.
//!
//! ```text
//!            Loaded            (call)            HandlerFinished
//!  Loading ─────────▶ Idle ───────────▶ Running ────────────────▶ Committing ── CommitUnknown ─▶ Settling
//!     │                ▲ │                │                          │ CommitSucceeded              │
//!     │                │ └── Evicted      │ Panicked                 │ CommitRefused                │ Settled
//!     ▼ LoadFailed     │        │         ▼                          ▼                              │
//!    Gone ◀────────────┼────────┴──────  Gone  ◀── CommitConflicted ─┤                              │
//!                      └─────────────────────────────────────────────┴──────────────────────────────┘
//! ```
//!
//! Invariants: one turn at a time; a call is answered once; an answer that rests on a commit
//! is given only after that commit is known to have landed; while an outcome is unknown
//! nothing else runs. What is Gone answers nobody any more: its calls go to the next
//! activation with the same keys.
//!
//! The specification is `specs/KelpieActorState.tla`; its actions have the names of the
//! inputs.

use std::collections::BTreeMap;
use std::time::Duration;

use self::mailbox::{Mailbox, Pushed, Waiting};
use crate::call::{CallKey, Fingerprint, Lane};

mod mailbox;

#[cfg(test)]
mod tests;

/// A call, by its number on this activation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CallNo(pub u64);

/// What the shell observed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// Somebody calls.
    Called {
        /// The call's number; never used twice.
        call: CallNo,
        /// What the caller names its intent by.
        key: CallKey,
        /// Who calls, as far as fairness goes.
        lane: Lane,
        /// What it asks.
        fingerprint: Fingerprint,
        /// When it is too late to begin.
        deadline: Duration,
    },
    /// The actor is owned and its head has been read.
    Loaded {
        /// The turn that had recorded a step before the activation began: it goes first.
        resume: Option<Resumed>,
    },
    /// A caller's deadline passed while it waited.
    Withdrawn {
        /// Its call.
        call: CallNo,
    },
    /// A call that waits is not to run any more. One that runs is left alone.
    TakenBack {
        /// What it was called under; whoever has joined it is told the same.
        key: CallKey,
        /// Why.
        refusal: Refusal,
    },
    /// It could not be loaded: not owned here, or the store did not answer.
    LoadFailed,
    /// The running handler is done. `commits` says whether something has to become durable.
    HandlerFinished {
        /// Whether there is something to commit.
        commits: bool,
    },
    /// The running handler panicked.
    Panicked,
    /// Owner or sequence moved while a handler ran (seen by a lazy load or a step).
    Moved,
    /// The commit landed.
    CommitSucceeded,
    /// The commit found another owner or another sequence: it can never land.
    CommitConflicted,
    /// The store refused the commit; nothing happened.
    CommitRefused,
    /// The commit may have landed or may still land.
    CommitUnknown,
    /// A later write has made the outcome final.
    Settled {
        /// Whether the commit had landed.
        landed: bool,
    },
    /// Nobody called for long, or memory is short.
    Evicted,
    /// The actor is to go to another node: the running turn ends here, and no other begins.
    Retired,
    /// Another node has taken the actor: who waits goes there, the running turn ends here, and no other
    /// begins.
    OwnerChanged,
}

/// A turn that goes on after a crash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Resumed {
    /// Its number on this activation.
    pub call: CallNo,
    /// The key that its first caller gave.
    pub key: CallKey,
    /// What it asks.
    pub fingerprint: Fingerprint,
}

/// What the shell has to do, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Run the handler of this call on a copy of the state.
    Run(CallNo),
    /// Commit what the handler left, conditional on owner and sequence.
    Commit,
    /// Write the owner record anew and see whether the commit had landed.
    Settle,
    /// The copy is now the state.
    Publish,
    /// The copy is worth nothing.
    Discard,
    /// Give the turn's result to this call.
    Answer(CallNo),
    /// Tell this call why it has no result.
    Refuse(CallNo, Refusal),
    /// Forget the activation; ownership stays.
    Drop,
}

/// Why a call gets no result from this activation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// The activation is gone: ask the next one, with the same key.
    Gone,
    /// Another node has the actor: ask there, with the same key. It has not begun here.
    Elsewhere,
    /// Too many calls wait.
    MailboxFull,
    /// Its deadline passed before it began.
    TooLate,
    /// The key is in use for another request.
    KeyReused,
    /// The handler panicked; its state was thrown away.
    Panicked,
    /// It was cancelled before it began.
    Cancelled,
    /// It waited for an actor whose turn waits for the caller's.
    Deadlock,
    /// The store refused the commit, or a lost one was settled as never landed.
    NotCommitted,
}

/// Where a call stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// In the mailbox.
    Waiting,
    /// Its handler runs.
    Running,
    /// Its handler is done, and what it left becomes durable.
    Ending,
    /// Answered, or never here.
    Absent,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Phase {
    Loading,
    Idle,
    Running(CallKey),
    Committing(CallKey),
    Settling(CallKey),
    Gone,
}

/// Calls with one key: the first runs, the others wait for its result.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Joined {
    fingerprint: Fingerprint,
    calls: Vec<CallNo>,
}

/// The machine. The shell holds requests, state and replies; it holds who is next.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Activation {
    phase: Phase,
    mailbox: Mailbox,
    calls: BTreeMap<CallKey, Joined>,
    /// No turn begins any more.
    retired: bool,
}

impl Activation {
    /// A new activation, being loaded.
    pub fn new(mailbox_calls_max: usize) -> Self {
        Self {
            phase: Phase::Loading,
            mailbox: Mailbox::new(mailbox_calls_max),
            calls: BTreeMap::new(),
            retired: false,
        }
    }

    /// One at rest: whatever it did before has ended, so it is like any other that was loaded.
    pub fn resting(mailbox_calls_max: usize) -> Self {
        Self { phase: Phase::Idle, ..Self::new(mailbox_calls_max) }
    }

    /// Whether it has been dropped.
    pub fn is_gone(&self) -> bool {
        self.phase == Phase::Gone
    }

    /// Whether the last published state is certainly the last committed one: no commit of
    /// this activation is in flight.
    pub fn is_settled(&self) -> bool {
        match self.phase {
            Phase::Loading | Phase::Idle | Phase::Running(_) => true,
            Phase::Committing(_) | Phase::Settling(_) | Phase::Gone => false,
        }
    }

    /// Whether it waits for calls: nothing is left of those before, and a new machine
    /// ([`Activation::resting`]) goes on like this one.
    pub fn is_idle(&self) -> bool {
        self.phase == Phase::Idle
    }

    /// Where the call with this key stands.
    pub fn standing(&self, key: CallKey) -> Standing {
        match self.begun() {
            Some((begun, standing)) if begun == key => standing,
            Some(_) | None if self.calls.contains_key(&key) => Standing::Waiting,
            Some(_) | None => Standing::Absent,
        }
    }

    fn begun(&self) -> Option<(CallKey, Standing)> {
        match self.phase {
            Phase::Running(key) => Some((key, Standing::Running)),
            Phase::Committing(key) | Phase::Settling(key) => Some((key, Standing::Ending)),
            Phase::Loading | Phase::Idle | Phase::Gone => None,
        }
    }

    /// The first call of each turn that has begun or waits to, in the order of their turns.
    pub fn calls(&self) -> impl Iterator<Item = (CallNo, Standing)> {
        let keys = self
            .begun()
            .into_iter()
            .map(|(key, _)| key)
            .chain(self.mailbox.iter().map(|waiting| waiting.key));
        keys.filter_map(|key| Some((*self.calls.get(&key)?.calls.first()?, self.standing(key))))
    }

    /// Calls that have not been answered.
    pub fn calls_waiting(&self) -> usize {
        self.calls.values().map(|joined| joined.calls.len()).sum()
    }

    /// Advances the activation by one input.
    pub fn step(&mut self, now: Duration, input: Input) -> Vec<Effect> {
        match input {
            Input::Called { call, key, lane, fingerprint, deadline } => {
                self.called(now, call, Waiting { key, lane, deadline }, fingerprint)
            }
            Input::Loaded { resume } => self.loaded(now, resume),
            Input::Withdrawn { call } => self.withdrawn(call),
            Input::TakenBack { key, refusal } => self.taken_back(key, refusal),
            Input::LoadFailed => self.gone(vec![]),
            Input::HandlerFinished { commits } => self.handler_finished(now, commits),
            Input::Panicked => self.panicked(),
            Input::Moved => self.gone(vec![Effect::Discard]),
            Input::CommitSucceeded => self.commit_succeeded(now),
            Input::CommitConflicted => self.gone(vec![Effect::Discard]),
            Input::CommitRefused => {
                let key = self.committing();
                self.not_committed(now, key)
            }
            Input::CommitUnknown => {
                self.phase = Phase::Settling(self.committing());
                vec![Effect::Settle]
            }
            Input::Settled { landed } => self.settled(now, landed),
            Input::Evicted => self.evicted(),
            Input::Retired => {
                self.retired = true;
                self.evicted()
            }
            Input::OwnerChanged => self.owner_changed(),
        }
    }

    fn loaded(&mut self, now: Duration, resume: Option<Resumed>) -> Vec<Effect> {
        assert_eq!(self.phase, Phase::Loading, "an activation is loaded once");
        let mut effects = vec![];
        if let Some(Resumed { call, key, fingerprint }) = resume {
            let mut calls = vec![call];
            if let Some(waiting) = self.calls.remove(&key) {
                self.mailbox.remove(key);
                if waiting.fingerprint == fingerprint {
                    calls.extend(waiting.calls);
                } else {
                    effects.extend(
                        waiting.calls.into_iter().map(|call| Effect::Refuse(call, Refusal::KeyReused)),
                    );
                }
            }
            self.calls.insert(key, Joined { fingerprint, calls });
            // Its deadline is in its record: the shell fails it there, and does not skip it.
            self.mailbox.push_first(Waiting { key, lane: Lane(0), deadline: Duration::MAX });
        }
        self.next(now, effects)
    }

    fn withdrawn(&mut self, call: CallNo) -> Vec<Effect> {
        let alone = |waiting: &&Waiting| {
            self.calls.get(&waiting.key).is_some_and(|joined: &Joined| joined.calls == [call])
        };
        let Some(key) = self.mailbox.iter().find(alone).map(|waiting| waiting.key) else { return vec![] };
        self.mailbox.remove(key);
        self.refuse(key, Refusal::TooLate, vec![])
    }

    fn taken_back(&mut self, key: CallKey, refusal: Refusal) -> Vec<Effect> {
        // It may be the turn that had recorded a step: then it has begun long ago.
        if self.phase == Phase::Loading {
            return vec![];
        }
        match self.mailbox.remove(key) {
            Some(_) => self.refuse(key, refusal, vec![]),
            None => vec![],
        }
    }

    fn called(
        &mut self,
        now: Duration,
        call: CallNo,
        waiting: Waiting,
        fingerprint: Fingerprint,
    ) -> Vec<Effect> {
        if self.phase == Phase::Gone {
            return vec![Effect::Refuse(call, Refusal::Gone)];
        }
        let key = waiting.key;
        if let Some(joined) = self.calls.get_mut(&key) {
            if joined.fingerprint != fingerprint {
                return vec![Effect::Refuse(call, Refusal::KeyReused)];
            }
            joined.calls.push(call);
            return vec![];
        }
        // Who finds it idle waits for nobody.
        if self.phase == Phase::Idle && self.mailbox.is_empty() && waiting.deadline >= now {
            self.calls.insert(key, Joined { fingerprint, calls: vec![call] });
            self.phase = Phase::Running(key);
            return vec![Effect::Run(call)];
        }
        let effects = match self.mailbox.push(waiting) {
            Pushed::In => vec![],
            Pushed::InsteadOf(other) => self.refuse(other, Refusal::MailboxFull, vec![]),
            Pushed::Full => return vec![Effect::Refuse(call, Refusal::MailboxFull)],
        };
        self.calls.insert(key, Joined { fingerprint, calls: vec![call] });
        if self.phase == Phase::Idle { self.next(now, effects) } else { effects }
    }

    fn handler_finished(&mut self, now: Duration, commits: bool) -> Vec<Effect> {
        let key = self.running();
        if commits {
            self.phase = Phase::Committing(key);
            return vec![Effect::Commit];
        }
        let effects = self.answer(key, vec![]);
        self.next(now, effects)
    }

    fn commit_succeeded(&mut self, now: Duration) -> Vec<Effect> {
        let key = self.committing();
        let effects = self.answer(key, vec![Effect::Publish]);
        self.next(now, effects)
    }

    fn settled(&mut self, now: Duration, landed: bool) -> Vec<Effect> {
        let Phase::Settling(key) = self.phase else { panic!("settled while {:?}", self.phase) };
        if landed {
            let effects = self.answer(key, vec![Effect::Publish]);
            self.next(now, effects)
        } else {
            self.not_committed(now, key)
        }
    }

    fn not_committed(&mut self, now: Duration, key: CallKey) -> Vec<Effect> {
        let effects = self.refuse(key, Refusal::NotCommitted, vec![Effect::Discard]);
        self.next(now, effects)
    }

    fn panicked(&mut self) -> Vec<Effect> {
        let key = self.running();
        let effects = self.refuse(key, Refusal::Panicked, vec![Effect::Discard]);
        self.gone(effects)
    }

    fn evicted(&mut self) -> Vec<Effect> {
        if self.phase == Phase::Idle { self.gone(vec![]) } else { vec![] }
    }

    fn owner_changed(&mut self) -> Vec<Effect> {
        self.retired = true;
        let mut effects = vec![];
        while let Some(waiting) = self.mailbox.pop() {
            effects = self.refuse(waiting.key, Refusal::Elsewhere, effects);
        }
        if self.phase == Phase::Idle { self.gone(effects) } else { effects }
    }

    /// Begins the next call that is not too late.
    fn next(&mut self, now: Duration, mut effects: Vec<Effect>) -> Vec<Effect> {
        if self.retired {
            return self.gone(effects);
        }
        while let Some(Waiting { key, deadline, lane: _ }) = self.mailbox.pop() {
            if deadline < now {
                effects = self.refuse(key, Refusal::TooLate, effects);
                continue;
            }
            let first = self.calls.get(&key).and_then(|joined| joined.calls.first());
            let call = *first.expect("a key in the mailbox has its calls");
            self.phase = Phase::Running(key);
            effects.push(Effect::Run(call));
            return effects;
        }
        self.phase = Phase::Idle;
        effects
    }

    /// Ends the activation: whoever waits asks the next one.
    fn gone(&mut self, mut effects: Vec<Effect>) -> Vec<Effect> {
        self.phase = Phase::Gone;
        self.mailbox.clear();
        for joined in std::mem::take(&mut self.calls).into_values() {
            effects.extend(joined.calls.into_iter().map(|call| Effect::Refuse(call, Refusal::Gone)));
        }
        effects.push(Effect::Drop);
        effects
    }

    fn answer(&mut self, key: CallKey, mut effects: Vec<Effect>) -> Vec<Effect> {
        let joined = self.calls.remove(&key).expect("a turn has its calls");
        effects.extend(joined.calls.into_iter().map(Effect::Answer));
        effects
    }

    fn refuse(&mut self, key: CallKey, refusal: Refusal, mut effects: Vec<Effect>) -> Vec<Effect> {
        let joined = self.calls.remove(&key).expect("a turn has its calls");
        effects.extend(joined.calls.into_iter().map(|call| Effect::Refuse(call, refusal)));
        effects
    }

    fn running(&self) -> CallKey {
        let Phase::Running(key) = self.phase else { panic!("no handler runs while {:?}", self.phase) };
        key
    }

    fn committing(&self) -> CallKey {
        let Phase::Committing(key) = self.phase else {
            panic!("no commit is in flight while {:?}", self.phase)
        };
        key
    }
}
