//! What happens at each action. What cannot happen leaves the world as it was.

use std::collections::BTreeSet;
use std::time::Duration;

use kelpie_core::call::{CallKey, Fingerprint, Lane};
use kelpie_core::migration::{Effect as ToDo, Input as Observed, Migration};
use kelpie_core::ownership::{self, Migrate};
use kelpie_core::session::{Protocols, Session, SessionState};
use kelpie_core::turn::{Activation, CallNo, Effect, Input};

use super::{Action, Call, Held, Key, Moves, Moving, Node, SOURCE, TARGET, World, number, owned, process};

/// Nobody is ever too late here.
const NOW: Duration = Duration::ZERO;

impl World {
    /// Takes one action. Whether it could happen.
    pub(super) fn take(&mut self, bounds: &Moves, action: Action) -> bool {
        match action {
            Action::Called(node, key) => self.called(node, key),
            Action::AnswerLost(key) => self.answer_lost(bounds, key),
            Action::Redirected(node, key) => self.redirected(node, key),
            Action::Loaded(node) => self.loaded(node),
            Action::Known(node, key) => self.known(node, key),
            Action::TurnBegan(node, key) => self.turn_began(node, key),
            Action::Committed(node) => self.committed(node),
            Action::Conflicted(node) => self.conflicted(node),
            Action::Asked => self.asked(),
            Action::TurnEnded => self.turn_ended(),
            Action::Answered => self.answered(bounds),
            Action::Unknown => self.unknown(bounds),
            Action::LateLanded(place) => self.late_landed(bounds, place),
            Action::Cancelled => self.observe(&Observed::Cancelled),
            Action::Arrived(key) => self.arrived(key),
            Action::Crashed(node) => self.crashed(bounds, node),
        }
    }

    fn fault(&mut self, bounds: &Moves) -> bool {
        self.faults += 1;
        self.faults <= bounds.faults_max
    }

    fn holder(&self) -> Node {
        number(&self.own)
    }

    /// Whether the source's migration is under way.
    fn moves(&self) -> bool {
        self.moving.as_ref().is_some_and(|moving| !moving.machine.is_over())
    }

    // Calls

    fn called(&mut self, node: Node, key: Key) -> bool {
        self.boxes[node].insert(key);
        std::mem::replace(&mut self.calls[key], Call::Waiting) == Call::New
    }

    fn answer_lost(&mut self, bounds: &Moves, key: Key) -> bool {
        std::mem::replace(&mut self.calls[key], Call::New) == Call::Waiting && self.fault(bounds)
    }

    fn redirected(&mut self, node: Node, key: Key) -> bool {
        let (holder, holds_back) = (self.holder(), node == SOURCE && self.moves());
        if holder == node || self.activations[node].is_some() || holds_back {
            return false;
        }
        self.boxes[holder].insert(key);
        self.boxes[node].remove(&key)
    }

    // Turns

    fn loaded(&mut self, node: Node) -> bool {
        if self.activations[node].is_some() || self.boxes[node].is_empty() || self.holder() != node {
            return false;
        }
        let machine = Activation::resting(1);
        self.activations[node] = Some(Held { machine, own: self.own.clone(), seq: self.seq, runs: None });
        true
    }

    /// The fence: owner and sequence as they were when it was loaded.
    fn passes(&self, held: &Held) -> bool {
        held.own == self.own && held.seq == self.seq
    }

    fn idle(&self, node: Node, key: Key) -> Option<&Held> {
        let waits = self.boxes[node].contains(&key);
        self.activations[node].as_ref().filter(|held| waits && held.machine.is_idle())
    }

    /// The call's record is looked up, by its key.
    fn known(&mut self, node: Node, key: Key) -> bool {
        let Some(held) = self.idle(node, key) else { return false };
        if !self.passes(held) || !self.log.contains(&key) {
            return false;
        }
        self.boxes[node].remove(&key);
        self.calls[key] = Call::Acked;
        true
    }

    fn turn_began(&mut self, node: Node, key: Key) -> bool {
        let held_back = node == SOURCE && self.moving.as_ref().is_some_and(|moving| !moving.lets_begin);
        if self.idle(node, key).is_none() || self.log.contains(&key) || held_back {
            return false;
        }
        let input = Input::Called {
            call: CallNo(key as u64),
            key: CallKey([u8::try_from(key).expect("there are few keys"); 16]),
            lane: Lane(0),
            fingerprint: Fingerprint([0; 32]),
            deadline: NOW,
        };
        self.ran |= node == SOURCE && self.moves() || self.holder() != node;
        let held = self.activations[node].as_mut().expect("it is idle");
        let ran = held.machine.step(NOW, input);
        assert_eq!(ran, [Effect::Run(CallNo(key as u64))], "an idle activation runs what comes");
        held.runs = Some(key);
        true
    }

    fn committed(&mut self, node: Node) -> bool {
        let Some(held) = self.activations[node].clone() else { return false };
        let Some(key) = held.runs.filter(|_| self.passes(&held)) else { return false };
        self.seq += 1;
        self.log.push(key);
        let held = self.activations[node].as_mut().expect("it is there");
        held.machine.step(NOW, Input::HandlerFinished { commits: true });
        let effects = held.machine.step(NOW, Input::CommitSucceeded);
        assert!(effects.contains(&Effect::Answer(CallNo(key as u64))));
        (held.seq, held.runs) = (self.seq, None);
        self.boxes[node].remove(&key);
        self.calls[key] = Call::Acked;
        true
    }

