//! Watches a store and the processes over it.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use kelpie_env::sim::Node;
use kelpie_runtime::Health;
use kelpie_storage::{Backend, CommitError, CommitRequest, Committed, OpenError, Stats, Version};
use parking_lot::Mutex;

use super::ledger::{Entry, Ledger};
use super::{ALL, Answer, Check, Commit, Held, Invariant, Look, Memory, Reach, Rows, Standing};
use crate::cluster::Process;
use crate::judge::Violation;
use crate::marks::Marks;
use crate::service::Observer;

/// Holds what happens against all invariants.
#[derive(Default)]
pub(crate) struct Invariants {
    state: Mutex<State>,
}

/// Where processes run.
struct Machine {
    node: Node,
    /// The name under which they join.
    name: String,
}

#[derive(Default)]
struct State {
    /// The store keeps a log, whose state is watched as well.
    logs: bool,
    ledger: Ledger,
    acknowledged: Option<Version>,
    seen: Reach,
    operations: u64,
    machines: Vec<Machine>,
    /// Renewals that the store was handed and has not answered, by the number of their commit: of
    /// which process, and when they reached it by the clock of that.
    renewing: BTreeMap<u64, (String, Duration)>,
    /// When the last one that was carried out, or may have been, had reached it.
    renewed: BTreeMap<String, Duration>,
    /// What each process has in memory, by the name of its simulated node.
    held: BTreeMap<String, Vec<Held>>,
    /// A digest of that, so that only what has changed is looked at.
    digests: BTreeMap<String, u64>,
    marks: Marks,
    violations: Vec<Violation>,
    /// Names of invariants that were violated: each is told once.
    told: BTreeSet<&'static str>,
}

impl Invariants {
    /// `logs` says that the store keeps a log.
    pub(crate) fn new(logs: bool) -> Self {
        Self { state: Mutex::new(State { logs, ..State::default() }) }
    }

    /// Says under which name processes on a simulated node join.
    pub(crate) fn know(&self, node: &Node, name: &str) {
        let machine = Machine { node: node.clone(), name: name.to_owned() };
        self.state.lock().machines.push(machine);
    }

    /// What was violated so far, each invariant once.
    pub(crate) fn violations(&self) -> Vec<Violation> {
        self.state.lock().violations.clone()
    }

    /// What the rows were seen to say, and how often.
    pub(crate) fn marks(&self) -> BTreeMap<&'static str, u64> {
        self.state.lock().marks.counted()
    }

    /// A task of the store's node has had its turn, after which its disk has carried out so many
    /// operations: without one nothing has become visible.
    pub(crate) fn store_turned(&self, backend: &dyn Backend, operations: u64) {
        let mut state = self.state.lock();
        if state.logs && std::mem::replace(&mut state.operations, operations) != operations {
            state.look_at(&backend.stats());
        }
    }

    /// A task of a machine has had its turn; without a process nothing is in its memory.
    pub(crate) fn turned(&self, node: &str, process: Option<&dyn Process>) {
        let mut state = self.state.lock();
        let Some(process) = process else {
            state.held.remove(node);
            state.digests.remove(node);
            return;
        };
        if process.health() == Health::Ready {
            state.stands(node);
        }
        let mut hasher = DefaultHasher::new();
        process.loaded(&mut |actor, own, seq| (actor.encoded(), own.epoch.0, seq.0).hash(&mut hasher));
        let digest = hasher.finish();
        if state.digests.insert(node.to_owned(), digest) != Some(digest) {
            let mut held = Vec::new();
            process.loaded(&mut |actor, own, seq| {
                held.push(Held { actor: actor.clone(), own: own.clone(), seq });
            });
            state.look_at_memory(node, held);
        }
    }

    /// A process has ended.
    pub(crate) fn gone(&self, node: &str) {
        self.turned(node, None);
        self.state.lock().renewed.remove(node);
    }

    /// An answer leaves a machine that has to be recorded under `row`.
    pub(crate) fn answers(&self, machine: &str, row: &Bytes) {
        let mut state = self.state.lock();
        let State { ledger, .. } = &*state;
        let answer = Answer { row, ledger };
        let found = failed(|check| match check {
            Check::Answer(check) => check(&answer),
            Check::Commit(_) | Check::Store(_) | Check::Memory(_) | Check::Standing(_) => Ok(()),
        });
        state.tell(found, &format!("an answer of {machine}"));
    }
}

