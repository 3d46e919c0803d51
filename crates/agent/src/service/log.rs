//! Messages and runs: send, list, show, cancel.

use kelpie_core::call::IdempotencyKey;
use kelpie_core::record;
use kelpie_core::run::StopReason;
use kelpie_memory::layout;
use kelpie_memory::name::{self, Place};
use kelpie_memory::recall::Verdict;
use kelpie_runtime::{RecordRange, View};

use super::{Agents, failure, not_found};
use crate::actor::{ACTOR_TYPE, Accepted, Decide, Say, operation, rows};
use crate::conversation::ConversationName;
use crate::error::{AgentError, Thing};
use crate::message::{Message, MessageBody, NewMessage};
use crate::outcome::{Compacted, RunRecord, RunResult};
use crate::prompt;
use crate::query::{Order, PAGE_MAX, Page, Scope, SendOptions};
use crate::record::AgentRecord;
use crate::show;

/// Log rows that are read at once.
const ROWS_AT_ONCE: usize = 200;

impl Agents {
    /// Says something to an agent and waits until the run that it sets off has ended. A
    /// repetition with the same key waits for the same run and gets the same answer.
    pub async fn send(
        &self,
        scope: &Scope,
        agent: &str,
        key: Option<&IdempotencyKey>,
        messages: Vec<NewMessage>,
        options: SendOptions,
    ) -> Result<RunResult, AgentError> {
        let run_id = self.accept(scope, agent, key, messages, options).await?;
        let (view, run) = self.ended(scope, agent, &run_id).await?;
        result(agent, &view, run).await
    }

    /// Says something to an agent; its run goes on by itself.
    pub async fn send_and_leave(
        &self,
        scope: &Scope,
        agent: &str,
        key: Option<&IdempotencyKey>,
        messages: Vec<NewMessage>,
        options: SendOptions,
    ) -> Result<RunRecord, AgentError> {
        let run_id = self.accept(scope, agent, key, messages, options).await?;
        self.run(scope, agent, &run_id).await
    }

    /// Commits what is said; its run's id.
    pub(super) async fn accept(
        &self,
        scope: &Scope,
        agent: &str,
        key: Option<&IdempotencyKey>,
        messages: Vec<NewMessage>,
        options: SendOptions,
    ) -> Result<String, AgentError> {
        let own = own_key(key, messages.first().and_then(|message| message.otid.as_deref()))?;
        let say = Say { messages, options };
        let accepted: Accepted = self.call(scope, agent, own.as_ref(), operation::MESSAGE, &say).await?;
        Ok(accepted.run_id)
    }

    /// Decides about all calls that wait for it; the run in which the agent goes on. Without a
    /// key, the sender's own id for the decision is one.
    pub async fn decide(
        &self,
        scope: &Scope,
        agent: &str,
        key: Option<&IdempotencyKey>,
        otid: Option<&str>,
        verdicts: Vec<Verdict>,
        options: SendOptions,
    ) -> Result<RunRecord, AgentError> {
        let own = own_key(key, otid)?;
        let decide = Decide { verdicts, options };
        let accepted: Accepted = self.call(scope, agent, own.as_ref(), operation::DECIDE, &decide).await?;
        self.run(scope, agent, &accepted.run_id).await
    }

    /// Waits until a run has ended; what it did and said.
    pub async fn run_to_end(
        &self,
        scope: &Scope,
        agent: &str,
        run_id: &str,
    ) -> Result<RunResult, AgentError> {
        let (view, run) = self.ended(scope, agent, run_id).await?;
        result(agent, &view, run).await
    }

    /// Messages of the conversation that every agent has, page by page.
    pub async fn messages(
        &self,
        scope: &Scope,
        agent: &str,
        page: &Page,
    ) -> Result<Vec<Message>, AgentError> {
        let name = ConversationName { agent_id: agent.to_owned(), number: 0 };
        self.conversation_messages(scope, &name, page).await
    }

