//! What a machine runs: production code behind one seam, so that actors of any kind and
//! agents are simulated alike.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use kelpie_core::advice::Advice;
use kelpie_core::call::{CallKey, Caller, IdempotencyKey};
use kelpie_core::id::{ActorId, NodeId, Seq};
use kelpie_core::ownership::Own;
use kelpie_core::row;
use kelpie_env::Env;
use kelpie_runtime::{Actor, Call, CallError, Health};
use kelpie_storage::Store;

use super::frail::Nerves;
use super::place::{Joined, Place};
use super::replays::Replayed;
use super::wire::Outcome;
use crate::schedule::Wishes;

/// What is installed on every machine of a cluster.
pub trait Program: Send + Sync + 'static {
    /// Starts one life of it. An error is retried after a while, as a supervisor would.
    fn start(
        &self,
        env: Env,
        store: Store,
        place: Place,
    ) -> BoxFuture<'static, Result<Arc<dyn Process>, String>>;

    /// Lets so many millionths of the calls panic in their handler, from now on. For programs
    /// that run handlers.
    fn set_panics(&self, _ppm: u32) {}

    /// How many have panicked so.
    fn panicked(&self) -> u64 {
        0
    }

    /// What second runs of turns have come to.
    fn replayed(&self) -> Replayed {
        Replayed::default()
    }
}

/// One life of a [`Program`].
pub trait Process: Send + Sync + 'static {
    /// Serves one call of a client.
    fn serve(&self, request: Request) -> BoxFuture<'static, Outcome>;

    /// The row under which an answer to this call has to stand in the store before it leaves, if
    /// it is recorded at all.
    fn recorded_under(&self, _request: &Request) -> Option<Bytes> {
        None
    }

    /// Shows each actor that is in its memory, with the owner record and the commit that it
    /// stands at there.
    fn loaded(&self, see: &mut dyn FnMut(&ActorId, &Own, Seq));

    /// Whether it may serve; one that [is over](Health::is_over) ends itself.
    fn health(&self) -> Health;

    /// Whether its operator has told it to drain, or it does so by itself.
    fn is_told_to_drain(&self) -> bool;

    /// Hands its actors over, waits for what was admitted for at most `limit`, and leaves. Whether
    /// nothing was cut off.
    fn drain(&self, limit: Duration) -> BoxFuture<'static, bool>;

    /// Has an actor moved to another node, wherever it is. Whether it was.
    fn migrate(&self, actor: ActorId, to: NodeId, limit: Duration) -> BoxFuture<'static, bool>;
}

/// A client's call, as a process gets it.
#[derive(Debug, Clone)]
pub struct Request {
    /// The actor's type.
    pub actor_type: String,
    /// The actor's key.
    pub actor_key: String,
    /// The operation.
    pub operation: String,
    /// Its payload.
    pub payload: Bytes,
    /// The idempotency key.
    pub key: String,
    /// How long it may take.
    pub deadline: Duration,
}

type Make = Box<dyn Fn(&Env) -> Vec<Arc<dyn Actor>> + Send + Sync>;

/// Runs actors on the production runtime.
pub struct Actors {
    make: Make,
    nerves: Arc<Nerves>,
    wishes: Wishes,
}

impl Actors {
    /// Runs the actors that `make` gives for the environment of a process.
    pub fn new(make: impl Fn(&Env) -> Vec<Arc<dyn Actor>> + Send + Sync + 'static) -> Self {
        Self { make: Box::new(make), nerves: Arc::default(), wishes: Wishes::default() }
    }

    /// The same, and all of them wish this.
    pub(crate) fn wishing(self, wishes: Wishes) -> Self {
        Self { wishes, ..self }
    }

    /// Those of one process.
    pub(crate) fn of(&self, env: &Env) -> Vec<Arc<dyn Actor>> {
        (self.make)(env).into_iter().map(|actor| self.nerves.frail(env, self.wishes, actor)).collect()
    }
}

impl Program for Actors {
    fn start(
        &self,
        env: Env,
        store: Store,
        place: Place,
    ) -> BoxFuture<'static, Result<Arc<dyn Process>, String>> {
        let actors = self.of(&env);
        async move {
            let joined = place.take(env, store, actors.clone()).await?;
            Ok(Arc::new(Running::new(joined, actors)) as Arc<dyn Process>)
        }
        .boxed()
    }

    fn set_panics(&self, ppm: u32) {
        self.nerves.set(ppm);
    }

    fn panicked(&self) -> u64 {
        self.nerves.lost()
    }

    fn replayed(&self) -> Replayed {
        self.nerves.replayed()
    }
}