/// What does not hold.
fn failed(check: impl Fn(&Check) -> Result<(), String>) -> Vec<(&'static str, String)> {
    let failed = |invariant: &Invariant| Some((invariant.name, check(&invariant.check).err()?));
    ALL.iter().filter_map(failed).collect()
}

impl State {
    fn tell(&mut self, found: Vec<(&'static str, String)>, of: &str) {
        for (name, what) in found {
            if self.told.insert(name) {
                self.violations.push(Violation::new(name, format!("{of}: {what}")));
            }
        }
    }

    fn at(&self, ip: IpAddr) -> Option<&Machine> {
        self.machines.iter().find(|machine| machine.node.ip() == ip)
    }

    /// A process on this simulated node admits calls.
    fn stands(&mut self, node: &str) {
        let Some(machine) = self.machines.iter().find(|machine| machine.node.name() == node) else { return };
        let now = machine.node.now();
        let standing = Standing { machine: node, now, renewed_at: self.renewed.get(node).copied() };
        let found = failed(|check| match check {
            Check::Standing(check) => check(&standing),
            Check::Commit(_) | Check::Store(_) | Check::Memory(_) | Check::Answer(_) => Ok(()),
        });
        self.tell(found, "a lease");
    }

    fn renewed_by(&mut self, (node, at): (String, Duration)) {
        let renewed = self.renewed.entry(node).or_default();
        *renewed = at.max(*renewed);
    }

    /// Notes a commit that renews the lease of a process, as it reaches the store.
    fn renews(&mut self, number: u64, client: IpAddr, request: &CommitRequest) {
        let renews = |key: &Bytes| key.starts_with(b"node/") && key.ends_with(b"\0lease");
        if !request.writes.iter().any(|(key, _)| renews(key)) {
            return;
        }
        let Some(Machine { node, .. }) = self.at(client) else { return };
        let renewing = (node.name().to_owned(), node.now());
        self.renewing.insert(number, renewing);
    }

    /// Holds a commit against the invariants, and enters it.
    fn enter(&mut self, entry: &Entry, version: Version) {
        let changes = self.ledger.changes(&entry.request);
        let commit = Commit { by: entry.by.as_deref(), before: &self.ledger.rows, changes: &changes };
        let mut found = failed(|check| match check {
            Check::Commit(check) => check(&commit),
            Check::Store(_) | Check::Memory(_) | Check::Standing(_) | Check::Answer(_) => Ok(()),
        });
        let by = entry.by.as_deref().unwrap_or("the operator");
        let unread = self.marks.see(&self.ledger.rows, &changes).err();
        found.extend(unread.map(|error| ("PlacementConsistency", error.to_string())));
        self.tell(found, &format!("a commit of {by}"));
        self.ledger.enter(changes, version);
    }

    /// Enters all commits that are known to have landed.
    fn land(&mut self) {
        while let Some(entry) = self.ledger.landed() {
            let version = entry.version().expect("it has landed");
            let numbers = self.acknowledged.map(|before| (before, version));
            self.acknowledged = Some(version);
            self.enter(&entry, version);
            if self.logs {
                let now = Reach { version: self.seen.version.max(version), ..self.seen };
                self.hold(&Look { numbers, ..self.looked(now) });
            }
        }
    }

    fn looked<'a>(&self, now: Reach) -> Look<'a> {
        Look {
            opened: false,
            now,
            seen: self.seen,
            acknowledged: self.acknowledged,
            numbers: None,
            quiet: false,
            differs: None,
            refused: None,
        }
    }

    fn look_at(&mut self, stats: &Stats) {
        let now = Reach { version: stats.version, position: stats.checkpoint };
        let quiet = self.ledger.is_quiet();
        // One that has landed may not have been told yet.
        let acknowledged = self.acknowledged.filter(|_| quiet);
        self.hold(&Look { quiet, acknowledged, ..self.looked(now) });
        self.reached(now);
    }

    fn reached(&mut self, now: Reach) {
        let Reach { version, position } = self.seen;
        self.seen = Reach { version: version.max(now.version), position: position.max(now.position) };
    }

    fn hold(&mut self, look: &Look<'_>) {
        let found = failed(|check| match check {
            Check::Store(check) => check(look),
            Check::Commit(_) | Check::Memory(_) | Check::Standing(_) | Check::Answer(_) => Ok(()),
        });
        self.tell(found, "the store");
    }

    fn look_at_memory(&mut self, node: &str, now: Vec<Held>) {
        let before = self.held.insert(node.to_owned(), now).unwrap_or_default();
        let mut found = Vec::new();
        for held in self.held[node].iter().filter(|held| !before.contains(held)) {
            let memory = Memory { machine: node, held, all: &self.held, ledger: &self.ledger };
            found.extend(failed(|check| match check {
                Check::Memory(check) => check(&memory),
                Check::Commit(_) | Check::Store(_) | Check::Standing(_) | Check::Answer(_) => Ok(()),
            }));
        }
        self.tell(found, &format!("the memory of {node}"));
    }

    /// The store holds `found` after it was opened.
    fn opened(&mut self, stats: &Stats, found: Rows) {
        let now = Reach { version: stats.version, position: stats.checkpoint };
        let held = self.ledger.held(&found);
        let differs = held.as_ref().err();
        self.hold(&Look { opened: true, differs, ..self.looked(now) });
        match held {
            Ok(held) => {
                for entry in self.ledger.settle(&held) {
                    self.enter(&entry, now.version);
                }
            }
            Err(_) => self.ledger.accept(found),
        }
        self.acknowledged = Some(now.version);
        self.reached(now);
    }
}

impl Observer for Invariants {
    fn begins(&self, number: u64, client: SocketAddr, request: &CommitRequest) {
        let mut state = self.state.lock();
        let by = state.at(client.ip()).map(|machine| machine.name.clone());
        state.renews(number, client.ip(), request);
        state.ledger.begins(number, by, request.clone());
    }