    /// Messages of a conversation, page by page.
    pub async fn conversation_messages(
        &self,
        scope: &Scope,
        name: &ConversationName,
        page: &Page,
    ) -> Result<Vec<Message>, AgentError> {
        let agent = name.agent_id.as_str();
        let view = self.view(scope, agent).await?;
        let talk = super::conversations::in_view(&view, name).await?;
        let place = |id: &Option<String>| match id {
            None => Ok(None),
            Some(id) => match name::place("message", agent, id) {
                Some(place) => Ok(Some(place)),
                None => Err(not_found(Thing::Message, id)),
            },
        };
        let walk = Walk::new(page, place(&page.before)?, place(&page.after)?);
        let from = walk.after.map_or(0, |from| from.position);
        let to = walk.before.map_or(u64::MAX, |to| to.position + 1);
        let mut spans = talk.spans(from, to);
        if walk.reverse {
            spans.reverse();
        }
        let mut found = Vec::new();
        for span in spans {
            let mut range = RecordRange { limit: ROWS_AT_ONCE, ..rows::log_range(span.from, span.to) };
            range.reverse = walk.reverse;
            while found.len() < walk.limit {
                let rows = view.range(range.clone()).await.map_err(|error| failure::read(&error))?;
                let more = rows.len() == ROWS_AT_ONCE;
                let entries = rows::entries(rows).map_err(|error| failure::read(&error))?;
                for (position, entry) in &entries {
                    let mut shown = show::messages(agent, *position, entry, false);
                    shown.retain(|(place, _)| walk.contains(*place));
                    if walk.reverse {
                        shown.reverse();
                    }
                    found.extend(shown.into_iter().map(|(_, message)| message));
                }
                let Some((last, _)) = entries.last().filter(|_| more) else { break };
                if walk.reverse {
                    range.end = layout::log(*last).into();
                } else {
                    range.begin = layout::log(last + 1).into();
                }
            }
        }
        Ok(walk.in_order(found))
    }

    /// Runs, page by page.
    pub async fn runs(&self, scope: &Scope, agent: &str, page: &Page) -> Result<Vec<RunRecord>, AgentError> {
        let view = self.view(scope, agent).await?;
        let walk = Walk::of_ids("run", Thing::Run, agent, page)?;
        let rows = view.range(walk.rows(rows::RUNS)).await.map_err(|error| failure::read(&error))?;
        let runs: Result<Vec<RunRecord>, _> = rows.iter().map(|(_, row)| record::decode(row)).collect();
        Ok(walk.in_order(runs.map_err(|error| failure::damaged(&error))?))
    }

    /// Whose run this is: clients name a run by its id alone.
    pub async fn agent_of_run(&self, scope: &Scope, run_id: &str) -> Result<String, AgentError> {
        self.owner(scope, show::RUN, Thing::Run, run_id).await
    }

    /// The agent that a thing with this id belongs to.
    pub(super) async fn owner(
        &self,
        scope: &Scope,
        kind: &str,
        thing: Thing,
        id: &str,
    ) -> Result<String, AgentError> {
        let gone = || not_found(thing, id);
        let owner = show::owner_of(kind, id).ok_or_else(gone)?;
        let range = RecordRange::prefix(&owner).limit(1);
        let found = self.runtime.index(&scope.tenant, ACTOR_TYPE, rows::INDEX_OWNERS, range).await;
        let found = found.map_err(|error| failure::index(&error))?;
        let (_, agent) = found.into_iter().next().ok_or_else(gone)?;
        String::from_utf8(agent.to_vec()).map_err(|_| gone())
    }

    /// The messages of the entry that a message's id names: the message and what came with it.
    pub async fn message(&self, scope: &Scope, id: &str) -> Result<Vec<Message>, AgentError> {
        let gone = || not_found(Thing::Message, id);
        let agent = self.owner(scope, show::MESSAGE, Thing::Message, id).await?;
        let place = name::place(show::MESSAGE, &agent, id).ok_or_else(gone)?;
        let view = self.view(scope, &agent).await?;
        let row = view.get(&layout::log(place.position)).await.map_err(|error| failure::read(&error))?;
        let entry = rows::decoded(row).map_err(|error| failure::read(&error))?.ok_or_else(gone)?;
        let shown = show::messages(&agent, place.position, &entry, false);
        let named = shown.into_iter().filter(|(at, _)| *at == place).map(|(_, message)| message);
        let named: Vec<Message> = named.collect();
        if named.is_empty() { Err(gone()) } else { Ok(named) }
    }