/// Reads a record of an actor straight from the store, past its activation: the payload is the
/// record's name.
pub(crate) const PEEK: &str = "peek";

/// Actors on a runtime.
pub(crate) struct Running {
    joined: Joined,
    actors: BTreeMap<String, Arc<dyn Actor>>,
}

impl Running {
    pub(crate) fn new(joined: Joined, actors: Vec<Arc<dyn Actor>>) -> Self {
        let actors = actors.into_iter().map(|actor| (actor.actor_type().to_owned(), actor)).collect();
        Self { joined, actors }
    }
}

impl Drop for Running {
    /// The last that its process had is gone, its tasks before.
    fn drop(&mut self) {
        self.joined.runtime().abandon();
    }
}

/// Whom a call is for, and its key.
fn aim(request: &Request) -> Result<(ActorId, IdempotencyKey), String> {
    let actor = ActorId::new("default", &request.actor_type, &request.actor_key);
    let key = IdempotencyKey::new(&request.key);
    Ok((actor.map_err(|error| error.to_string())?, key.map_err(|error| error.to_string())?))
}

fn caller() -> Caller {
    Caller::Principal { tenant: "default".into(), principal: "client".into() }
}

impl Process for Running {
    fn serve(&self, request: Request) -> BoxFuture<'static, Outcome> {
        let runtime = self.joined.runtime().clone();
        async move {
            let (actor, key) = match aim(&request) {
                Ok(aim) => aim,
                Err(error) => return Outcome::Fix(error),
            };
            let Request { operation, payload, deadline, .. } = request;
            if operation == PEEK {
                return match runtime.view(&actor).get(&payload).await {
                    Ok(record) => Outcome::Reply(record.unwrap_or_default().to_vec()),
                    Err(error) => Outcome::NotRun(error.to_string()),
                };
            }
            let call = Call::new(actor, operation, payload).key(key).caller(caller()).deadline(deadline);
            match runtime.call(call).await {
                Ok(reply) => Outcome::Reply(reply.to_vec()),
                Err(error) => refusal(&error),
            }
        }
        .boxed()
    }

    fn recorded_under(&self, request: &Request) -> Option<Bytes> {
        let (actor, key) = aim(request).ok()?;
        let reads = self.actors.get(&request.actor_type)?.is_read(&request.operation);
        let writes = !reads && request.operation != PEEK;
        writes.then(|| row::dedup(&actor, CallKey::new(&caller(), &key)))
    }

    fn loaded(&self, see: &mut dyn FnMut(&ActorId, &Own, Seq)) {
        self.joined.runtime().loaded(see);
    }

    fn health(&self) -> Health {
        self.joined.runtime().health()
    }

    fn is_told_to_drain(&self) -> bool {
        self.joined.runtime().is_told_to_drain()
    }

    fn drain(&self, limit: Duration) -> BoxFuture<'static, bool> {
        self.joined.clone().drain(limit).boxed()
    }

    fn migrate(&self, actor: ActorId, to: NodeId, limit: Duration) -> BoxFuture<'static, bool> {
        self.joined.clone().migrate(actor, to, limit).boxed()
    }
}

/// An error with what it comes from.
fn with_causes(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |error| error.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

/// What a client is told about an error.
fn refusal(error: &CallError) -> Outcome {
    match (error.advice(), error) {
        (Advice::App, CallError::App { code, message, detail }) => Outcome::App {
            code: code.clone(),
            message: message.clone(),
            detail: detail.as_ref().map(|detail| detail.to_vec()),
        },
        // Nothing of it was kept, and the client does not ask again.
        (Advice::Fix, CallError::Panicked) => {
            Outcome::App { code: error.code().to_owned(), message: error.to_string(), detail: None }
        }
        (Advice::App | Advice::Fix, _) => Outcome::Fix(with_causes(error)),
        (Advice::NotRun, _) => Outcome::NotRun(error.to_string()),
        (Advice::Unknown, _) => Outcome::Unknown(error.to_string()),
    }
}
