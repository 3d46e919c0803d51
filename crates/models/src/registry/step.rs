//! How a process begins a transaction. What cannot begin leaves the world as it was.

use std::collections::BTreeSet;

use kelpie_core::id::NodeId;
use kelpie_core::mutant;
use kelpie_core::ownership::{self, Claim, Migrate, Own};
use kelpie_core::session::{
    self, Beat, Declaration, Holder, Join, Joiner, Lease, Protocols, Rejoin, Renewal, Session, SessionState,
};

use super::{Action, Kind, Name, Phase, Process, Registry, Row, Tx, Value, World, boot, name_of, node};

/// The store's generation: nobody restores a backup here.
const GENERATION: u128 = 7;

impl World {
    /// Takes one action. Whether it could happen.
    pub(super) fn take(&mut self, bounds: &Registry, action: Action) -> bool {
        match action {
            Action::Committed(process) => return self.committed(bounds, process),
            Action::AnswerLost(process) => return self.answer_lost(bounds, process),
            Action::Conflicted(process) => return self.conflicted(process),
            Action::Crashed(process) => return self.crashed(bounds, process),
            Action::Join(process)
            | Action::Renew(process)
            | Action::Drain(process)
            | Action::Leave(process)
            | Action::Watch(process, _)
            | Action::Declare(process)
            | Action::Claim(process)
            | Action::Migrate(process, _)
            | Action::Settle(process) => {
                if self.processes[process].tx.is_some() {
                    return false;
                }
            }
        }
        match action {
            Action::Join(process) => self.join(bounds, process),
            Action::Renew(process) => self.renew(bounds, process),
            Action::Drain(process) => self.write_state(bounds, process, SessionState::Draining),
            Action::Leave(process) => self.write_state(bounds, process, SessionState::Left),
            Action::Watch(process, name) => self.watch(bounds, process, name),
            Action::Declare(process) => self.declare(process),
            Action::Claim(process) => self.claim(bounds, process),
            Action::Migrate(process, to) => self.migrate(bounds, process, to),
            Action::Settle(process) => self.settle(bounds, process),
            Action::Committed(_) | Action::AnswerLost(_) | Action::Conflicted(_) | Action::Crashed(_) => {
                unreachable!("taken above")
            }
        }
    }

    fn serves(&self, process: Process) -> bool {
        matches!(self.processes[process].phase, Phase::Active | Phase::Draining)
    }

    pub(super) fn holder(&self, process: Process) -> Holder {
        self.processes[process].holder.expect("who serves has joined")
    }

    fn session(&self, name: Name) -> Option<&Session> {
        self.rows.sessions[name].as_ref()
    }

    fn begin(&mut self, process: Process, kind: Kind, reads: &[Row], writes: Vec<(Row, Value)>) -> bool {
        let reads = reads.iter().map(|row| (*row, self.rows.get(*row))).collect();
        let standing = &mut self.processes[process];
        standing.watched = None;
        standing.tx = Some(Tx { kind, reads, writes });
        true
    }

    fn join(&mut self, bounds: &Registry, process: Process) -> bool {
        if self.processes[process].phase != Phase::Joining {
            return false;
        }
        let name = bounds.names[process];
        let silent = self.processes[process].watched.map(|(_, beat)| beat);
        let joiner = joiner(node(name), process, silent);
        let holder = |session: &Session| Holder {
            incarnation: session.incarnation,
            boot: boot(process),
            generation: GENERATION,
        };
        match session::join(self.session(name), self.rows.leases[name].as_ref(), &joiner) {
            Join::Write(session) => {
                let kind = Kind::Join(holder(&session));
                self.begin(process, kind, &[Row::Session(name), Row::Lease(name)], life(name, session))
            }
            Join::Joined(session) => {
                self.joined(process, holder(&session), Phase::Active);
                true
            }
            Join::Refused(_, beat) => {
                // It may be taken for standing still from now on, rightly or not.
                self.processes[process].watched.replace((name, beat)) != Some((name, beat))
            }
        }
    }

