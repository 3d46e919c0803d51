//! Conversations: begin, list, show, change, fork, delete.

use kelpie_core::call::IdempotencyKey;
use kelpie_runtime::{RecordRange, View};

use super::{Agents, failure, not_found};
use crate::actor::{ACTOR_TYPE, ChangeConversation, ForkConversation, operation, position_of, rows};
use crate::conversation::{
    ConversationName, ConversationQuery, ConversationRecord, NewConversation, UpdateConversation,
};
use crate::error::{AgentError, Thing};
use crate::query::{Order, PAGE_MAX, Scope};
use crate::show;

/// Index rows that are read at once.
const ROWS_AT_ONCE: usize = 200;

impl Agents {
    /// Begins a conversation with an agent.
    pub async fn begin_conversation(
        &self,
        scope: &Scope,
        agent: &str,
        key: Option<&IdempotencyKey>,
        new: NewConversation,
    ) -> Result<ConversationRecord, AgentError> {
        self.call(scope, agent, key, operation::BEGIN_CONVERSATION, &new).await
    }

    /// The conversation of that id.
    pub async fn conversation_name(&self, scope: &Scope, id: &str) -> Result<ConversationName, AgentError> {
        let gone = || not_found(Thing::Conversation, id);
        let agent_id = self.owner(scope, show::CONVERSATION, Thing::Conversation, id).await?;
        let number =
            show::conversation_number(&agent_id, id).filter(|number| *number > 0).ok_or_else(gone)?;
        let name = ConversationName { agent_id, number };
        in_view(&self.view(scope, &name.agent_id).await?, &name).await?;
        Ok(name)
    }

    /// What is kept with a conversation.
    pub async fn conversation(
        &self,
        scope: &Scope,
        name: &ConversationName,
    ) -> Result<ConversationRecord, AgentError> {
        let view = self.view(scope, &name.agent_id).await?;
        let talk = in_view(&view, name).await?;
        talk.about.ok_or_else(|| not_found(Thing::Conversation, "default"))
    }

    /// Changes what is kept with a conversation.
    pub async fn update_conversation(
        &self,
        scope: &Scope,
        name: &ConversationName,
        key: Option<&IdempotencyKey>,
        change: UpdateConversation,
    ) -> Result<ConversationRecord, AgentError> {
        let change = ChangeConversation { number: name.number, change };
        self.call(scope, &name.agent_id, key, operation::UPDATE_CONVERSATION, &change).await
    }

    /// Ends a conversation; its messages go, unless a fork has them.
    pub async fn delete_conversation(
        &self,
        scope: &Scope,
        name: &ConversationName,
        key: Option<&IdempotencyKey>,
    ) -> Result<(), AgentError> {
        self.call(scope, &name.agent_id, key, operation::DELETE_CONVERSATION, &name.number).await
    }

    /// Begins a conversation with what was said in another, up to a message or all of it.
    pub async fn fork_conversation(
        &self,
        scope: &Scope,
        name: &ConversationName,
        key: Option<&IdempotencyKey>,
        message: Option<&str>,
        hidden: bool,
    ) -> Result<ConversationRecord, AgentError> {
        let position =
            |id: &str| position_of(&name.agent_id, id).ok_or_else(|| not_found(Thing::Message, id));
        let to = message.map(position).transpose()?;
        let fork = ForkConversation { number: name.number, to, hidden };
        self.call(scope, &name.agent_id, key, operation::FORK_CONVERSATION, &fork).await
    }

    /// Conversations by time of creation.
    pub async fn conversations(
        &self,
        scope: &Scope,
        query: &ConversationQuery,
    ) -> Result<Vec<ConversationRecord>, AgentError> {
        let page = &query.page;
        let backwards = page.before.is_some() && page.after.is_none();
        let reverse = (page.order == Order::Descending) != backwards;
        let (later, earlier) = match page.order {
            Order::Ascending => (&page.after, &page.before),
            Order::Descending => (&page.before, &page.after),
        };
        let mut range = RecordRange::prefix(b"").limit(ROWS_AT_ONCE);
        range.reverse = reverse;
        if let Some(id) = later {
            range.begin = [self.place(scope, id).await?.as_slice(), b"\0"].concat().into();
        }
        if let Some(id) = earlier {
            range.end = self.place(scope, id).await?.into();
        }
        let limit = page.limit.clamp(1, PAGE_MAX);
        let mut found = Vec::new();
        while found.len() < limit {
            let index = rows::INDEX_CONVERSATIONS;
            let entries = self.runtime.index(&scope.tenant, ACTOR_TYPE, index, range.clone()).await;
            let entries = entries.map_err(|error| failure::index(&error))?;
            for (entry, agent) in &entries {
                found.extend(self.listed_conversation(scope, entry, agent, query).await?);
            }
            let Some((last, _)) = entries.last().filter(|_| entries.len() == ROWS_AT_ONCE) else { break };
            if reverse {
                range.end = last.clone();
            } else {
                range.begin = [last, &b"\0"[..]].concat().into();
            }
        }
        found.truncate(limit);
        if backwards {
            found.reverse();
        }
        Ok(found)
    }

    /// Where a conversation stands in the index.
    async fn place(&self, scope: &Scope, id: &str) -> Result<Vec<u8>, AgentError> {
        let name = self.conversation_name(scope, id).await?;
        let about = self.conversation(scope, &name).await?;
        Ok(rows::created_entry(about.created_ms, &about.id))
    }

    /// The conversation of an index entry, if it fits; one that was deleted since is left out.
    async fn listed_conversation(
        &self,
        scope: &Scope,
        entry: &[u8],
        agent: &[u8],
        query: &ConversationQuery,
    ) -> Result<Option<ConversationRecord>, AgentError> {
        let (Some(id), Ok(agent)) = (rows::entry_agent(entry), std::str::from_utf8(agent)) else {
            return Ok(None);
        };
        if query.agent_id.as_ref().is_some_and(|wanted| wanted != agent) {
            return Ok(None);
        }
        let Some(number) = show::conversation_number(agent, id) else { return Ok(None) };
        let name = ConversationName { agent_id: agent.to_owned(), number };
        match self.conversation(scope, &name).await {
            Ok(about) => Ok(fits(&about, query).then_some(about)),
            Err(AgentError::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// A conversation as the view sees it.
pub(super) async fn in_view(view: &View, name: &ConversationName) -> Result<rows::Conversation, AgentError> {
    let found = rows::conversation_in(view, name.number).await.map_err(|error| failure::read(&error))?;
    let id = || show::conversation_id(&name.agent_id, name.number);
    found.ok_or_else(|| not_found(Thing::Conversation, &id()))
}

fn fits(about: &ConversationRecord, query: &ConversationQuery) -> bool {
    let summary = about.summary.as_deref().unwrap_or_default().to_lowercase();
    !about.hidden
        && query.archived.is_none_or(|archived| archived == about.archived)
        && query.summary.as_ref().is_none_or(|wanted| summary.contains(&wanted.to_lowercase()))
}