    /// The activation goes, and its calls find the owner.
    fn conflicted(&mut self, node: Node) -> bool {
        if node == SOURCE && self.moves() {
            return false;
        }
        let Some(held) = self.activations[node].clone() else { return false };
        if self.passes(&held) {
            return false;
        }
        if held.runs.is_some() {
            let mut machine = held.machine;
            machine.step(NOW, Input::HandlerFinished { commits: true });
            let effects = machine.step(NOW, Input::CommitConflicted);
            assert_eq!(effects.last(), Some(&Effect::Drop));
        }
        self.activations[node] = None;
        true
    }

    // The migration

    fn asked(&mut self) -> bool {
        let Some(held) = self.activations[SOURCE].as_ref().filter(|held| self.passes(held)) else {
            return false;
        };
        if self.moving.is_some() {
            return false;
        }
        let held = held.own.clone();
        let (machine, effects) = Migration::begin(process(TARGET));
        self.moving = Some(Moving { machine, held, lets_begin: true, commits: false });
        self.carry_out(effects);
        true
    }

    fn turn_ended(&mut self) -> bool {
        let idle = self.activations[SOURCE].as_ref().is_some_and(|held| held.machine.is_idle());
        idle && self.observe(&Observed::TurnEnded)
    }

    /// Gives the machine an input. Whether that changed anything.
    fn observe(&mut self, input: &Observed) -> bool {
        let Some(moving) = &mut self.moving else { return false };
        let before = moving.clone();
        let effects = moving.machine.step(input.clone());
        let is_new = !effects.is_empty() || *moving != before;
        self.carry_out(effects);
        is_new
    }

    fn carry_out(&mut self, effects: Vec<ToDo>) {
        for effect in effects {
            let moving = self.moving.as_mut().expect("it has effects");
            match effect {
                ToDo::Hold => moving.lets_begin = false,
                ToDo::Commit(_) => moving.commits = true,
                ToDo::Forward(_) => {
                    self.sent.extend(std::mem::take(&mut self.boxes[SOURCE]));
                    self.activations[SOURCE] = None;
                    moving.commits = false;
                    moving.lets_begin = true;
                }
                ToDo::Resume => {
                    moving.lets_begin = true;
                    if moving.machine.is_over() {
                        self.moving = None;
                    }
                }
            }
        }
    }

    /// What the commit finds; it is one transaction.
    fn answered(&mut self, bounds: &Moves) -> bool {
        let Some(moving) = self.moving.as_ref().filter(|moving| moving.commits) else { return false };
        let found = ownership::migrate(Some(&self.own), &moving.held, Some(&active()), &process(TARGET));
        let input = match found {
            Migrate::Move(own) if own.epoch.0 <= bounds.epoch_max => {
                self.own = own.clone();
                Observed::Moved(own)
            }
            Migrate::Move(_) => return false,
            Migrate::Moved(own) => Observed::Moved(own),
            Migrate::NotMine(_) | Migrate::TargetNotActive => Observed::Refused,
        };
        self.observe(&input)
    }

    /// It has landed, will land, or never will; the source asks again.
    fn unknown(&mut self, bounds: &Moves) -> bool {
        let Some(moving) = self.moving.as_ref().filter(|moving| moving.commits) else { return false };
        if !self.late.contains(&moving.held) {
            self.late.push(moving.held.clone());
        }
        self.observe(&Observed::Unknown) && self.fault(bounds)
    }

    fn late_landed(&mut self, bounds: &Moves, place: usize) -> bool {
        let held = self.late.remove(place);
        let decided = ownership::migrate(Some(&self.own), &held, Some(&active()), &process(TARGET));
        match decided {
            Migrate::Move(own) if own.epoch.0 <= bounds.epoch_max => {
                self.own = own;
                true
            }
            Migrate::Move(_) | Migrate::Moved(_) | Migrate::NotMine(_) | Migrate::TargetNotActive => false,
        }
    }

    fn arrived(&mut self, key: Key) -> bool {
        self.boxes[TARGET].insert(key);
        self.sent.remove(&key)
    }

    /// Whoever waits there asks again, with the same key, and the other node claims the actor.
    fn crashed(&mut self, bounds: &Moves, node: Node) -> bool {
        let other = if node == SOURCE { TARGET } else { SOURCE };
        let mut gone = std::mem::take(&mut self.boxes[node]);
        if node == TARGET {
            gone.extend(std::mem::take(&mut self.sent));
        } else {
            self.moving = None;
        }
        self.activations[node] = None;
        for key in gone {
            if self.calls[key] == Call::Waiting {
                self.calls[key] = Call::New;
            }
        }
        if self.holder() == node {
            if self.own.epoch.0 >= bounds.epoch_max {
                return false;
            }
            self.own = owned(other, self.own.epoch.0 + 1);
        }
        self.fault(bounds)
    }

    // What must hold

    pub(super) fn one_node_runs_turns(&self) -> bool {
        let can_commit = self.activations.iter().flatten().filter(|held| self.passes(held)).count();
        can_commit <= 1 && !self.ran
    }

    /// A call that was taken and not answered is somewhere.
    pub(super) fn no_call_is_lost(&self) -> bool {
        let somewhere: BTreeSet<&Key> = self.boxes.iter().flatten().chain(&self.sent).collect();
        let calls = self.calls.iter().enumerate();
        calls.into_iter().all(|(key, call)| *call != Call::Waiting || somewhere.contains(&key))
    }
}

/// The target's session.
fn active() -> Session {
    let target = process(TARGET);
    Session {
        incarnation: target.incarnation,
        boot: target.boot,
        state: SessionState::Active,
        address: String::new(),
        version: String::new(),
        labels: BTreeSet::new(),
        capacity: None,
        protocols: Protocols::default(),
        lease_ms: 3_000,
    }
}