    pub(super) fn joined(&mut self, process: Process, holder: Holder, phase: Phase) {
        let standing = &mut self.processes[process];
        (standing.phase, standing.holder, standing.beat) = (phase, Some(holder), 0);
    }

    fn renew(&mut self, bounds: &Registry, process: Process) -> bool {
        if !self.serves(process) {
            return false;
        }
        let (name, holder) = (bounds.names[process], self.holder(process));
        let standing = self.session(name).cloned();
        match session::renew(standing.as_ref(), Some(GENERATION), &holder) {
            Renewal::Renew => self.write_lease(bounds, process, standing, &holder),
            // It went by itself, and knows that.
            Renewal::Rejoin if standing.as_ref().is_some_and(|s| s.state == SessionState::Left) => {
                self.processes[process].phase = Phase::Gone;
                true
            }
            Renewal::Rejoin => self.rejoin(process, name, standing.as_ref(), &holder),
            Renewal::Superseded if mutant!("renewal_overwrites_a_new_owner") => {
                self.write_lease(bounds, process, standing, &holder)
            }
            Renewal::Evicted | Renewal::Superseded | Renewal::Restored => {
                let is_new = self.processes[process].phase != Phase::Gone;
                self.processes[process].phase = Phase::Gone;
                is_new
            }
        }
    }

    fn write_lease(
        &mut self,
        bounds: &Registry,
        process: Process,
        standing: Option<Session>,
        holder: &Holder,
    ) -> bool {
        let name = bounds.names[process];
        if self.processes[process].beat >= bounds.beats_max {
            return false;
        }
        self.processes[process].beat += 1;
        let lease = Lease { incarnation: holder.incarnation, beat: self.processes[process].beat, load: 0 };
        let mut writes = vec![(Row::Lease(name), Value::Lease(Some(lease)))];
        if mutant!("late_beat_revives")
            && let Some(dead) = standing.filter(|session| !session.is_live())
        {
            let revived = Session { state: SessionState::Active, ..dead };
            writes.push((Row::Session(name), Value::Session(Some(revived))));
        }
        self.begin(process, Kind::Renew, &[Row::Session(name)], writes)
    }

    fn rejoin(&mut self, process: Process, name: Name, standing: Option<&Session>, holder: &Holder) -> bool {
        let phase = self.processes[process].phase;
        let state = if phase == Phase::Draining { SessionState::Draining } else { SessionState::Active };
        match session::rejoin(standing, Some(GENERATION), holder, state) {
            // How often is a bound of the exploration: once for each process.
            Rejoin::Write(session) if session.incarnation.0 > self.processes.len() as u64 => false,
            Rejoin::Write(session) => {
                let next = Holder { incarnation: session.incarnation, ..*holder };
                self.begin(process, Kind::Rejoin(next), &[Row::Session(name)], life(name, session))
            }
            Rejoin::Joined(incarnation) => {
                self.joined(process, Holder { incarnation, ..*holder }, phase);
                true
            }
            Rejoin::Over(_) => {
                self.processes[process].phase = Phase::Gone;
                true
            }
        }
    }

    fn write_state(&mut self, bounds: &Registry, process: Process, state: SessionState) -> bool {
        let (from, kind) = match state {
            SessionState::Draining => (Phase::Active, Kind::Drain),
            SessionState::Left => (Phase::Draining, Kind::Leave),
            SessionState::Active | SessionState::Dead | SessionState::Evicted => return false,
        };
        if self.processes[process].phase != from {
            return false;
        }
        let (name, holder) = (bounds.names[process], self.holder(process));
        let Some(session) = self.session(name).cloned() else { return false };
        let mine = session::renew(Some(&session), Some(GENERATION), &holder) == Renewal::Renew;
        if !mine && !mutant!("release_without_owner_check") {
            return false;
        }
        let written = Value::Session(Some(Session { state, ..session }));
        self.begin(process, kind, &[Row::Session(name)], vec![(Row::Session(name), written)])
    }

    fn watch(&mut self, bounds: &Registry, process: Process, name: Name) -> bool {
        if !self.serves(process) || bounds.names[process] == name {
            return false;
        }
        let Some(session) = self.session(name).filter(|session| session.is_live()) else { return false };
        let watched = Some((name, Beat::of(session, self.rows.leases[name].as_ref())));
        std::mem::replace(&mut self.processes[process].watched, watched) != watched
    }