    fn ended(&self, number: u64, ended: &Result<Committed, CommitError>) {
        let mut state = self.state.lock();
        // Who asks again finds out what became of a commit of which the store cannot tell.
        let may_stand = matches!(ended, Ok(_) | Err(CommitError::Unknown(_)));
        if let Some(renewing) = state.renewing.remove(&number).filter(|_| may_stand) {
            state.renewed_by(renewing);
        }
        if let Err(what) = state.ledger.ended(number, ended) {
            state.tell(vec![("WAL_Durability", what)], "the store");
        }
        state.land();
    }

    fn opened(&self, stats: &Stats, rows: Rows) {
        let mut state = self.state.lock();
        // What the store's former life had under way may be in.
        for (_, renewing) in std::mem::take(&mut state.renewing) {
            state.renewed_by(renewing);
        }
        state.opened(stats, rows);
    }

    fn refused(&self, error: &OpenError) {
        if matches!(error, OpenError::Damaged { .. }) {
            let mut state = self.state.lock();
            let look = Look { refused: Some(&error.to_string()), ..state.looked(state.seen) };
            state.hold(&look);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures::future::BoxFuture;
    use kelpie_core::id::{ActorId, Boot, Epoch, Incarnation, NodeId, Seq};
    use kelpie_core::limits::LEASE_TERM;
    use kelpie_core::ownership::Own;
    use kelpie_core::{record, row};
    use kelpie_env::sim::Sim;
    use kelpie_registry::Head;
    use kelpie_storage::Op;

    use super::*;
    use crate::cluster::{Outcome, Request};

    /// A process that has one actor in memory.
    struct Holds(ActorId, Own, Seq);

    impl Process for Holds {
        fn serve(&self, _: Request) -> BoxFuture<'static, Outcome> {
            unreachable!("it is only looked at")
        }

        fn loaded(&self, see: &mut dyn FnMut(&ActorId, &Own, Seq)) {
            see(&self.0, &self.1, self.2);
        }

        fn health(&self) -> Health {
            Health::Ready
        }

        fn is_told_to_drain(&self) -> bool {
            false
        }

        fn drain(&self, _: Duration) -> BoxFuture<'static, bool> {
            unreachable!("it is only looked at")
        }

        fn migrate(&self, _: ActorId, _: NodeId, _: Duration) -> BoxFuture<'static, bool> {
            unreachable!("it is only looked at")
        }
    }

    fn actor() -> ActorId {
        ActorId::new("default", "counter", "a").unwrap()
    }

    fn own(node: &str, epoch: u64) -> Own {
        let node = NodeId::new(node).unwrap();
        Own { node, incarnation: Incarnation(1), boot: Boot(7), epoch: Epoch(epoch) }
    }