    /// The whole prompt before the messages: instructions and memory, as the model gets them.
    pub async fn system_prompt(&self, scope: &Scope, agent: &str) -> Result<String, AgentError> {
        Ok(prompt::system(&self.get(scope, agent).await?))
    }

    /// The newest run of a conversation.
    pub async fn last_run(&self, scope: &Scope, name: &ConversationName) -> Result<String, AgentError> {
        let mut page = Page { limit: PAGE_MAX, ..Page::default() };
        loop {
            let runs = self.runs(scope, &name.agent_id, &page).await?;
            if let Some(run) = runs.iter().find(|run| run.conversation == name.number) {
                return Ok(run.id.clone());
            }
            match runs.last() {
                Some(last) if runs.len() == PAGE_MAX => page.after = Some(last.id.clone()),
                Some(_) | None => return Err(not_found(Thing::Run, "")),
            }
        }
    }

    /// One run.
    pub async fn run(&self, scope: &Scope, agent: &str, run_id: &str) -> Result<RunRecord, AgentError> {
        let view = self.view(scope, agent).await?;
        run_in(&view, agent, run_id).await
    }

    /// What a run that has ended did and said.
    pub async fn run_result(
        &self,
        scope: &Scope,
        agent: &str,
        run_id: &str,
    ) -> Result<RunResult, AgentError> {
        let view = self.view(scope, agent).await?;
        let run = run_in(&view, agent, run_id).await?;
        result(agent, &view, run).await
    }

    /// Ends a run that goes on or waits; one that has ended stays as it is.
    pub async fn cancel(&self, scope: &Scope, agent: &str, run_id: &str) -> Result<RunRecord, AgentError> {
        let run: RunRecord = self.call(scope, agent, None, operation::CANCEL, &run_id.to_owned()).await?;
        Ok(run)
    }

    /// Ends all runs that go on, wait, or wait for an approval: of one conversation, or of all.
    pub async fn cancel_all(
        &self,
        scope: &Scope,
        agent: &str,
        conversation: Option<u64>,
    ) -> Result<Vec<RunRecord>, AgentError> {
        self.call(scope, agent, None, operation::CANCEL_ALL, &conversation).await
    }

    /// Puts a summary in the place of the oldest part of a conversation's prompt.
    pub async fn compact(
        &self,
        scope: &Scope,
        name: &ConversationName,
        key: Option<&IdempotencyKey>,
    ) -> Result<Compacted, AgentError> {
        let agent = name.agent_id.as_str();
        let accepted: Accepted = self.call(scope, agent, key, operation::COMPACT, &name.number).await?;
        let ended = self.run_to_end(scope, agent, &accepted.run_id).await?;
        if let Some(failure) = ended.failure {
            return Ok(Compacted::Failed { run_id: ended.run_id, failure });
        }
        let made = ended.messages.into_iter().find_map(|message| {
            let MessageBody::Summary { text, before, after } = message.body else { return None };
            Some((text, before, after))
        });
        let (summary, before, after) = made.unwrap_or_default();
        Ok(Compacted::Done { summary, before, after })
    }

    /// Forgets the messages of a conversation.
    pub async fn reset(
        &self,
        scope: &Scope,
        agent: &str,
        key: Option<&IdempotencyKey>,
    ) -> Result<AgentRecord, AgentError> {
        self.call(scope, agent, key, operation::RESET, &0_u64).await
    }
}