    fn declare(&mut self, process: Process) -> bool {
        let Some((name, watched)) = self.processes[process].watched else { return false };
        if !self.serves(process) {
            return false;
        }
        match session::declare_dead(self.session(name), self.rows.leases[name].as_ref(), &watched) {
            Declaration::Write(session) => {
                let reads = [Row::Session(name), Row::Lease(name)];
                let writes = vec![(Row::Session(name), Value::Session(Some(session)))];
                self.begin(process, Kind::Declare(name, watched), &reads, writes)
            }
            Declaration::Over | Declaration::Renewed => false,
        }
    }

    fn epoch(&self) -> u64 {
        self.rows.own.as_ref().map_or(0, |own| own.epoch.0)
    }

    fn own(own: Own) -> Vec<(Row, Value)> {
        vec![(Row::Own, Value::Own(Some(own)))]
    }

    /// Whether its holder lives or not: one that lives may be out of reach.
    fn claim(&mut self, bounds: &Registry, process: Process) -> bool {
        if self.processes[process].phase != Phase::Active || self.epoch() >= bounds.epoch_max {
            return false;
        }
        let (name, own) = (bounds.names[process], self.rows.own.as_ref());
        let me = bounds.myself(process, &self.holder(process));
        let holder = own.and_then(|own| self.session(name_of(own)));
        let mine = self.session(name);
        let decided = match own {
            Some(over) => ownership::claim_over(own, holder, mine, &me, over),
            None => ownership::claim(None, None, mine, &me),
        };
        let Claim::Take(taken) = decided else { return false };
        let mut reads = vec![Row::Own, Row::Session(name)];
        reads.extend(own.map(|own| Row::Session(name_of(own))));
        self.begin(process, Kind::Claim, &reads, Self::own(taken))
    }

    /// What it holds, if it holds the actor.
    fn held(&self, bounds: &Registry, process: Process) -> Option<Own> {
        let serves = self.serves(process) && self.epoch() < bounds.epoch_max;
        let own = self.rows.own.clone().filter(|_| serves)?;
        bounds.myself(process, &self.holder(process)).owns(&own).then_some(own)
    }

    fn migrate(&mut self, bounds: &Registry, process: Process, to: Process) -> bool {
        let Some(held) = self.held(bounds, process).filter(|_| process != to) else { return false };
        let name = bounds.names[to];
        // The giver knows the target from its list of members.
        let Some(session) = self.session(name).filter(|session| session.boot == boot(to)) else {
            return false;
        };
        let holder = Holder { incarnation: session.incarnation, boot: session.boot, generation: GENERATION };
        let target = bounds.myself(to, &holder);
        match ownership::migrate(self.rows.own.as_ref(), &held, Some(session), &target) {
            Migrate::Move(own) => {
                self.begin(process, Kind::Migrate, &[Row::Own, Row::Session(name)], Self::own(own))
            }
            Migrate::Moved(_) | Migrate::NotMine(_) | Migrate::TargetNotActive => false,
        }
    }

    fn settle(&mut self, bounds: &Registry, process: Process) -> bool {
        let Some(held) = self.held(bounds, process) else { return false };
        self.begin(process, Kind::Settle, &[Row::Own], Self::own(ownership::settle(&held)))
    }
}

fn joiner(node: NodeId, process: Process, silent: Option<Beat>) -> Joiner {
    Joiner {
        node,
        boot: boot(process),
        address: String::new(),
        version: String::new(),
        labels: BTreeSet::new(),
        capacity: None,
        protocols: Protocols::default(),
        lease_ms: 3_000,
        holds_directory: false,
        silent,
    }
}

/// A life that begins, with a lease of its own.
fn life(name: Name, session: Session) -> Vec<(Row, Value)> {
    let lease = Lease { incarnation: session.incarnation, beat: 0, load: 0 };
    vec![(Row::Session(name), Value::Session(Some(session))), (Row::Lease(name), Value::Lease(Some(lease)))]
}
