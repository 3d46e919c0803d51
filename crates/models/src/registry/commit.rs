//! How a transaction ends, and what must hold of what it writes.

use kelpie_core::ownership::Own;
use kelpie_core::session::{Beat, Session, SessionState};

use super::{Kind, Phase, Process, Registry, Row, Rows, Tx, Value, World, boot, name_of};

impl Rows {
    pub(super) fn get(&self, row: Row) -> Value {
        match row {
            Row::Session(name) => Value::Session(self.sessions[name].clone()),
            Row::Lease(name) => Value::Lease(self.leases[name]),
            Row::Own => Value::Own(self.own.clone()),
        }
    }

    fn set(&mut self, row: Row, value: Value) {
        match (row, value) {
            (Row::Session(name), Value::Session(session)) => self.sessions[name] = session,
            (Row::Lease(name), Value::Lease(lease)) => self.leases[name] = lease,
            (Row::Own, Value::Own(own)) => self.own = own,
            (row, value) => unreachable!("{value:?} is not a value of {row:?}"),
        }
    }

    fn stand(&self, tx: &Tx) -> bool {
        tx.reads.iter().all(|(row, value)| self.get(*row) == *value)
    }
}

impl World {
    /// Also of a process that has died: its commit was on its way.
    pub(super) fn committed(&mut self, bounds: &Registry, process: Process) -> bool {
        let Some(tx) = self.lands(bounds, process) else { return false };
        if self.processes[process].phase != Phase::Gone {
            self.after(process, &tx.kind);
        }
        true
    }

    /// It lands, and its process does not hear of it: it will begin again.
    pub(super) fn answer_lost(&mut self, bounds: &Registry, process: Process) -> bool {
        self.faults += 1;
        self.faults <= bounds.faults_max
            && self.processes[process].phase != Phase::Gone
            && self.lands(bounds, process).is_some()
    }

    pub(super) fn conflicted(&mut self, process: Process) -> bool {
        self.processes[process].tx.take().is_some_and(|tx| !self.rows.stand(&tx))
    }

    pub(super) fn crashed(&mut self, bounds: &Registry, process: Process) -> bool {
        self.faults += 1;
        let before = std::mem::replace(&mut self.processes[process].phase, Phase::Gone);
        self.faults <= bounds.faults_max && before != Phase::Gone
    }

    fn lands(&mut self, bounds: &Registry, process: Process) -> Option<Tx> {
        let tx = self.processes[process].tx.take()?;
        if !self.rows.stand(&tx) {
            return None;
        }
        self.judge(bounds, process, &tx);
        for (row, value) in tx.writes.clone() {
            self.rows.set(row, value);
        }
        Some(tx)
    }

    /// What a process knows after its commit.
    fn after(&mut self, process: Process, kind: &Kind) {
        match kind {
            Kind::Join(holder) => self.joined(process, *holder, Phase::Active),
            Kind::Rejoin(holder) => self.joined(process, *holder, self.processes[process].phase),
            Kind::Drain => self.processes[process].phase = Phase::Draining,
            Kind::Leave => self.processes[process].phase = Phase::Gone,
            Kind::Renew | Kind::Declare(..) | Kind::Claim | Kind::Migrate | Kind::Settle => {}
        }
    }

    /// Looks at what a commit writes beside what stands.
    fn judge(&mut self, bounds: &Registry, process: Process, tx: &Tx) {
        for (row, value) in &tx.writes {
            match (row, value) {
                (Row::Session(name), Value::Session(Some(session))) => {
                    let standing = self.rows.sessions[*name].clone();
                    self.judge_session(bounds, (process, &tx.kind), standing.as_ref(), session);
                }
                (Row::Lease(name), Value::Lease(Some(lease))) if tx.kind == Kind::Renew => {
                    let standing = self.rows.sessions[*name].as_ref();
                    let is_own = standing.is_some_and(|s| s.is_live() && s.incarnation == lease.incarnation);
                    self.wrong_unless(is_own, "HeartbeatStatusSync");
                }
                (Row::Own, Value::Own(Some(own))) => self.judge_own(&tx.kind, own),
                _ => {}
            }
        }
        if let Kind::Declare(name, watched) = &tx.kind {
            let standing = self.rows.sessions[*name].as_ref().expect("it is watched");
            let beat = Beat::of(standing, self.rows.leases[*name].as_ref());
            self.wrong_unless(beat == *watched, "OneWins");
        }
    }

