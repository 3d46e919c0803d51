//! One machine: a simulated node, the program on it, and the supervisor that starts it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use kelpie_core::id::NodeId;
use kelpie_env::Env;
use kelpie_env::sim::{Mailbox, Node};
use kelpie_runtime::Health;
use kelpie_storage::Store;
use parking_lot::Mutex;

use super::place::Place;
use super::program::{Process, Program, Request};
use super::replays::Replayed;
use super::wire::{self, Answer, Ask, Outcome};
use crate::invariant::Invariants;

/// Where machines take calls.
pub(crate) const CALLS: u16 = 8283;

/// Where they take connections of each other.
pub(super) const PEERS: u16 = 7000;

/// How long a drain waits for what was admitted.
const DRAIN: Duration = Duration::from_secs(2);
/// Where nothing is to be cut off.
const DRAIN_IN_PEACE: Duration = Duration::from_secs(30);

/// How long a supervisor waits before it starts a process again that could not start.
const START_AGAIN: Duration = Duration::from_millis(400);

/// How a life of a machine reaches the store.
pub(crate) type Connect = Arc<dyn Fn(&Node) -> Store + Send + Sync>;

/// How the processes of a machine join.
pub(super) struct Places {
    /// The first of them.
    pub(super) first: Place,
    /// All others.
    pub(super) later: Place,
}

/// One machine of a cluster.
#[derive(Clone)]
pub(crate) struct Machine {
    pub(crate) node: Node,
    seat: Arc<Seat>,
}

struct Seat {
    program: Arc<dyn Program>,
    places: Places,
    connect: Connect,
    invariants: Arc<Invariants>,
    /// Whether it was ever started.
    booted: AtomicBool,
    /// The process of the present life, once it has started.
    process: Mutex<Option<Arc<dyn Process>>>,
    leaving: Mutex<Leaving>,
    /// Nobody starts it again when it has left.
    held: AtomicBool,
    /// Drains have the time that they take.
    patient: bool,
}

/// Whether the present life of a machine is about to end by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Leaving {
    No,
    /// It drains.
    Going,
    /// It has drained.
    Gone,
}

impl Machine {
    pub(super) fn new(
        node: Node,
        program: Arc<dyn Program>,
        places: Places,
        patient: bool,
        connect: Connect,
        invariants: Arc<Invariants>,
    ) -> Self {
        let (process, leaving) = (Mutex::default(), Mutex::new(Leaving::No));
        let (held, booted) = (AtomicBool::new(false), AtomicBool::new(false));
        let seat = Seat { program, places, connect, invariants, booted, process, leaving, held, patient };
        Self { node, seat: Arc::new(seat) }
    }

    /// The name that its process joins under. A second process under a name stands on a node of
    /// its own.
    pub(crate) fn name(&self) -> &NodeId {
        self.seat.places.first.name()
    }

    /// Lets so many millionths of the calls to it panic in their handler.
    pub(crate) fn set_panics(&self, ppm: u32) {
        self.seat.program.set_panics(ppm);
    }

    /// How many calls to it have panicked so.
    pub(crate) fn panicked(&self) -> u64 {
        self.seat.program.panicked()
    }

    /// What second runs of its turns have come to.
    pub(crate) fn replayed(&self) -> Replayed {
        self.seat.program.replayed()
    }

    /// Where it takes calls.
    pub(crate) fn addr(&self) -> SocketAddr {
        SocketAddr::new(self.node.ip(), CALLS)
    }

    /// Starts the program on the node's present life.
    pub(crate) fn boot(&self) {
        let again = self.seat.booted.swap(true, Ordering::Relaxed);
        let Places { first, later } = &self.seat.places;
        let place = if again { later } else { first }.clone();
        *self.seat.process.lock() = None;
        *self.seat.leaving.lock() = Leaving::No;
        let env = self.node.env();
        let store = (self.seat.connect)(&self.node);
        let mailbox = Arc::new(self.node.mailbox(CALLS));
        env.spawn("process", live(self.seat.clone(), place, (env.clone(), store, mailbox)));
    }

    /// Starts the program if it was never started. Whether it was not.
    pub(crate) fn boot_first(&self) -> bool {
        let first = self.node.is_alive() && !self.seat.booted.load(Ordering::Relaxed);
        if first {
            self.boot();
        }
        first
    }