    fn found(invariants: &Invariants) -> Vec<&'static str> {
        invariants.violations().iter().map(|violation| violation.invariant).collect()
    }

    /// A store in which `n1` owns the actor, under epoch 2, at commit 5.
    fn owned() -> Invariants {
        let invariants = Invariants::new(true);
        let head = Head { seq: Seq(5), ..Head::default() };
        let rows = Rows::from([
            (row::own(&actor()), record::encode(&own("n1", 2))),
            (row::head(&actor()), record::encode(&head)),
        ]);
        let mut state = invariants.state.lock();
        state.ledger.rows = rows;
        state.acknowledged = Some(9);
        state.seen.version = 9;
        drop(state);
        invariants
    }

    #[test]
    fn two_processes_under_one_epoch_are_found() {
        let invariants = owned();
        invariants.turned("n0", Some(&Holds(actor(), own("n0", 1), Seq(5))));
        invariants.turned("n1", Some(&Holds(actor(), own("n1", 2), Seq(5))));
        assert_eq!(found(&invariants), Vec::<&str>::new());
        invariants.turned("n2", Some(&Holds(actor(), own("n2", 2), Seq(5))));
        assert_eq!(found(&invariants), ["EpochHeldOnce"]);
    }

    #[test]
    fn a_process_that_has_ended_holds_nothing() {
        let invariants = owned();
        invariants.turned("n1", Some(&Holds(actor(), own("n1", 2), Seq(5))));
        invariants.gone("n1");
        invariants.turned("n2", Some(&Holds(actor(), own("n2", 2), Seq(5))));
        assert_eq!(found(&invariants), Vec::<&str>::new());
    }

    #[test]
    fn a_commit_in_memory_that_the_store_has_not_is_found() {
        let invariants = owned();
        invariants.turned("n1", Some(&Holds(actor(), own("n1", 2), Seq(6))));
        assert_eq!(found(&invariants), ["MemoryNotAhead"]);
    }

    #[test]
    fn an_answer_without_its_record_is_found() {
        let invariants = owned();
        invariants.answers("n1", &row::head(&actor()));
        assert_eq!(found(&invariants), Vec::<&str>::new());
        invariants.answers("n1", &Bytes::from_static(b"dedup/none"));
        assert_eq!(found(&invariants), ["AckedKept"]);
    }

    #[test]
    fn a_process_that_admits_calls_without_a_lease_in_time_is_found() {
        let sim = Sim::new(1);
        let node = sim.node("n1");
        let process = Holds(actor(), own("n1", 2), Seq(5));
        let client = SocketAddr::new(node.ip(), 1);
        let renewal = || CommitRequest {
            writes: vec![(row::lease(&NodeId::new("n1").unwrap()), Op::Set(Bytes::from_static(b"beat")))],
            ..CommitRequest::default()
        };
        let renews = |number, ended: Result<Committed, CommitError>| {
            let invariants = owned();
            invariants.know(&node, "n1");
            invariants.begins(number, client, &renewal());
            invariants.ended(number, &ended);
            invariants
        };
        let landed = renews(0, Ok(Committed { version: Some(10) }));
        landed.turned("n1", Some(&process));
        let margin = Duration::from_millis(10);
        sim.block_on(node.env().sleep(LEASE_TERM - margin));
        landed.turned("n1", Some(&process));
        assert!(!found(&landed).contains(&"LeaseValidityIfActive"), "{:?}", landed.violations());
        sim.block_on(node.env().sleep(2 * margin));
        landed.turned("n1", Some(&process));
        assert!(found(&landed).contains(&"LeaseValidityIfActive"), "{:?}", landed.violations());
        let refused = renews(1, Err(CommitError::Conflict));
        refused.turned("n1", Some(&process));
        assert!(found(&refused).contains(&"LeaseValidityIfActive"), "{:?}", refused.violations());
    }

    #[test]
    fn a_store_that_has_lost_what_it_acknowledged_or_showed_is_found() {
        let invariants = owned();
        invariants.opened(&Stats { version: 8, ..Stats::default() }, Rows::new());
        let lost = found(&invariants);
        assert!(lost.contains(&"WAL_Durability") && lost.contains(&"WAL_Monotonicity"), "{lost:?}");
    }

    #[test]
    fn a_checkpoint_that_goes_back_is_found() {
        let invariants = owned();
        let rows = invariants.state.lock().ledger.rows.clone();
        invariants.opened(&Stats { version: 9, checkpoint: 4, ..Stats::default() }, rows.clone());
        assert_eq!(found(&invariants), Vec::<&str>::new());
        invariants.opened(&Stats { version: 9, checkpoint: 3, ..Stats::default() }, rows);
        assert_eq!(found(&invariants), ["CheckpointAtomicity"]);
    }
}