/// The key of a call: the one that came with it, else the sender's own id for what it says.
fn own_key(key: Option<&IdempotencyKey>, otid: Option<&str>) -> Result<Option<IdempotencyKey>, AgentError> {
    match (key, otid) {
        (Some(key), _) => Ok(Some(key.clone())),
        (None, None) => Ok(None),
        (None, Some(otid)) => {
            let key = IdempotencyKey::new(&format!("otid:{otid}"));
            let bad = |message| AgentError::Invalid { field: "otid".to_owned(), message };
            key.map(Some).map_err(|error| bad(error.problem))
        }
    }
}

/// A run as the view sees it.
pub(super) async fn run_in(view: &View, agent: &str, run_id: &str) -> Result<RunRecord, AgentError> {
    let number = show::run_number(agent, run_id).ok_or_else(|| not_found(Thing::Run, run_id))?;
    let row = view.get(&rows::run(number)).await.map_err(|error| failure::read(&error))?;
    let run = rows::decoded(row).map_err(|error| failure::read(&error))?;
    run.ok_or_else(|| not_found(Thing::Run, run_id))
}

/// The messages of a run from a position on, with their places; not what set it off.
pub(super) async fn shown(
    agent: &str,
    view: &View,
    run: &RunRecord,
    from: u64,
) -> Result<Vec<(Place, Message)>, AgentError> {
    let rows = view.range(rows::log_range(from, run.end.unwrap_or(u64::MAX))).await;
    let entries = rows.and_then(rows::entries).map_err(|error| failure::read(&error))?;
    let own = entries.iter().filter(|(_, entry)| entry.step > 0 && entry.run_id == run.id);
    Ok(own
        .flat_map(|(position, entry)| show::messages(agent, *position, entry, run.tool_calls_verbatim))
        .collect())
}

async fn result(agent: &str, view: &View, run: RunRecord) -> Result<RunResult, AgentError> {
    let messages = match run.first {
        Some(first) => {
            shown(agent, view, &run, first).await?.into_iter().map(|(_, message)| message).collect()
        }
        None => Vec::new(),
    };
    let RunRecord { id: run_id, stop_reason, failure, usage, .. } = run;
    Ok(RunResult { run_id, messages, stop_reason: stop_reason.unwrap_or(StopReason::Error), failure, usage })
}

/// How a page walks along positions.
pub(super) struct Walk {
    /// Only what is later.
    after: Option<Place>,
    /// Only what is earlier.
    before: Option<Place>,
    limit: usize,
    reverse: bool,
    backwards: bool,
}

impl Walk {
    fn new(page: &Page, before: Option<Place>, after: Option<Place>) -> Self {
        // Away from a `before` alone one walks backwards, and shows in order.
        let backwards = before.is_some() && after.is_none();
        let (before, after) = match page.order {
            Order::Ascending => (before, after),
            Order::Descending => (after, before),
        };
        let reverse = (page.order == Order::Descending) != backwards;
        Self { after, before, limit: page.limit.clamp(1, PAGE_MAX), reverse, backwards }
    }

    /// For things whose ids tell their row.
    pub(super) fn of_ids(kind: &str, thing: Thing, agent: &str, page: &Page) -> Result<Self, AgentError> {
        let place = |id: &Option<String>| {
            let place =
                id.as_ref().map(|id| name::place(kind, agent, id).ok_or_else(|| not_found(thing, id)));
            place.transpose()
        };
        Ok(Self::new(page, place(&page.before)?, place(&page.after)?))
    }

    fn contains(&self, place: Place) -> bool {
        self.after.is_none_or(|after| place > after) && self.before.is_none_or(|before| place < before)
    }

    /// The rows of a page of things that are one row each.
    pub(super) fn rows(&self, prefix: &[u8]) -> RecordRange {
        let mut range = RecordRange::prefix(prefix).limit(self.limit);
        let row = |position: u64| [prefix, &position.to_be_bytes()].concat();
        if let Some(after) = self.after {
            range.begin = row(after.position + 1).into();
        }
        if let Some(before) = self.before {
            range.end = row(before.position).into();
        }
        range.reverse = self.reverse;
        range
    }

    pub(super) fn in_order<T>(&self, mut found: Vec<T>) -> Vec<T> {
        found.truncate(self.limit);
        if self.backwards {
            found.reverse();
        }
        found
    }
}