    fn judge_session(
        &mut self,
        bounds: &Registry,
        (process, kind): (Process, &Kind),
        standing: Option<&Session>,
        written: &Session,
    ) {
        let Some(standing) = standing else { return };
        let goes_on = written.incarnation == standing.incarnation && standing.is_live();
        let is_next = written.incarnation == standing.incarnation.next();
        self.wrong_unless(goes_on || is_next || !written.is_live(), "DeadIsFinal");
        match kind {
            Kind::Join(_) | Kind::Rejoin(_) => {
                self.wrong_unless(is_next, "DeadIsFinal");
                self.wrong_unless(!self.ended.contains(&process), "NoDuel");
                // One whose answer was lost does not know that it had joined: it has served nobody.
                let taken = (0..bounds.names.len()).filter(|other| {
                    *other != process
                        && boot(*other) == standing.boot
                        && self.processes[*other].phase != Phase::Joining
                });
                let taken: Vec<Process> = taken.collect();
                self.ended.extend(taken);
            }
            Kind::Drain | Kind::Leave => {
                let is_own = self.processes[process].holder.is_some_and(|holder| {
                    (holder.boot, holder.incarnation) == (standing.boot, standing.incarnation)
                });
                self.wrong_unless(is_own, "OwnSessionOnly");
                self.wrong_unless(standing.is_live() || !is_own, "DeadIsFinal");
            }
            Kind::Renew | Kind::Declare(..) | Kind::Claim | Kind::Migrate | Kind::Settle => {}
        }
    }

    fn judge_own(&mut self, kind: &Kind, own: &Own) {
        let epoch = self.rows.own.as_ref().map_or(0, |own| own.epoch.0);
        self.wrong_unless(own.epoch.0 == epoch + 1, "LeaseExclusivity");
        let session = self.rows.sessions[name_of(own)].as_ref();
        let is_active =
            session.is_some_and(|session| own.names(session) && session.state == SessionState::Active);
        match kind {
            Kind::Claim => self.wrong_unless(is_active, "PlacementConsistency"),
            Kind::Migrate => self.wrong_unless(is_active, "NoStillbornClaim"),
            Kind::Settle => {
                let same = self.rows.own.as_ref().is_some_and(|before| before.boot == own.boot);
                self.wrong_unless(same, "LeaseExclusivity");
            }
            Kind::Join(_) | Kind::Rejoin(_) | Kind::Renew | Kind::Drain | Kind::Leave | Kind::Declare(..) => {
            }
        }
    }

    fn wrong_unless(&mut self, holds: bool, name: &'static str) {
        if !holds {
            self.wrong.insert(name);
        }
    }

    // What must hold at all times

    pub(super) fn incarnations_are_unique(&self, bounds: &Registry) -> bool {
        let held = |process: Process| {
            let holder = self.processes[process].holder?;
            Some((bounds.names[process], holder.incarnation))
        };
        let held: Vec<_> = (0..self.processes.len()).filter_map(held).collect();
        held.iter().enumerate().all(|(place, life)| !held[..place].contains(life))
    }

    pub(super) fn leases_are_of_their_sessions(&self) -> bool {
        self.rows.sessions.iter().zip(&self.rows.leases).all(|(session, lease)| {
            let live = session.as_ref().filter(|session| session.is_live());
            live.is_none_or(|session| lease.is_some_and(|lease| lease.incarnation == session.incarnation))
        })
    }
}
