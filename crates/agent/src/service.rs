//! Agents as a service: what the HTTP front, the command line and tests call.
//!
//! ```text
//!   writes ─▶ Runtime::call (the agent's own turn)       reads ─▶ Runtime::view (the store)
//!   send   ─▶ turn that accepts ─▶ wait for the run's end ─▶ rendered from committed records
//! ```
//!
//! Invariant: what is answered about a run is a pure function of committed records, so that a
//! repeated request gets the same bytes, also after a crash.

mod agents;
mod archives;
mod blocks;
mod context;
mod conversations;
mod failure;
mod fork;
mod log;
mod passages;
mod replay;
mod schedule;
mod search;
mod spending;
mod tools;
mod watch;
mod working;

use std::sync::Arc;
use std::time::Duration;

use kelpie_core::call::IdempotencyKey;
use kelpie_core::id::ActorId;
use kelpie_core::record;
use kelpie_env::Env;
use kelpie_memory::embedding::Embeddings;
use kelpie_runtime::{Actor, Call, Runtime, View};
use kelpie_storage::Store;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::actor::{ACTOR_TYPE, AgentActor, Shared, rows};
use crate::budget::Spending;
use crate::error::{AgentError, Thing};
use crate::models::Models;
use crate::provider::ModelInfo;
use crate::query::Scope;
use crate::tool::runner::ToolRunner;

pub use crate::actor::undo::PastValue;
pub use blocks::{BlockQuery, BlockRecord};
pub use context::ContextWindow;
pub use kelpie_runtime::StartError;
pub use replay::RunRecording;
pub use search::{FoundMessage, MessageQuery};
pub use spending::UsedToday;

/// What agents work with.
pub struct Parts {
    /// The models.
    pub models: Models,
    /// The tools outside.
    pub tools: Arc<dyn ToolRunner>,
    /// What gives passages and questions their vectors; without it archival memory is searched by
    /// words alone. All nodes of a store have to have the same.
    pub embeddings: Option<Arc<Embeddings>>,
    /// What models cost, and what a tenant may use up.
    pub spending: Spending,
}

/// All agents of a node. Cheap to clone.
#[derive(Clone)]
pub struct Agents {
    runtime: Runtime,
    shared: Arc<Shared>,
}

/// When a waiting call first looks into the store although nobody told it to: another node may
/// carry out the run. Each look that finds nothing new doubles the pause.
const LOOK_AGAIN_MIN: Duration = Duration::from_millis(10);
/// The longest of these pauses.
const LOOK_AGAIN_MAX: Duration = Duration::from_millis(500);

/// Agents that are on no node yet.
pub struct Prepared {
    shared: Arc<Shared>,
}

impl Prepared {
    /// The actor type that their node has to serve.
    pub fn actor(&self) -> Arc<dyn Actor> {
        Arc::new(AgentActor { shared: self.shared.clone() })
    }

    /// The agents of a node that serves their actor type.
    pub fn on(self, runtime: Runtime) -> Agents {
        Agents { runtime, shared: self.shared }
    }
}

impl Agents {
    /// Starts the runtime with agents as its actors. Runs that a crash has interrupted go on.
    pub async fn start(
        env: Env,
        store: Store,
        options: kelpie_runtime::Options,
        parts: Parts,
    ) -> Result<Self, StartError> {
        let prepared = Self::prepare(parts).await;
        let runtime = Runtime::start(options, env, store, vec![prepared.actor()]).await?;
        Ok(prepared.on(runtime))
    }

    /// Makes agents for a node that is started later.
    pub async fn prepare(parts: Parts) -> Prepared {
        let Parts { models, tools: runner, embeddings, spending } = parts;
        let outside = runner.tools().into_iter().map(|tool| (tool.spec.name.clone(), tool)).collect();
        let shared =
            Arc::new(Shared { models, runner, outside, embeddings, spending, hub: Default::default() });
        // Before the first agent is made: how much its model can read.
        shared.models.list().await;
        Prepared { shared }
    }

    /// The runtime underneath: health, draining.
    pub fn runtime(&self) -> &Runtime {
        &self.runtime
    }

    /// The models on offer now.
    pub async fn models(&self) -> Vec<ModelInfo> {
        self.shared.models.list().await
    }

    /// What gives passages and questions their vectors, if there is any.
    pub fn embeddings(&self) -> Option<&Embeddings> {
        self.shared.embeddings.as_deref()
    }

    fn actor(scope: &Scope, agent: &str) -> Result<ActorId, AgentError> {
        // An id that cannot be one names nothing.
        ActorId::new(&scope.tenant, ACTOR_TYPE, agent).map_err(|_| not_found(Thing::Agent, agent))
    }

    /// Calls an agent that is, or was, there: an id that never named one gets no records.
    async fn call<Q: Serialize, A: DeserializeOwned>(
        &self,
        scope: &Scope,
        agent: &str,
        key: Option<&IdempotencyKey>,
        operation: &'static str,
        request: &Q,
    ) -> Result<A, AgentError> {
        let actor = Self::actor(scope, agent)?;
        let known =
            self.runtime.view(&actor).get(rows::AGENT).await.map_err(|error| failure::read(&error))?;
        if known.is_none() {
            return Err(not_found(Thing::Agent, agent));
        }
        self.call_actor(scope, actor, key, operation, request).await
    }

    async fn call_actor<Q: Serialize, A: DeserializeOwned>(
        &self,
        scope: &Scope,
        actor: ActorId,
        key: Option<&IdempotencyKey>,
        operation: &'static str,
        request: &Q,
    ) -> Result<A, AgentError> {
        let agent = actor.key().to_owned();
        let call = Call::new(actor, operation, record::encode(request)).caller(scope.caller.clone());
        let call = match key {
            Some(key) => call.key(key.clone()),
            None => call,
        };
        let call = match scope.trace {
            Some(trace) => call.trace(trace),
            None => call,
        };
        let reply = self.runtime.call(call).await.map_err(|error| failure::call(&error, &agent))?;
        record::decode(&reply).map_err(|error| failure::damaged(&error))
    }

    /// A view of an agent that is there.
    async fn view(&self, scope: &Scope, agent: &str) -> Result<View, AgentError> {
        let view = self.runtime.view(&Self::actor(scope, agent)?);
        let life = rows::decoded(view.get(rows::AGENT).await.map_err(|error| failure::read(&error))?);
        match life.map_err(|error| failure::read(&error))? {
            Some(rows::Life::Alive(_)) => Ok(view),
            Some(rows::Life::Deleted { .. }) | None => Err(not_found(Thing::Agent, agent)),
        }
    }
}

fn not_found(thing: Thing, id: &str) -> AgentError {
    AgentError::NotFound { thing, id: id.to_owned() }
}
