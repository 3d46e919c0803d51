//! Giving an actor away: to a node of the operator's choice, or because this one drains.
//!
//! ```text
//!   Waiting ──TurnEnded──▶ Committing ──Moved──▶ over: what waits is forwarded
//!      │                    │  ▲   │
//!      │          Unknown ──┘  │   └──Refused──▶ over: what waits goes on here
//!      └──────── Cancelled ────┼───────────────▶
//!                              └ asked again until it is known
//! ```
//!
//! State is not shipped: the store is shared. One commit makes the target the owner, between two
//! turns; before it everything is here, after it there.
//!
//! Invariant: no turn begins while the commit is under way or its outcome is unknown, and what
//! waits is forwarded only once the target owns the actor, each call with the key that it came
//! with. The specification is `specs/KelpieMigration.tla`.

use crate::ownership::{Myself, Own};

/// What the shell observed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// No turn of the actor runs, and its last commit is settled.
    TurnEnded,
    /// The record is the target's.
    Moved(Own),
    /// The record stays: the target is not active, or this node did not have the actor.
    Refused,
    /// It may have moved, or may yet.
    Unknown,
    /// Whoever asked for it does not want it any more.
    Cancelled,
}

/// What the shell has to do, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Begin no turn: calls wait.
    Hold,
    /// Make the target the owner, in one transaction. Asking again after an unknown outcome is
    /// what settles it: the second one finds the first, or stands in its way.
    Commit(Myself),
    /// Drop the activation and hand what waits to the new owner, with its keys.
    Forward(Own),
    /// Begin turns again.
    Resume,
}

/// The way of one actor to another node.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Migration {
    target: Myself,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum State {
    Waiting,
    Committing,
    Over,
}

impl Migration {
    /// Begins, while a turn may be under way.
    pub fn begin(target: Myself) -> (Self, Vec<Effect>) {
        (Self { target, state: State::Waiting }, vec![Effect::Hold])
    }

    /// Whether it has come to an end.
    pub fn is_over(&self) -> bool {
        self.state == State::Over
    }

    /// Takes in one observation.
    pub fn step(&mut self, input: Input) -> Vec<Effect> {
        match (self.state, input) {
            (State::Waiting, Input::TurnEnded) => {
                self.state = State::Committing;
                if crate::mutant!("migration_activates_before_commit") {
                    return vec![Effect::Resume, Effect::Commit(self.target.clone())];
                }
                vec![Effect::Commit(self.target.clone())]
            }
            (State::Waiting, Input::Cancelled) => self.over(Effect::Resume),
            (State::Committing, Input::Moved(own)) => self.over(Effect::Forward(own)),
            // What it was refused for has changed a row that an earlier try has read, so that one
            // can no longer land either.
            (State::Committing, Input::Refused) => self.over(Effect::Resume),
            (State::Committing, Input::Unknown) => vec![Effect::Commit(self.target.clone())],
            // Too late: only an answer ends it now.
            (State::Committing, Input::Cancelled) => vec![],
            (State::Waiting, Input::Moved(_) | Input::Refused | Input::Unknown)
            | (State::Committing, Input::TurnEnded)
            | (State::Over, _) => vec![],
        }
    }

    fn over(&mut self, last: Effect) -> Vec<Effect> {
        self.state = State::Over;
        vec![last]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{Boot, Epoch, Incarnation, NodeId};

    fn target() -> Myself {
        Myself { node: NodeId::new("b").unwrap(), incarnation: Incarnation(1), boot: Boot(3) }
    }

    fn moved() -> Input {
        let Myself { node, incarnation, boot } = target();
        Input::Moved(Own { node, incarnation, boot, epoch: Epoch(5) })
    }

    fn trace(script: &[Input]) -> String {
        let (mut migration, effects) = Migration::begin(target());
        let name =
            |effect: &Effect| format!("{effect:?}").split(['(', ' ']).next().unwrap_or_default().to_owned();
        let mut seen: Vec<String> = effects.iter().map(name).collect();
        for input in script {
            seen.extend(migration.step(input.clone()).iter().map(name));
        }
        format!("{} {}", seen.join(" "), if migration.is_over() { "over" } else { "under way" })
    }

    #[test]
    fn what_waits_is_forwarded_after_the_commit() {
        assert_eq!(trace(&[Input::TurnEnded, moved()]), "Hold Commit Forward over");
        assert_eq!(trace(&[Input::TurnEnded, Input::Refused]), "Hold Commit Resume over");
        assert_eq!(trace(&[]), "Hold under way", "a turn runs to its end");
    }

    #[test]
    fn an_unknown_outcome_is_asked_for_until_it_is_known() {
        let script = [Input::TurnEnded, Input::Unknown, Input::Cancelled, Input::Unknown, moved()];
        assert_eq!(trace(&script), "Hold Commit Commit Commit Forward over");
    }

    #[test]
    fn it_is_cancelled_before_its_commit_and_not_after() {
        assert_eq!(trace(&[Input::Cancelled, Input::TurnEnded]), "Hold Resume over");
        assert_eq!(trace(&[Input::TurnEnded, Input::Cancelled]), "Hold Commit under way");
    }

    /// All scripts of up to six inputs: turns begin again, or calls leave, at most once, and not
    /// while a commit is under way.
    #[test]
    fn nothing_runs_or_leaves_before_the_commit_is_known() {
        let inputs = [Input::TurnEnded, moved(), Input::Refused, Input::Unknown, Input::Cancelled];
        let mut scripts: Vec<Vec<Input>> = vec![vec![]];
        for _ in 0..6 {
            scripts = scripts
                .iter()
                .flat_map(|script| {
                    inputs.iter().map(|input| [&script[..], std::slice::from_ref(input)].concat())
                })
                .collect();
        }
        for script in scripts {
            let (mut migration, _) = Migration::begin(target());
            let (mut committing, mut ends) = (false, 0);
            for input in &script {
                let answer = matches!(input, Input::Moved(_) | Input::Refused);
                for effect in migration.step(input.clone()) {
                    match effect {
                        Effect::Commit(_) => committing = true,
                        Effect::Forward(_) => {
                            assert!(committing && matches!(input, Input::Moved(_)), "{script:?}");
                            ends += 1;
                        }
                        Effect::Resume => {
                            assert!(!committing || answer, "{script:?}");
                            ends += 1;
                        }
                        Effect::Hold => panic!("held again: {script:?}"),
                    }
                }
            }
            assert!(ends <= 1 && migration.is_over() == (ends == 1), "{script:?}");
        }
    }

    #[cfg(feature = "mutants")]
    #[test]
    fn activation_before_the_commit_is_caught() {
        let _armed = crate::mutant::arm("migration_activates_before_commit");
        std::panic::catch_unwind(nothing_runs_or_leaves_before_the_commit_is_known).unwrap_err();
    }
}
