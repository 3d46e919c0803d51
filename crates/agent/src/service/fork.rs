//! Agents made from others.

use kelpie_core::call::{CallKey, IdempotencyKey};
use kelpie_core::id::ActorId;
use kelpie_core::run::StopReason;
use kelpie_memory::layout;
use kelpie_memory::recall::Said;
use kelpie_runtime::{RecordRange, View};

use super::log::run_in;
use super::{Agents, failure, not_found};
use crate::actor::fork::{self, CopyRows, Publish};
use crate::actor::operation;
use crate::actor::rows::{self, Conversation, Progress};
use crate::error::{AgentError, Thing};
use crate::query::Scope;
use crate::record::{AgentRecord, ForkOrigin};
use crate::show;

/// Rows that are read at once.
const ROWS_AT_ONCE: usize = 200;
/// Bytes of rows that one turn takes over: a row may be half as long again.
const BYTES_AT_ONCE: usize = 1 << 20;

impl Agents {
    /// Makes an agent with another's settings, its memory as it is now, and its messages: all of
    /// the conversation that every agent has, or those up to the end of a run. With a key it is
    /// the same agent however often it is tried.
    ///
    /// Messages of a run that goes on are left out. What is put aside or deleted in archival
    /// memory meanwhile may or may not be in the fork.
    pub async fn fork(
        &self,
        scope: &Scope,
        agent: &str,
        key: Option<&IdempotencyKey>,
        name: Option<String>,
        at: Option<String>,
    ) -> Result<AgentRecord, AgentError> {
        let origin = ForkOrigin { agent_id: agent.to_owned(), run_id: at, name };
        let drawn = IdempotencyKey::new(&format!("fork-{:032x}", self.runtime.env().random_u128()));
        let drawn = drawn.map_err(|error| AgentError::Internal { message: error.to_string() })?;
        let key = key.unwrap_or(&drawn);
        let new = show::agent_id(CallKey::new(&scope.caller, key).0);
        let actor = Self::actor(scope, &new)?;
        // An answer that was lost: it is there.
        match self.get(scope, &new).await {
            Ok(made) if made.forked_from.as_ref() == Some(&origin) => return Ok(made),
            Ok(_) => return Err(AgentError::KeyReused),
            Err(AgentError::NotFound { .. }) => {}
            Err(error) => return Err(error),
        }
        let view = self.view(scope, agent).await?;
        let publish = source(&view, origin).await?;
        let talk = &publish.talk;
        let mut range = RecordRange::prefix(b"").limit(ROWS_AT_ONCE);
        let (mut rows, mut bytes) = (Vec::new(), 0);
        loop {
            // A view of its own each time: a long copy is no long transaction.
            let view = self.view(scope, agent).await?;
            let page = view.range(range.clone()).await.map_err(|error| failure::read(&error))?;
            let last = page.last().map(|(key, _)| key.clone()).filter(|_| page.len() == ROWS_AT_ONCE);
            for (row, value) in page {
                if fork::goes_along(&row, talk, publish.passages) {
                    bytes += row.len() + value.len();
                    rows.push((row.to_vec(), value.to_vec()));
                }
                if bytes >= BYTES_AT_ONCE {
                    self.copy(scope, &actor, agent, std::mem::take(&mut rows)).await?;
                    bytes = 0;
                }
            }
            let Some(last) = last else { break };
            range.begin = [&last[..], b"\0"].concat().into();
        }
        if !rows.is_empty() {
            self.copy(scope, &actor, agent, rows).await?;
        }
        self.call_actor(scope, actor, Some(key), operation::PUBLISH_FORK, &publish).await
    }

    async fn copy(
        &self,
        scope: &Scope,
        actor: &ActorId,
        source: &str,
        rows: Vec<(Vec<u8>, Vec<u8>)>,
    ) -> Result<(), AgentError> {
        // Without a key: a second try may find other rows, and writes them over these.
        let copy = CopyRows { source: source.to_owned(), rows };
        self.call_actor(scope, actor.clone(), None, operation::COPY_ROWS, &copy).await
    }
}

/// What a fork begins with, read at one version.
async fn source(view: &View, origin: ForkOrigin) -> Result<Publish, AgentError> {
    let agent = origin.agent_id.as_str();
    let read = |error| failure::read(&error);
    let record = rows::viewed(view).await.map_err(read)?.ok_or_else(|| not_found(Thing::Agent, agent))?;
    let talk = rows::conversation_in(view, 0).await.map_err(read)?.unwrap_or_default();
    let progress = rows::decoded(view.get(rows::PROGRESS).await.map_err(read)?).map_err(read)?;
    let progress: Progress = progress.unwrap_or_default();
    let end = match &origin.run_id {
        Some(run_id) => end_of(view, agent, run_id).await?,
        None => end_of_talk(view, agent, &talk).await?,
    };
    Ok(Publish { agent: record, origin, talk: fork::cut(&talk, end), passages: progress.passages })
}

/// Where the entries of a run end that a fork may end with.
async fn end_of(view: &View, agent: &str, run_id: &str) -> Result<u64, AgentError> {
    let run = run_in(view, agent, run_id).await?;
    let refused =
        |message: &str| AgentError::Invalid { field: "run_id".to_owned(), message: message.to_owned() };
    if run.conversation != 0 {
        return Err(refused("the run is of another conversation: fork that one"));
    }
    if run.stop_reason == Some(StopReason::RequiresApproval) {
        return Err(refused("its calls wait for a decision: name the run that the decision brought"));
    }
    run.end.ok_or_else(|| refused("it goes on: wait for its end, or cancel it"))
}

/// Where the conversation ends, without the run that goes on and what that began with.
async fn end_of_talk(view: &View, agent: &str, talk: &Conversation) -> Result<u64, AgentError> {
    // What pauses has been said whole.
    let Some(current) = talk.current.as_ref().filter(|current| !current.machine.pauses()) else {
        return Ok(talk.log_next);
    };
    let mut run = run_in(view, agent, &show::run_id(agent, current.number)).await?;
    loop {
        let first = run.first.unwrap_or(talk.log_next);
        let before = first.saturating_sub(1);
        let found = view.range(rows::log_range(before, first + 1)).await.and_then(rows::entries);
        let found = found.map_err(|error| failure::read(&error))?;
        // A decision goes on where an earlier run stood still.
        let decided =
            found.iter().any(|(at, entry)| *at == first && matches!(entry.said, Said::Decided { .. }));
        match found.first().filter(|(at, _)| decided && *at == before && layout::conversation_of(*at) == 0) {
            Some((_, entry)) => run = run_in(view, agent, &entry.run_id).await?,
            None => return Ok(first),
        }
    }
}
