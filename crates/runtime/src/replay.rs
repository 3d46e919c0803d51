//! Whether a handler goes the same way when it runs again.
//!
//! After a crash a turn begins anew from committed state, and its recorded steps give what they
//! gave. That is the same turn only if the handler depends on nothing else between its steps. A
//! handler that does is found without a crash: once it has run it runs a second time, is told by
//! each step and call what it was told before, and has to ask for the same and leave the same.

use std::collections::BTreeMap;
use std::fmt;

use bytes::Bytes;

use crate::actor::{Actor, HandlerError, TurnError};
use crate::step::Steps;
use crate::turn::Turn;

/// What a handler asks for that may not happen a second time.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Asked {
    Step(String),
    Call(String),
}

impl fmt::Display for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Step(key) => write!(f, "step `{key}`"),
            Self::Call(name) => write!(f, "call `{name}`"),
        }
    }
}

/// What was asked, and what it came to once it has ended.
#[derive(Debug, Clone)]
struct Answer {
    input: [u8; 32],
    told: Option<Result<Bytes, HandlerError>>,
}

/// What a handler was told.
#[derive(Debug, Clone, Default)]
pub(crate) struct Told {
    answers: BTreeMap<Asked, Answer>,
    /// In the second run: what it has not asked for yet, and where it left the way of the first.
    second: Option<(BTreeMap<Asked, Answer>, Option<String>)>,
}

impl Told {
    /// What the second run is told.
    fn again(&self) -> Self {
        Self { answers: BTreeMap::new(), second: Some((self.answers.clone(), None)) }
    }

    /// In the first run: nothing. In the second: what the first was told.
    fn ask(&mut self, asked: &Asked, input: [u8; 32]) -> Option<Result<Bytes, HandlerError>> {
        let Some((first, parted)) = &mut self.second else {
            self.answers.entry(asked.clone()).or_insert(Answer { input, told: None });
            return None;
        };
        let found = match first.get(asked) {
            Some(answer) if answer.input != input => Err(format!("{asked} has another input")),
            // A run with an open question is not repeated.
            Some(Answer { told, .. }) => told.clone().ok_or_else(|| format!("{asked} had no answer before")),
            None => Err(format!("{asked} was not asked for before")),
        };
        let told = found.unwrap_or_else(|what| {
            parted.get_or_insert(what);
            Err(TurnError::StepDiverged { step: asked.to_string() }.into())
        });
        self.answers.insert(asked.clone(), Answer { input, told: None });
        Some(told)
    }

    /// Where the second run has left the way of the first.
    fn parted(self) -> Option<String> {
        let (first, parted) = self.second?;
        let missed = || first.keys().find(|asked| !self.answers.contains_key(asked));
        parted.or_else(|| missed().map(|asked| format!("{asked} was asked for before")))
    }
}

impl Steps {
    fn is_open(&self) -> bool {
        self.told.iter().flat_map(|told| told.answers.values()).any(|answer| answer.told.is_none())
    }

    fn has_asked(&self) -> bool {
        self.told.as_ref().is_some_and(|told| !told.answers.is_empty())
    }
}

impl Turn {
    /// Asks for real; in the second run of a handler, gives what the first was told.
    pub(crate) async fn told_or(
        &self,
        asked: impl FnOnce() -> Asked,
        input: [u8; 32],
        real: impl Future<Output = Result<Bytes, HandlerError>>,
    ) -> Result<Bytes, HandlerError> {
        if self.steps.lock().told.is_none() {
            return real.await;
        }
        let asked = asked();
        if let Some(told) = self.steps.lock().told.as_mut().and_then(|told| told.ask(&asked, input)) {
            return told;
        }
        let outcome = real.await;
        let mut steps = self.steps.lock();
        let answer = steps.told.as_mut().and_then(|told| told.answers.get_mut(&asked));
        if let Some(answer) = answer.filter(|answer| answer.told.is_none()) {
            answer.told = Some(outcome.clone());
        }
        drop(steps);
        outcome
    }

    /// Runs a handler, and a second time if it asked for steps or called others: what the simulator
    /// does with every turn. Gives what the first run came to, and where the second left its way; the
    /// second run is `Some` once it was made.
    #[doc(hidden)]
    pub async fn handle_and_replay(
        &mut self,
        actor: &dyn Actor,
        operation: &str,
        payload: &[u8],
    ) -> (Result<Bytes, HandlerError>, Option<Result<(), String>>) {
        let before = self.work.reminders.clone();
        self.steps.get_mut().told = Some(Box::default());
        let first = actor.handle(self, operation, payload).await;
        let goes_on = matches!(first, Ok(_) | Err(HandlerError::App { .. })) && self.work.problem.is_none();
        let steps = self.steps.get_mut();
        if !goes_on || !steps.has_asked() || steps.is_open() {
            return (first, None);
        }
        let mut again = self.anew();
        again.work.reminders = before;
        let second = actor.handle(&mut again, operation, payload).await;
        let told = again.steps.get_mut().told.take();
        if let Some(what) = told.and_then(|told| told.parted()) {
            return (first, Some(Err(what)));
        }
        // The store was away, or the actor went elsewhere.
        if matches!(second, Err(HandlerError::Turn(_))) {
            return (first, None);
        }
        // It called others and looked at its time or chance only then: nobody has seen those yet, and
        // after a crash they are others.
        if *self.drawn.get_mut() && self.steps.get_mut().running.is_none() {
            return (first, Some(Ok(())));
        }
        let other = self.other_than(&again).or_else(|| (!is_same(&first, &second)).then_some("its answer"));
        (first, Some(other.map_or(Ok(()), |what| Err(format!("{what} is another one")))))
    }

    /// The turn as it would begin after a crash, told what it was told.
    fn anew(&mut self) -> Self {
        let steps = self.steps.get_mut();
        let told = steps.told.as_ref().map(|told| Box::new(told.again()));
        let resumed = steps.running.clone().map(|running| (running, BTreeMap::new()));
        let (activation, request) = (self.activation.clone(), self.request.clone());
        let mut again = Self::new(activation, request, self.origin.clone(), self.fence(), resumed);
        again.steps.get_mut().told = told;
        again
    }

    /// What another run of the same handler has left differently.
    fn other_than(&self, again: &Self) -> Option<&'static str> {
        let (one, other) = (&self.work, &again.work);
        let same = [
            (one.writes == other.writes && one.cleared == other.cleared, "its state"),
            (one.index == other.index && one.added == other.added, "what it wrote to an index"),
            (one.messages == other.messages, "what it sent"),
            (
                one.reminders.is_like(&other.reminders) && one.own_wake_ms == other.own_wake_ms,
                "its reminders",
            ),
            (one.effects == other.effects, "an effect that it left"),
        ];
        same.into_iter().find(|(same, _)| !same).map(|(_, what)| what)
    }
}

fn is_same(one: &Result<Bytes, HandlerError>, other: &Result<Bytes, HandlerError>) -> bool {
    match (one, other) {
        (Ok(one), Ok(other)) => one == other,
        (
            Err(HandlerError::App { code, message, detail }),
            Err(HandlerError::App { code: code2, message: message2, detail: detail2 }),
        ) => (code, message, detail) == (code2, message2, detail2),
        _ => false,
    }
}
