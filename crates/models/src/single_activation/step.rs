//! What happens at each action. What cannot happen leaves the world as it was.

use std::time::Duration;

use kelpie_core::call::{CallKey, Fingerprint, Lane};
use kelpie_core::id::{Incarnation, NodeId};
use kelpie_core::mutant;
use kelpie_core::ownership::{self, Claim, Myself, Own};
use kelpie_core::session::{self, Beat, Declaration, Holder, Rejoin, SessionState};
use kelpie_core::turn::{Activation, CallNo, Effect, Input, Refusal};

use super::{
    Action, Call, Claiming, Commit, Held, Key, Node, Read, ReadPhase, Sent, SingleActivation, World, boot,
};

/// The store's generation: nobody restores a backup here.
const GENERATION: u128 = 7;
/// Nobody is ever too late here.
const NOW: Duration = Duration::ZERO;

impl World {
    /// Takes one action. Whether it could happen.
    pub(super) fn take(&mut self, bounds: &SingleActivation, action: Action) -> bool {
        match action {
            Action::Declared(node) => self.declared(bounds, node),
            Action::Rejoined(node) => self.rejoined(node),
            Action::Loaded(node) => self.loaded(node),
            Action::ClaimBegun(node) => self.claim_begun(bounds, node),
            Action::ClaimLanded(node) => self.claim_ended(node, true),
            Action::ClaimConflicted(node) => self.claim_ended(node, false),
            Action::Called(node, key) => self.called(node, key),
            Action::DedupHit(node, key) => self.dedup_hit(node, key),
            Action::TurnRan(node, key) => self.turn_ran(node, key),
            Action::Landed(commit) => self.landed(&commit),
            Action::Conflicted(commit) => self.conflicted(&commit),
            Action::Unknown(node) => self.unknown(bounds, node),
            Action::Settled(node) => self.settled(bounds, node),
            Action::Moved(node) => self.moved(node),
            Action::Dropped(node) => self.dropped(bounds, node),
            Action::ReadAsked(node) => self.read_asked(bounds, node),
            Action::ReadComputed => self.read_computed(),
            Action::ReadChecked => self.read_checked(),
        }
    }

    fn fault(&mut self, bounds: &SingleActivation) -> bool {
        self.faults += 1;
        self.faults <= bounds.faults_max
    }

    // Sessions

    fn declared(&mut self, bounds: &SingleActivation, node: Node) -> bool {
        let standing = &self.sessions[node];
        if standing.incarnation.0 >= bounds.incarnation_max {
            return false;
        }
        match session::declare_dead(Some(standing), None, &Beat::of(standing, None)) {
            Declaration::Write(session) => {
                self.sessions[node] = session;
                true
            }
            Declaration::Over | Declaration::Renewed => false,
        }
    }

    /// What is in the process's memory stays there.
    fn rejoined(&mut self, node: Node) -> bool {
        let holder = Holder { incarnation: self.my[node], boot: boot(node), generation: GENERATION };
        let standing = &self.sessions[node];
        match session::rejoin(Some(standing), Some(GENERATION), &holder, SessionState::Active) {
            Rejoin::Write(session) => {
                self.my[node] = session.incarnation;
                self.sessions[node] = session;
                true
            }
            Rejoin::Joined(_) | Rejoin::Over(_) => false,
        }
    }

    // Calls and claims

    fn called(&mut self, node: Node, key: Key) -> bool {
        self.calls[key] == Call::New && {
            self.calls[key] = Call::Waiting(node);
            true
        }
    }

    fn is_wanted(&self, node: Node) -> bool {
        self.calls.contains(&Call::Waiting(node))
            || self.read.phase == ReadPhase::Asked && self.read.at == Some(node)
    }

    fn myself(&self, node: Node) -> Myself {
        Myself { node: name(node), incarnation: self.my[node], boot: boot(node) }
    }

    /// What a claim finds that reads now; also over an owner that is live: it may be out of reach.
    fn claim(&self, node: Node) -> Claim {
        let own = self.store.own.as_ref();
        let holder = own.map(|own| &self.sessions[number(own)]);
        let (mine, me) = (Some(&self.sessions[node]), self.myself(node));
        match own {
            Some(over) => ownership::claim_over(own, holder, mine, &me, over),
            None => ownership::claim(None, None, mine, &me),
        }
    }