    /// Ends the process, whatever it does, and starts it again. `power` says whether the
    /// machine loses what was not synced.
    pub(crate) fn end(&self, power: bool) {
        if self.node.is_alive() {
            if power {
                // Nobody is told when the power goes.
                self.node.kill_silently();
            } else {
                self.node.kill_process();
            }
        }
        *self.seat.process.lock() = None;
        self.seat.invariants.gone(self.node.name());
    }

    /// Asks its process to go: it drains, and has its actors handed over.
    pub(crate) fn leave(&self) {
        let Some(process) = self.process().filter(|_| self.node.is_alive()) else { return };
        let mut leaving = self.seat.leaving.lock();
        if *leaving != Leaving::No {
            return;
        }
        *leaving = Leaving::Going;
        drop(leaving);
        let drain = process.drain(if self.seat.patient { DRAIN_IN_PEACE } else { DRAIN });
        let seat = self.seat.clone();
        self.node.env().spawn("drain", async move {
            drain.await;
            *seat.leaving.lock() = Leaving::Gone;
        });
    }

    /// Says whether it stays down once its process has left.
    pub(crate) fn hold(&self, held: bool) {
        self.seat.held.store(held, Ordering::Relaxed);
    }

    /// It may be started again after a drain. One that still drains is ended, unless drains have
    /// their time: then one that serves is not ended either, as somebody else has started it again
    /// meanwhile.
    pub(crate) fn end_drain(&self) {
        self.hold(false);
        let gone = *self.seat.leaving.lock() == Leaving::Gone;
        if gone || !self.seat.patient {
            self.end(false);
        }
        self.start_again();
    }

    /// Whether its process has been asked to go, has gone, and is to be started again.
    pub(super) fn has_left(&self) -> bool {
        let gone = *self.seat.leaving.lock() == Leaving::Gone;
        self.node.is_alive() && gone && !self.seat.held.load(Ordering::Relaxed)
    }

    /// Whether its process takes calls and does not go: whoever stands before several machines
    /// asks one of these.
    pub(crate) fn is_ready(&self) -> bool {
        let ready =
            |process: Arc<dyn Process>| process.health() == Health::Ready && !process.is_told_to_drain();
        self.node.is_alive() && *self.seat.leaving.lock() == Leaving::No && self.process().is_some_and(ready)
    }

    /// Starts it again if it is down.
    pub(crate) fn start_again(&self) {
        if !self.node.is_alive() {
            self.node.restart();
            self.boot();
        }
    }

    /// The process of the present life, once it has started.
    pub(crate) fn process(&self) -> Option<Arc<dyn Process>> {
        self.seat.process.lock().clone()
    }
}

async fn live(seat: Arc<Seat>, place: Place, (env, store, mailbox): (Env, Store, Arc<Mailbox>)) {
    leak(&env).await;
    let process = loop {
        match seat.program.start(env.clone(), store.clone(), place.clone()).await {
            Ok(process) => break process,
            Err(error) => tracing::debug!(error, "not started"),
        }
        env.sleep(START_AGAIN).await;
    };
    *seat.process.lock() = Some(process.clone());
    while let Some((from, message)) = mailbox.recv().await {
        let Some(ask) = wire::decode::<Ask>(&message) else { continue };
        env.spawn("call", answer(seat.clone(), process.clone(), mailbox.clone(), (from, ask)));
    }
}

/// The seeded bugs of letting something from outside the simulation in.
async fn leak(env: &Env) {
    if kelpie_core::mutant!("starts_late_by_process_id") {
        env.sleep(Duration::from_nanos(std::process::id().into())).await;
    }
    if kelpie_core::mutant!("looks_at_the_clock_of_the_process") {
        #[expect(clippy::disallowed_methods, reason = "the seeded bug")]
        let now = std::time::Instant::now();
        tracing::debug!(?now, "starts");
    }
}

async fn answer(
    seat: Arc<Seat>,
    process: Arc<dyn Process>,
    mailbox: Arc<Mailbox>,
    (to, ask): (SocketAddr, Ask),
) {
    let request = Request {
        actor_type: ask.actor_type,
        actor_key: ask.actor_key,
        operation: ask.operation,
        payload: Bytes::from(ask.payload),
        key: ask.key,
        deadline: Duration::from_millis(ask.deadline_ms),
    };
    let row = process.recorded_under(&request);
    let outcome: Outcome = process.serve(request).await;
    if let Some(row) = row.filter(|_| outcome.is_recorded()) {
        seat.invariants.answers(seat.places.first.name().as_str(), &row);
    }
    mailbox.send(to, wire::encode(&Answer { attempt: ask.attempt, outcome }));
}
