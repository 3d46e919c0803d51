//! Conversations: begun, changed, forked, ended.
//!
//! A fork copies nothing: it names the parts of the log that it takes over, which never
//! change. Rows of a conversation that is deleted go with it, unless a fork still names them.

use std::collections::BTreeSet;

use kelpie_core::record;
use kelpie_memory::layout;
use kelpie_memory::name::Place;
use kelpie_memory::recall::Said;
use kelpie_runtime::{HandlerError, RecordRange, TurnError};

use super::desk::Desk;
use super::manage::served;
use super::rows::{self, Conversation, Span};
use super::{ChangeConversation, ForkConversation, code, invalid};
use crate::conversation::{ConversationRecord, NewConversation};
use crate::record::AgentRecord;
use crate::show;

/// Characters of the texts that people keep with a conversation.
const TEXT_CHARS_MAX: usize = 10_000;

impl Desk<'_> {
    /// Begins a conversation.
    pub(super) fn begin_conversation(
        &mut self,
        new: NewConversation,
    ) -> Result<ConversationRecord, HandlerError> {
        let mut talk = self.next_conversation()?;
        let NewConversation { summary, description, hidden, model, context_window } = new;
        let about = ConversationRecord {
            summary,
            description,
            hidden,
            model,
            context_window,
            ..self.new_about(talk.number)
        };
        self.checked_about(&about)?;
        talk.about = Some(about.clone());
        self.save_new(&talk);
        Ok(about)
    }

    /// Changes what is kept with a conversation.
    pub(super) async fn update_conversation(
        &mut self,
        change: ChangeConversation,
    ) -> Result<ConversationRecord, HandlerError> {
        let ChangeConversation { number, change } = change;
        self.go_to(number).await?;
        let mut about = self.talk.about.clone().ok_or_else(no_conversation)?;
        about.summary = change.summary.or(about.summary);
        about.description = change.description.or(about.description);
        about.archived = change.archived.unwrap_or(about.archived);
        about.model = change.model.or(about.model);
        about.context_window = change.context_window.or(about.context_window);
        about.updated_ms = self.turn.now_ms();
        self.checked_about(&about)?;
        self.talk.about = Some(about.clone());
        Ok(about)
    }

    /// Ends a conversation: its run is cancelled, its messages go, unless a fork has them.
    pub(super) async fn delete_conversation(&mut self, number: u64) -> Result<(), HandlerError> {
        self.cancel_all(Some(number)).await?;
        self.go_to(number).await?;
        let about = self.talk.about.clone().ok_or_else(no_conversation)?;
        let inherited = std::mem::take(&mut self.talk.inherited);
        self.go_to(0).await?;
        self.turn.clear(rows::conversation(number));
        self.turn.index_clear(rows::INDEX_CONVERSATIONS, &rows::created_entry(about.created_ms, &about.id));
        let gone = inherited.iter().map(|span| layout::conversation_of(span.from)).chain([number]);
        for number in gone.collect::<BTreeSet<u64>>() {
            if self.conversation(number).await?.is_none() && !self.inherited_by_another(number).await? {
                self.turn
                    .clear_range(rows::log_range(layout::first_of(number), layout::first_of(number + 1)));
            }
        }
        Ok(())
    }

    /// Begins a conversation with what was said in another.
    pub(super) async fn fork_conversation(
        &mut self,
        fork: ForkConversation,
    ) -> Result<ConversationRecord, HandlerError> {
        let ForkConversation { number, to, hidden } = fork;
        let source = self.conversation(number).await?.ok_or_else(no_conversation)?;
        let end = self.fork_end(&source, to).await?;
        let mut talk = self.next_conversation()?;
        talk.inherited = source.spans(0, end);
        let in_context = source.context_from < end;
        if let (true, Some(first)) = (in_context, talk.inherited.first()) {
            talk.context_from = source.context_from.max(first.from);
            talk.summary_at = source.summary_at.filter(|at| *at < end);
        } else {
            talk.context_from = talk.inherited.first().map_or(talk.log_first, |span| span.from);
        }
        let from = source.about.unwrap_or_default();
        let about = ConversationRecord {
            summary: from.summary,
            description: from.description,
            model: from.model,
            context_window: from.context_window,
            hidden,
            ..self.new_about(talk.number)
        };
        talk.about = Some(about.clone());
        self.save_new(&talk);
        Ok(about)
    }

    /// The position behind the last entry that a fork takes over: whole exchanges of calls and
    /// results, and nothing of a run that goes on.
    async fn fork_end(&mut self, source: &Conversation, to: Option<u64>) -> Result<u64, HandlerError> {
        let mut end = source.log_next;
        // What pauses has been said whole.
        if let Some(current) = source.current.as_ref().filter(|current| !current.machine.pauses()) {
            end = self.run(current.number).await?.and_then(|run| run.first).unwrap_or(end);
            if let Some(first) = self.first_of_machine(source, end).await? {
                end = first;
            }
        }
        let Some(to) = to else { return Ok(end) };
        let known = source.spans(to, to + 1);
        if known.is_empty() || self.entry(to).await?.is_none() {
            return Err(HandlerError::app(code::NO_MESSAGE, "Message not found"));
        }
        let mut cut = (to + 1).min(end);
        for span in source.spans(cut, end) {
            let rows = self.turn.range(rows::log_range(span.from, span.to)).await?;
            for (position, entry) in rows::entries(rows)? {
                match entry.said {
                    Said::Result { .. } => cut = position + 1,
                    Said::Decided { .. } => {}
                    Said::Heard { .. } | Said::Answer { .. } | Said::Summary { .. } => return Ok(cut),
                }
            }
        }
        Ok(cut)
    }

    /// Where the machine began whose run goes on after an approval: further back than its run.
    async fn first_of_machine(&mut self, source: &Conversation, end: u64) -> Result<Option<u64>, TurnError> {
        let Some(answer_at) = source.current.as_ref().map(|current| current.answer_at) else {
            return Ok(None);
        };
        if answer_at >= end {
            return Ok(None);
        }
        Ok(self.entry(answer_at).await?.filter(|entry| matches!(&entry.said, Said::Answer { calls, .. } if calls.iter().any(|call| call.asks))).map(|_| answer_at))
    }

    /// Forgets what was said in a conversation.
    pub(super) async fn reset(&mut self, number: u64) -> Result<AgentRecord, HandlerError> {
        self.go_to(number).await?;
        self.refuse_while_pending()?;
        self.refuse_while_busy()?;
        let end = self.talk.log_next;
        if !self.inherited_by_another(number).await? {
            self.turn.clear_range(rows::log_range(self.talk.log_first, end));
        }
        self.talk.inherited.clear();
        self.talk.summary_at = None;
        (self.talk.log_first, self.talk.context_from) = (end, end);
        Ok(self.agent.clone())
    }

    /// Whether another conversation names parts of this one.
    async fn inherited_by_another(&mut self, number: u64) -> Result<bool, TurnError> {
        let rows = self.turn.range(RecordRange::prefix(rows::CONVERSATIONS)).await?;
        for (_, row) in rows {
            let talk: Conversation = record::decode(&row)?;
            let names = |span: &Span| layout::conversation_of(span.from) == number;
            if talk.number != number && talk.inherited.iter().any(names) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn next_conversation(&mut self) -> Result<Conversation, HandlerError> {
        if self.progress.conversations + 1 >= layout::CONVERSATIONS_MAX {
            let message = format!("an agent may begin at most {} conversations", layout::CONVERSATIONS_MAX);
            return Err(invalid("agent_id", message));
        }
        self.progress.conversations += 1;
        Ok(Conversation::new(self.progress.conversations))
    }

    fn new_about(&self, number: u64) -> ConversationRecord {
        let now_ms = self.turn.now_ms();
        ConversationRecord {
            id: show::conversation_id(&self.agent.id, number),
            agent_id: self.agent.id.clone(),
            created_ms: now_ms,
            updated_ms: now_ms,
            ..ConversationRecord::default()
        }
    }

    fn checked_about(&self, about: &ConversationRecord) -> Result<(), HandlerError> {
        for (field, text) in [("summary", &about.summary), ("description", &about.description)] {
            if text.as_ref().is_some_and(|text| text.chars().count() > TEXT_CHARS_MAX) {
                return Err(invalid(field, format!("must have at most {TEXT_CHARS_MAX} characters")));
            }
        }
        if about.context_window == Some(0) {
            return Err(invalid("context_window_limit", "must be at least 1"));
        }
        match &about.model {
            Some(handle) => served(self.shared, handle),
            None => Ok(()),
        }
    }

    fn save_new(&mut self, talk: &Conversation) {
        let Some(about) = &talk.about else { return };
        self.turn.set(rows::conversation(talk.number), record::encode(talk));
        let entry = rows::created_entry(about.created_ms, &about.id);
        self.turn.index_set(rows::INDEX_CONVERSATIONS, &entry, self.agent.id.clone());
    }
}

fn no_conversation() -> HandlerError {
    HandlerError::app(code::NO_CONVERSATION, "Conversation not found")
}

/// The position of a message of this agent.
pub(crate) fn position_of(agent_id: &str, message_id: &str) -> Option<u64> {
    kelpie_memory::name::place(show::MESSAGE, agent_id, message_id).map(|Place { position, .. }| position)
}