    fn loaded(&mut self, node: Node) -> bool {
        if self.activations[node].is_some() || self.claims[node].is_some() || !self.is_wanted(node) {
            return false;
        }
        let Claim::Mine(own) = self.claim(node) else { return false };
        self.activations[node] = Some(self.held(own));
        true
    }

    /// An activation that has just been loaded.
    fn held(&self, own: Own) -> Held {
        Held {
            machine: Activation::resting(1),
            own,
            seq: self.store.seq,
            state: self.store.log.clone(),
            sent: None,
            nth: 0,
        }
    }

    fn claim_begun(&mut self, bounds: &SingleActivation, node: Node) -> bool {
        let epoch = self.store.own.as_ref().map_or(0, |own| own.epoch.0);
        if self.activations[node].is_some()
            || self.claims[node].is_some()
            || !self.is_wanted(node)
            || epoch >= bounds.epoch_max
        {
            return false;
        }
        let Claim::Take(take) = self.claim(node) else { return false };
        self.claims[node] = Some(Claiming {
            own: self.store.own.clone(),
            mine: self.sessions[node].clone(),
            holder: self.store.own.as_ref().map(|own| self.sessions[number(own)].clone()),
            take,
        });
        true
    }

    /// The store lets it in if nothing of what it has read has changed.
    fn claim_ended(&mut self, node: Node, lands: bool) -> bool {
        let Some(claim) = self.claims[node].take() else { return false };
        let holder = claim.own.as_ref().map(|own| &self.sessions[number(own)]);
        let stands = claim.own == self.store.own
            && claim.mine == self.sessions[node]
            && claim.holder.as_ref() == holder
            || mutant!("TryClaimActor_Racy");
        if stands && lands {
            let (session, own) = (&self.sessions[node], claim.take);
            if !session.is_live() {
                self.wrong.insert("NoStillbornClaim");
            }
            if session.incarnation != own.incarnation {
                self.wrong.insert("PlacementConsistency");
            }
            self.store.own = Some(own.clone());
            self.activations[node] = Some(self.held(own));
        }
        stands == lands
    }

    // Turns

    /// Gives the activation an input, and its answers to the callers.
    fn step(&mut self, node: Node, input: Input, reply: Option<u64>) -> Vec<Effect> {
        let held = self.activations[node].as_mut().expect("an activation is there");
        let effects = held.machine.step(NOW, input);
        for effect in &effects {
            match effect {
                Effect::Answer(call) => {
                    self.calls[key_of(*call)] = Call::Acked(reply.expect("a turn leaves a reply"));
                }
                Effect::Refuse(call, Refusal::NotCommitted) => {
                    self.calls[key_of(*call)] = Call::Denied(node);
                }
                Effect::Drop => self.gone(node),
                Effect::Refuse(..)
                | Effect::Run(_)
                | Effect::Commit
                | Effect::Settle
                | Effect::Publish
                | Effect::Discard => {}
            }
        }
        effects
    }

    /// Whoever waits there asks again with the same key.
    fn gone(&mut self, node: Node) {
        self.activations[node] = None;
        for call in &mut self.calls {
            if *call == Call::Waiting(node) {
                *call = Call::New;
            }
        }
    }

    fn is_idle_for(&self, node: Node, key: Key) -> bool {
        self.activations[node].as_ref().is_some_and(|held| held.machine.is_idle())
            && self.calls[key] == Call::Waiting(node)
    }

    fn dedup_hit(&mut self, node: Node, key: Key) -> bool {
        let Some(reply) = self.store.replies[key].filter(|_| self.is_idle_for(node, key)) else {
            return false;
        };
        self.calls[key] = Call::Acked(reply);
        true
    }

