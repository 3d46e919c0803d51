//! One machine: a simulated node, the program on it, and the supervisor that starts it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use kelpie_env::Env;
use kelpie_env::sim::{Mailbox, Node};
use kelpie_runtime::Options;
use kelpie_storage::{Backend, Store};
use parking_lot::Mutex;

use super::program::{Process, Program, Request};
use super::wire::{self, Answer, Ask, Outcome};
use crate::invariant::Invariants;

/// Where machines take calls.
pub(crate) const CALLS: u16 = 8283;

/// How long a supervisor waits before it starts a process again that could not start.
const START_AGAIN: Duration = Duration::from_millis(400);

/// How a life of a machine reaches the store.
pub(crate) type Connect = Arc<dyn Fn(&Node) -> Arc<dyn Backend> + Send + Sync>;

/// One machine of a cluster.
#[derive(Clone)]
pub(crate) struct Machine {
    pub(crate) node: Node,
    seat: Arc<Seat>,
}

struct Seat {
    program: Arc<dyn Program>,
    options: Options,
    connect: Connect,
    invariants: Arc<Invariants>,
    /// The process of the present life, once it has started.
    process: Mutex<Option<Arc<dyn Process>>>,
}

impl Machine {
    pub(crate) fn new(
        node: Node,
        program: Arc<dyn Program>,
        options: Options,
        connect: Connect,
        invariants: Arc<Invariants>,
    ) -> Self {
        let seat = Arc::new(Seat { program, options, connect, invariants, process: Mutex::default() });
        Self { node, seat }
    }

    /// The name that its process joins under. A second process under a name stands on a node of
    /// its own.
    pub(crate) fn name(&self) -> &str {
        self.seat.options.node.node.as_str()
    }

    /// Lets so many millionths of the calls to it panic in their handler.
    pub(crate) fn set_panics(&self, ppm: u32) {
        self.seat.program.set_panics(ppm);
    }

    /// How many calls to it have panicked so.
    pub(crate) fn panicked(&self) -> u64 {
        self.seat.program.panicked()
    }

    /// Where it takes calls.
    pub(crate) fn addr(&self) -> SocketAddr {
        SocketAddr::new(self.node.ip(), CALLS)
    }

    /// Starts the program on the node's present life.
    pub(crate) fn boot(&self) {
        *self.seat.process.lock() = None;
        let env = self.node.env();
        let store = Store::from_backend((self.seat.connect)(&self.node), env.clone());
        let mailbox = Arc::new(self.node.mailbox(CALLS));
        env.spawn("process", live(self.seat.clone(), env.clone(), store, mailbox));
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

async fn live(seat: Arc<Seat>, env: Env, store: Store, mailbox: Arc<Mailbox>) {
    leak(&env).await;
    let process = loop {
        match seat.program.start(env.clone(), store.clone(), seat.options.clone()).await {
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
        seat.invariants.answers(seat.options.node.node.as_str(), &row);
    }
    mailbox.send(to, wire::encode(&Answer { attempt: ask.attempt, outcome }));
}
