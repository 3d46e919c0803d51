//! Clients: they call actors through any machine, again with the same key until they know.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use kelpie_core::call::IdempotencyKey;
use kelpie_env::Env;
use kelpie_env::sim::{Mailbox, Node};
use kelpie_runtime::typed::{AppAnswer, Error, Handlers, Reason, Target, Via};
use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::machine::Machine;
use super::wire::{self, Answer, Ask, Outcome};
use crate::history::{Call, Ended, History};
use crate::schedule::Schedule;

/// How long a client waits for the answer to one attempt.
const ATTEMPT: Duration = Duration::from_secs(4);
/// How long it waits before the next attempt.
const BETWEEN: Duration = Duration::from_millis(150);
/// After so many attempts a client gives up while faults go on.
const ATTEMPTS_MAX: u32 = 12;
/// The number of the client that looks at each actor in the end.
pub(crate) const PROBER: u32 = u32::MAX;
/// Where clients get their answers.
const ANSWERS: u16 = 1;

/// What all clients of a cluster share: one machine of theirs, which nothing happens to, and
/// the history of what they saw.
pub(crate) struct Clients {
    env: Env,
    mailbox: Mailbox,
    /// Those that may be asked: all of them, and in the end those that were healed.
    machines: Mutex<Vec<Machine>>,
    /// Only machines that are ready are asked.
    balanced: bool,
    attempts: AtomicU64,
    waiting: Mutex<BTreeMap<u64, oneshot::Sender<Outcome>>>,
    history: Mutex<History>,
    probes: AtomicU32,
    /// The faults are over: answers are owed.
    healed: AtomicBool,
}

impl Clients {
    pub(crate) fn start(node: &Node, machines: Vec<Machine>, schedule: &Schedule) -> Arc<Self> {
        let history = History { orderly: schedule.is_orderly(), ..History::default() };
        let clients = Arc::new(Self {
            env: node.env(),
            mailbox: node.mailbox(ANSWERS),
            machines: Mutex::new(machines),
            balanced: schedule.balanced,
            attempts: AtomicU64::new(0),
            waiting: Mutex::default(),
            history: Mutex::new(history),
            probes: AtomicU32::new(0),
            healed: AtomicBool::new(false),
        });
        clients.env.spawn("answers", receive(clients.clone()));
        clients
    }

    pub(crate) fn client(self: &Arc<Self>, number: u32) -> Client {
        Client {
            clients: self.clone(),
            number,
            calls: Arc::new(AtomicU32::new(0)),
            attempts_max: ATTEMPTS_MAX,
        }
    }

    /// The client that takes the last look.
    pub(crate) fn prober(self: &Arc<Self>) -> Client {
        self.client(PROBER)
    }

    /// From here on calls are owed an answer, by the machines of `core`.
    pub(crate) fn healed(&self, core: Vec<Machine>) {
        *self.machines.lock() = core;
        self.healed.store(true, Ordering::Relaxed);
    }

    /// The time on the clients' machine, by which the history is kept.
    pub(crate) fn now(&self) -> Duration {
        self.env.now()
    }

    pub(crate) fn history(&self) -> History {
        self.history.lock().clone()
    }

    /// When a client asked what it has no answer to yet; nothing while it waits for none.
    pub(crate) fn waits_since(&self, client: u32) -> Option<Duration> {
        let history = self.history.lock();
        let mut open = history.calls.iter().filter(|call| call.client == client && call.ended.is_none());
        open.next().map(|call| call.asked_at)
    }

    /// The machine to ask, by a number that may be any; nothing if there is none.
    fn machine(&self, number: usize) -> Option<SocketAddr> {
        let machines = self.machines.lock();
        let (before, from) = machines.split_at(number % machines.len());
        let may_be_asked = |machine: &&Machine| !self.balanced || machine.is_ready();
        from.iter().chain(before).find(may_be_asked).map(Machine::addr)
    }

