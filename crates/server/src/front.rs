//! What all handlers share: the actors, the seam to the world, and whether the node takes calls.
//!
//! Invariant: no state of its own. Everything a request reads or writes goes through the
//! actors; what is here is configuration, handles and counters.

use std::sync::Arc;

use kelpie_agent::query::Scope;
use kelpie_agent::service::Agents;
use kelpie_core::call::Caller;
use kelpie_env::Env;
use kelpie_runtime::{Health, Runtime};
use kelpie_storage::Store;
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use crate::error::HttpError;
use crate::options::Options;

/// The parts of a [`Front`].
pub struct Parts {
    /// What is served.
    pub serves: Serves,
    /// Whose actors.
    pub tenant: String,
    /// What `/metrics` shows; `None` if the process gathers its measurements elsewhere.
    pub metrics: Option<PrometheusHandle>,
    /// What the operator chose.
    pub options: Options,
}

/// What a front serves.
pub enum Serves {
    /// A server's agents, and its actors.
    Agents(Agents),
    /// The actors of a program that has no agents.
    Actors(Runtime),
}

/// What all handlers share. Cheap to clone.
#[derive(Clone)]
pub struct Front(Arc<Shared>);

struct Shared {
    parts: Parts,
    scope: Scope,
    permits: Arc<Semaphore>,
    draining: CancellationToken,
    cut_off: CancellationToken,
}

impl Front {
    /// Joins the parts.
    pub fn new(parts: Parts) -> Self {
        let permits = Arc::new(Semaphore::new(parts.options.requests_max));
        let tenant = parts.tenant.clone();
        let caller = Caller::Principal { tenant: tenant.clone(), principal: "anonymous".to_owned() };
        Self(Arc::new(Shared {
            parts,
            scope: Scope { tenant, caller, trace: None },
            permits,
            draining: CancellationToken::new(),
            cut_off: CancellationToken::new(),
        }))
    }

    /// The agents, or that there are none.
    pub(crate) fn agents(&self) -> Result<&Agents, HttpError> {
        match &self.0.parts.serves {
            Serves::Agents(agents) => Ok(agents),
            Serves::Actors(_) => Err(HttpError::not_built("agents; this program serves /v1/actors")),
        }
    }

    /// The actors.
    pub fn runtime(&self) -> &Runtime {
        match &self.0.parts.serves {
            Serves::Agents(agents) => agents.runtime(),
            Serves::Actors(runtime) => runtime,
        }
    }

    /// The store behind them.
    pub(crate) fn store(&self) -> &Store {
        self.runtime().store()
    }

    /// The node's world.
    pub fn env(&self) -> &Env {
        self.runtime().env()
    }

    /// Whose actors a request is about, and who asks.
    pub(crate) fn scope(&self) -> &Scope {
        &self.0.scope
    }

    /// What the operator chose.
    pub fn options(&self) -> &Options {
        &self.0.parts.options
    }

    pub(crate) fn metrics(&self) -> Option<&PrometheusHandle> {
        self.0.parts.metrics.as_ref()
    }

    /// Takes a place among the requests that are worked on, or none is left.
    pub(crate) fn admit(&self) -> Option<OwnedSemaphorePermit> {
        self.0.permits.clone().try_acquire_owned().ok()
    }

    /// Whether the node takes calls, or why not.
    pub fn ready(&self) -> Result<(), String> {
        if self.0.draining.is_cancelled() {
            return Err("this node is shutting down".to_owned());
        }
        let runtime = self.runtime();
        match runtime.health() {
            Health::Ready if runtime.is_draining() => Err("this node is shutting down".to_owned()),
            Health::Ready => Ok(()),
            Health::Silent { for_ms, cause } => {
                Err(format!("this node could not renew its lease for {for_ms} ms: {cause}"))
            }
            Health::Superseded => Err("another process has taken this node's name".to_owned()),
            Health::Evicted => Err("its operator has evicted this node: start it anew".to_owned()),
            Health::Restored => Err("its store was restored from a backup: start it anew".to_owned()),
        }
    }

    /// From now on the node says that it takes no calls, so that load balancers look elsewhere.
    /// What was admitted goes on.
    pub fn drain(&self) {
        self.0.draining.cancel();
    }

    /// Ends the streams that are still open: their runs go on by themselves.
    pub fn cut_off(&self) {
        self.0.cut_off.cancel();
    }

    /// Completes once streams have to end.
    pub(crate) async fn must_end(&self) {
        self.0.cut_off.cancelled().await;
    }
}