    /// The key was looked up, the handler has run, and its commit is on its way.
    fn turn_ran(&mut self, node: Node, key: Key) -> bool {
        if !self.is_idle_for(node, key) || self.store.replies[key].is_some() {
            return false;
        }
        let input = Input::Called {
            call: CallNo(key as u64),
            key: CallKey([u8::try_from(key).expect("there are few keys"); 16]),
            lane: Lane(0),
            fingerprint: Fingerprint([0; 32]),
            deadline: NOW,
        };
        let ran = self.step(node, input, None);
        assert_eq!(ran, [Effect::Run(CallNo(key as u64))], "an idle activation runs what comes");
        let sent = self.step(node, Input::HandlerFinished { commits: true }, None);
        assert_eq!(sent, [Effect::Commit]);
        let nth = self.faults;
        let held = self.activations[node].as_mut().expect("it has just run");
        (held.sent, held.nth) = (Some(Sent { key, unknown: false }), nth);
        let (own, seq, mut state) = (held.own.clone(), held.seq, held.state.clone());
        state.push(key);
        let reply = state.len() as u64;
        let commit = Commit { node, own, seq, key, state, nth };
        if !self.wire.contains(&commit) {
            self.wire.push(commit);
            self.wire.sort_by_key(Commit::order);
        }
        if mutant!("reply_before_commit") {
            self.calls[key] = Call::Acked(reply);
        }
        true
    }

    /// The fence: owner and sequence as they were when it was loaded.
    pub(super) fn passes(&self, commit: &Commit) -> bool {
        (self.store.own.as_ref() == Some(&commit.own) || mutant!("LeaseExpires_Racy"))
            && (self.store.seq == commit.seq || mutant!("drop_in_flight_without_seq_check"))
    }

    /// Whether its activation waits for this very commit.
    pub(super) fn is_awaited(&self, commit: &Commit) -> bool {
        let Some(held) = &self.activations[commit.node] else { return false };
        held.sent == Some(Sent { key: commit.key, unknown: false })
            && held.own.epoch == commit.own.epoch
            && held.seq == commit.seq
            && held.nth == commit.nth
            && held.state[..] == commit.state[..commit.state.len() - 1]
    }

    fn off_the_wire(&mut self, commit: &Commit) {
        self.wire.retain(|other| other != commit);
    }

    fn landed(&mut self, commit: &Commit) -> bool {
        if !self.passes(commit) {
            return false;
        }
        let awaited = self.is_awaited(commit);
        self.off_the_wire(commit);
        let key = commit.key;
        if self.store.log[..] != commit.state[..commit.state.len() - 1] {
            self.wrong.insert("Chain");
        }
        if self.store.own.as_ref() != Some(&commit.own) {
            self.wrong.insert("LeaseValidityIfActive");
        }
        let reply = commit.state.len() as u64;
        self.store.seq = commit.seq + 1;
        self.store.log.clone_from(&commit.state);
        self.store.replies[key] = Some(reply);
        self.store.done[key] += 1;
        if awaited {
            self.step(commit.node, Input::CommitSucceeded, Some(reply));
            let held = self.activations[commit.node].as_mut().expect("it goes on");
            held.sent = None;
            held.seq = commit.seq + 1;
            held.state.clone_from(&commit.state);
        }
        true
    }

    /// It was refused, and can never land.
    fn conflicted(&mut self, commit: &Commit) -> bool {
        if self.passes(commit) || !self.is_awaited(commit) {
            return false;
        }
        self.off_the_wire(commit);
        self.step(commit.node, Input::CommitConflicted, None);
        true
    }

    fn unknown(&mut self, bounds: &SingleActivation, node: Node) -> bool {
        let sent = self.activations[node].as_mut().and_then(|held| held.sent.as_mut());
        let Some(sent) = sent.filter(|sent| !sent.unknown) else { return false };
        sent.unknown = true;
        let settles = self.step(node, Input::CommitUnknown, None);
        assert_eq!(settles, [Effect::Settle]);
        self.fault(bounds)
    }

    /// What a node settles, and whether it still has the actor.
    fn settles(&self, node: Node) -> Option<(&Held, Sent, bool)> {
        let held = self.activations[node].as_ref()?;
        let sent = held.sent.filter(|sent| sent.unknown)?;
        let ours = self.store.own.as_ref().is_some_and(|own| {
            (&own.node, own.incarnation, own.boot) == (&held.own.node, held.own.incarnation, held.own.boot)
        });
        Some((held, sent, ours))
    }

    /// The owner claims from itself; what it then finds is final.
    fn settled(&mut self, bounds: &SingleActivation, node: Node) -> bool {
        let Some((held, sent, true)) = self.settles(node) else { return false };
        let standing = self.store.own.clone().expect("it is ours");
        if standing.epoch.0 >= bounds.epoch_max {
            return false;
        }
        let (before, landed) = (held.seq, self.store.seq == held.seq + 1);
        let own = if mutant!("settle_by_look") { standing } else { ownership::settle(&standing) };
        self.store.own = Some(own.clone());
        if !landed && self.store.seq != before {
            self.step(node, Input::CommitConflicted, None);
            return true;
        }
        let reply = self.store.replies[sent.key];
        self.step(node, Input::Settled { landed }, reply);
        let loaded = self.held(own);
        let held = self.activations[node].as_mut().expect("it goes on");
        *held = Held { machine: held.machine.clone(), ..loaded };
        true
    }

