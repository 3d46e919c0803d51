//! Claiming an actor and finding what it was in the middle of.

use std::collections::BTreeMap;
use std::sync::Arc;

use kelpie_core::id::ActorId;
use kelpie_core::ownership::Why;
use kelpie_core::record;
use kelpie_core::row;
use kelpie_core::turn::Resumed;
use kelpie_registry::Claimed;
use kelpie_storage::Transaction;

use crate::activation::{Activation, Loaded, Unloaded};
use crate::actor::TurnError;
use crate::call::{CallError, Request};
use crate::large;
use crate::records::{Cache, pages};
use crate::stored::{Running, StepRecord};

impl Activation {
    /// Loads the activation; returns the turn that goes first, if one had recorded a step.
    /// The claim is made for this reason.
    pub(crate) async fn load(self: &Arc<Self>, why: &Why) -> Result<Option<Resumed>, Unloaded> {
        let me = self.node.membership.myself();
        let claimed = self.node.ownership.claim(&self.actor, &me, why).await;
        let (own, head) = match claimed {
            Ok(Claimed::Owned { own, head }) => (own, head),
            Ok(Claimed::Elsewhere(own)) => return Err(Unloaded::Elsewhere(Some(own))),
            Ok(Claimed::NotActive) => return Err(Unloaded::Elsewhere(None)),
            Err(error) => return Err(CallError::NotRun { reason: describe(&error) }.into()),
        };
        if let Some(own) = self.give_away(&own).await {
            return Err(Unloaded::Elsewhere(Some(own)));
        }
        let resumed = if head.running { self.running().await.map_err(unreadable)? } else { None };
        let resume = resumed.as_ref().map(|(running, _)| self.resume(running));
        let own = self.node.owners.share(own);
        let cache = Cache::new(self.node.idle.cached.clone());
        let mut state = self.state.lock();
        state.busy().resumed = resumed.map(Box::new);
        state.loaded = Some(Loaded { own, head: head.into(), cache, swept: None, recovering: true });
        Ok(resume)
    }

    fn resume(&self, running: &Running) -> Resumed {
        let request = Arc::new(Request {
            actor: self.actor.clone(),
            operation: running.operation.clone(),
            payload: running.payload.clone(),
            caller: running.caller.clone(),
            key: running.key,
            fresh: false,
            fingerprint: running.fingerprint,
            deadline: std::time::Duration::MAX,
            chain: running.chain.clone(),
            mark: running.mark,
            keep: running.keep,
            trace: running.trace,
        });
        let task = running.origin.clone().into();
        Resumed { call: self.add_slot(request, task), key: running.key, fingerprint: running.fingerprint }
    }

    async fn running(&self) -> Result<Option<(Running, BTreeMap<String, StepRecord>)>, TurnError> {
        let mut tx = self.node.store.begin();
        let key = row::running(&self.actor);
        let Some(stored) = tx.get_snapshot(&key).await? else { return Ok(None) };
        let running: Running = record::decode(&large::value(&mut tx, &key, stored).await?)?;
        let steps = steps(&mut tx, &self.actor, &running).await?;
        Ok(Some((running, steps)))
    }
}

/// The steps that a turn has recorded, by key.
pub(crate) async fn steps(
    tx: &mut Transaction,
    actor: &ActorId,
    running: &Running,
) -> Result<BTreeMap<String, StepRecord>, TurnError> {
    let prefix = row::steps(actor, running.key.turn(actor));
    let mut steps = BTreeMap::new();
    for (key, stored) in pages(tx, prefix.clone(), row::after(&prefix), usize::MAX, false).await? {
        let name = String::from_utf8_lossy(&key[prefix.len()..]).into_owned();
        steps.insert(name, record::decode(&large::value(tx, &key, stored).await?)?);
    }
    Ok(steps)
}

fn unreadable(error: TurnError) -> CallError {
    match error {
        TurnError::Read(_) | TurnError::Moved | TurnError::IndexMoved => {
            CallError::NotRun { reason: describe(&error) }
        }
        TurnError::NotRecorded { .. }
        | TurnError::Record(_)
        | TurnError::StepTaken { .. }
        | TurnError::StepDiverged { .. }
        | TurnError::StepUnknown { .. }
        | TurnError::Schedule(_)
        | TurnError::Cancelled
        | TurnError::TooLarge { .. }
        | TurnError::Call(_)
        | TurnError::Remote { .. }
        | TurnError::Behaviour(_) => CallError::Handler(Arc::new(error)),
    }
}

/// An error with its causes, in one line.
pub(crate) fn describe(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

/// The key of the runtime's own call that wakes an actor.
pub(crate) fn wake_name(actor: &ActorId) -> String {
    format!("wake {:016x}", u64::from(row::wake_bucket(actor)))
}