    /// One attempt at one machine; nothing if no answer came.
    async fn attempt(&self, to: Option<SocketAddr>, ask: Ask) -> Option<Outcome> {
        let Some(to) = to else { return Some(Outcome::NotRun("no machine is ready".to_owned())) };
        let (told, tell) = oneshot::channel();
        let attempt = ask.attempt;
        self.waiting.lock().insert(attempt, told);
        self.mailbox.send(to, wire::encode(&ask));
        let outcome = self.env.timeout(ATTEMPT, tell).await;
        self.waiting.lock().remove(&attempt);
        outcome.ok().and_then(Result::ok)
    }
}

async fn receive(clients: Arc<Clients>) {
    while let Some((_, message)) = clients.mailbox.recv().await {
        let Some(answer) = wire::decode::<Answer>(&message) else { continue };
        // A doubled answer, or one that came too late, finds nobody.
        if let Some(told) = clients.waiting.lock().remove(&answer.attempt) {
            drop(told.send(answer.outcome));
        }
    }
}

/// A client of a simulated cluster. It makes one call at a time; clones are the same client.
#[derive(Clone)]
pub struct Client {
    clients: Arc<Clients>,
    number: u32,
    calls: Arc<AtomicU32>,
    attempts_max: u32,
}

impl Client {
    /// The same, which takes the first answer for the last, and gives up when there is none.
    pub(crate) fn impatient(self) -> Self {
        Self { attempts_max: 1, ..self }
    }

    /// Its number, from zero.
    ///
    /// Shown at [`Cluster`](crate::Cluster).
    pub fn number(&self) -> u32 {
        self.number
    }

    /// The environment of the machine that clients run on, which suffers no faults.
    ///
    /// Shown at [`Cluster`](crate::Cluster).
    pub fn env(&self) -> &Env {
        &self.clients.env
    }

    /// Calls an actor through some machine, under a key of its own, and again under the same
    /// key through others until the outcome is known or the client gives up. The call and
    /// its end go into the history.
    ///
    /// Shown at [`cluster`](crate::cluster()).
    pub async fn call(&self, actor_type: &str, actor_key: &str, operation: &str, payload: &str) -> Ended {
        ended(&self.ask(actor_type, actor_key, operation, payload, None).await)
    }

    /// A client of one of a typed actor's kind: see [`Client::call`].
    ///
    /// Shown at [`Cluster`](crate::Cluster).
    pub fn actor<A: Handlers>(&self, actor_key: &str) -> A::Client<Self> {
        A::client(Target::new::<A>(self.clone(), "default", actor_key))
    }

    async fn ask(
        &self,
        actor_type: &str,
        actor_key: &str,
        operation: &str,
        payload: &str,
        key: Option<&str>,
    ) -> Outcome {
        let number = self.calls.fetch_add(1, Ordering::Relaxed);
        let key = match (key, self.number) {
            (Some(key), _) => key.to_owned(),
            (None, PROBER) => {
                format!("probe-{index}", index = self.clients.probes.fetch_add(1, Ordering::Relaxed))
            }
            (None, client) => format!("client-{client}-{number}"),
        };
        let index = self.begin(number, (actor_type, actor_key), operation, payload, &key);
        let (mut attempts, mut lost) = (0, 0);
        let machines = self.clients.machines.lock().len() as u64;
        let mut machine =
            usize::try_from(self.env().random_u64() % machines).expect("fewer machines than a usize counts");
        let outcome = loop {
            attempts += 1;
            let ask = Ask {
                attempt: self.clients.attempts.fetch_add(1, Ordering::Relaxed),
                actor_type: actor_type.to_owned(),
                actor_key: actor_key.to_owned(),
                operation: operation.to_owned(),
                payload: payload.as_bytes().to_vec(),
                key: key.clone(),
                deadline_ms: u64::try_from(ATTEMPT.as_millis()).expect("seconds"),
            };
            let refused = match self.clients.attempt(self.clients.machine(machine), ask).await {
                Some(outcome @ (Outcome::Reply(_) | Outcome::App { .. } | Outcome::Fix(_))) => break outcome,
                Some(Outcome::NotRun(reason)) => Some(reason),
                Some(Outcome::Unknown(_)) | None => None,
            };
            lost += u32::from(refused.is_none());
            self.attempted(index, attempts, lost, refused.as_deref());
            if attempts >= self.attempts_max() {
                break match refused {
                    Some(reason) if lost == 0 => Outcome::NotRun(reason),
                    Some(_) | None => Outcome::Unknown("no machine has answered".to_owned()),
                };
            }
            machine = machine.wrapping_add(1);
            self.env().sleep(BETWEEN).await;
        };
        self.end(index, ended(&outcome), attempts, lost);
        outcome
    }