    /// Another owner's record settles it as well; that one can tell.
    fn moved(&mut self, node: Node) -> bool {
        let Some((_, _, false)) = self.settles(node) else { return false };
        self.step(node, Input::CommitConflicted, None);
        true
    }

    /// The activation ends in the middle, and its commit goes on.
    fn dropped(&mut self, bounds: &SingleActivation, node: Node) -> bool {
        if self.activations[node].is_none() {
            return false;
        }
        self.gone(node);
        self.fault(bounds)
    }

    // The read

    fn read_asked(&mut self, bounds: &SingleActivation, node: Node) -> bool {
        if !bounds.reading || self.read.phase != ReadPhase::None {
            return false;
        }
        let acked = self.calls.iter().filter_map(|call| match call {
            Call::Acked(reply) => Some(*reply),
            Call::New | Call::Waiting(_) | Call::Denied(_) => None,
        });
        let floor = acked.max().unwrap_or(0);
        self.read = Read { phase: ReadPhase::Asked, at: Some(node), floor, computed: None };
        true
    }

    fn read_computed(&mut self) -> bool {
        let (ReadPhase::Asked, Some(node)) = (self.read.phase, self.read.at) else { return false };
        let Some(held) = &self.activations[node] else { return false };
        self.read.computed = Some((held.own.clone(), held.seq, held.state.clone()));
        self.read.phase = ReadPhase::Computed;
        true
    }

    /// It leaves if owner and sequence stand as they were when it was computed.
    fn read_checked(&mut self) -> bool {
        let (ReadPhase::Computed, Some(node)) = (self.read.phase, self.read.at) else { return false };
        let (own, seq, state) = self.read.computed.clone().expect("it was computed");
        let same_seq = self.store.seq == seq || mutant!("read_checks_epoch_only");
        if self.store.own.as_ref() == Some(&own) && same_seq {
            if (state.len() as u64) < self.read.floor || !self.store.log.starts_with(&state) {
                self.wrong.insert("ReadsOk");
            }
            self.read.phase = ReadPhase::Answered;
        } else {
            self.read.phase = ReadPhase::Asked;
            // It is computed anew from what is loaded anew.
            if self.activations[node].as_ref().is_some_and(|held| held.machine.is_idle()) {
                self.activations[node] = None;
            }
        }
        true
    }

    // What must hold

    pub(super) fn activations_that_can_commit(&self) -> usize {
        let epoch = self.store.own.as_ref().map(|own| own.epoch);
        self.activations.iter().flatten().filter(|held| Some(held.own.epoch) == epoch).count()
    }

    pub(super) fn denials_hold(&self) -> bool {
        let told = self.calls.iter().zip(&self.store.done);
        told.into_iter().all(|(call, done)| !matches!(call, Call::Denied(_)) || *done == 0)
    }

    pub(super) fn acked_is_kept(&self) -> bool {
        self.calls.iter().enumerate().all(|(key, call)| match call {
            Call::Acked(reply) => {
                let place = usize::try_from(*reply).ok().and_then(|reply| reply.checked_sub(1));
                place.and_then(|place| self.store.log.get(place)) == Some(&key)
            }
            Call::New | Call::Waiting(_) | Call::Denied(_) => true,
        })
    }
}

impl Commit {
    fn order(&self) -> (Node, u64, Incarnation, u64, Key, Vec<Key>, u32) {
        let (own, state) = (&self.own, self.state.clone());
        (self.node, own.epoch.0, own.incarnation, self.seq, self.key, state, self.nth)
    }
}

fn name(node: Node) -> NodeId {
    NodeId::new(&format!("n{node}")).expect("a short name")
}

fn key_of(call: CallNo) -> Key {
    usize::try_from(call.0).expect("a call's number is its key")
}

/// The node that a record names.
pub(super) fn number(own: &Own) -> Node {
    usize::try_from(own.boot.0 - 1).expect("a boot is a node's number and one")
}