    /// Once the faults are over every call is owed an answer: how soon is for the liveness
    /// check to judge, and the client goes on until then.
    fn attempts_max(&self) -> u32 {
        if self.clients.healed.load(Ordering::Relaxed) { u32::MAX } else { self.attempts_max }
    }

    fn begin(
        &self,
        number: u32,
        (actor_type, actor_key): (&str, &str),
        operation: &str,
        payload: &str,
        key: &str,
    ) -> usize {
        let now = self.env().now();
        let mut history = self.clients.history.lock();
        history.calls.push(Call {
            client: self.number,
            number,
            actor_type: actor_type.to_owned(),
            actor_key: actor_key.to_owned(),
            operation: operation.to_owned(),
            payload: payload.to_owned(),
            key: key.to_owned(),
            asked_at: now,
            ended_at: now,
            ended: None,
            attempts: 0,
            lost: 0,
            refusal: None,
            owed: self.clients.healed.load(Ordering::Relaxed),
            probe: self.number == PROBER,
        });
        history.calls.len() - 1
    }

    /// So that it can be told of a call that never ends why it waits.
    fn attempted(&self, index: usize, attempts: u32, lost: u32, refused: Option<&str>) {
        let mut history = self.clients.history.lock();
        let call = &mut history.calls[index];
        (call.attempts, call.lost) = (attempts, lost);
        if let Some(reason) = refused {
            call.refusal = Some(reason.to_owned());
        }
    }

    fn end(&self, index: usize, ended: Ended, attempts: u32, lost: u32) {
        let mut history = self.clients.history.lock();
        let call = &mut history.calls[index];
        call.ended = Some(ended);
        call.ended_at = self.env().now();
        (call.attempts, call.lost) = (attempts, lost);
    }
}

/// How a call has ended for its client.
fn ended(outcome: &Outcome) -> Ended {
    match outcome {
        Outcome::Reply(reply) => Ended::Reply(String::from_utf8_lossy(reply).into_owned()),
        Outcome::App { code, .. } => Ended::App(code.clone()),
        Outcome::NotRun(reason) => Ended::NotRun(reason.clone()),
        Outcome::Unknown(_) => Ended::Unknown,
        Outcome::Fix(reason) => Ended::Fix(reason.clone()),
    }
}

/// Calls of typed actors. A deadline is the simulated client's own.
impl Via for Client {
    fn invoke(&self, call: kelpie_runtime::Call) -> BoxFuture<'static, Result<Bytes, Error<AppAnswer>>> {
        let client = self.clone();
        Box::pin(async move {
            let payload = String::from_utf8_lossy(call.payload()).into_owned();
            let key = call.idempotency_key().map(IdempotencyKey::as_str);
            let (actor, operation) = (call.actor(), call.operation());
            let reason = |code: &str, message| Reason { code: code.to_owned(), message };
            match client.ask(actor.actor_type(), actor.key(), operation, &payload, key).await {
                Outcome::Reply(reply) => Ok(reply.into()),
                Outcome::App { code, message, detail } => {
                    Err(Error::App(AppAnswer { code, message, detail: detail.map(Bytes::from) }))
                }
                Outcome::NotRun(message) => Err(Error::NotRun(reason("call.not_run", message))),
                Outcome::Unknown(message) => Err(Error::Unknown(reason("call.unknown", message))),
                Outcome::Fix(message) => Err(Error::Fix(reason("call.fix", message))),
            }
        })
    }
}
