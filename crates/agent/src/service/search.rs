//! Finding what was said, in one agent's conversations or in those of all.

use kelpie_memory::layout;
use kelpie_memory::search::{Query, ROWS_MAX};
use kelpie_runtime::RecordRange;

use super::{Agents, failure};
use crate::actor::rows;
use crate::error::AgentError;
use crate::message::{Message, MessageBody};
use crate::query::{AgentQuery, PAGE_MAX, Page, Scope};
use crate::show;

/// Log rows that are read at once.
const ROWS_AT_ONCE: usize = 500;

/// A question to what was said.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MessageQuery {
    /// Words to find.
    pub text: String,
    /// Only of this agent.
    pub agent_id: Option<String>,
    /// Only in the conversation of this id.
    pub conversation_id: Option<String>,
    /// Only from this time on, in milliseconds of Unix time.
    pub from_ms: Option<u64>,
    /// Only up to this time.
    pub to_ms: Option<u64>,
    /// At most so many.
    pub limit: usize,
}

/// A message that a search has found.
#[derive(Debug, Clone, PartialEq)]
pub struct FoundMessage {
    /// Whose.
    pub agent_id: String,
    /// Where it was said, unless in the conversation that every agent has.
    pub conversation_id: Option<String>,
    /// The message.
    pub message: Message,
}

impl Agents {
    /// The messages that have all words, newest first. It looks at so many rows as a search can
    /// afford: of each agent those of its newest conversations first.
    pub async fn find_messages(
        &self,
        scope: &Scope,
        query: &MessageQuery,
    ) -> Result<Vec<FoundMessage>, AgentError> {
        let agents: Vec<String> = match (&query.agent_id, &query.conversation_id) {
            (Some(agent), _) => vec![self.get(scope, agent).await?.id],
            (None, Some(id)) => vec![self.conversation_name(scope, id).await?.agent_id],
            (None, None) => {
                let page = Page { limit: PAGE_MAX, ..Page::default() };
                let all = self.list(scope, &AgentQuery { page, ..AgentQuery::default() }).await?;
                all.into_iter().map(|agent| agent.id).collect()
            }
        };
        let words = Query::new(&query.text);
        let (mut found, mut looked_at) = (Vec::new(), 0);
        for agent in agents {
            if looked_at >= ROWS_MAX {
                break;
            }
            looked_at += self.find_in(scope, &agent, query, &words, ROWS_MAX - looked_at, &mut found).await?;
        }
        found.sort_by_key(|hit| std::cmp::Reverse(hit.message.date_ms));
        found.truncate(query.limit);
        Ok(found)
    }

    /// Adds what one agent's log has; how many rows were looked at.
    async fn find_in(
        &self,
        scope: &Scope,
        agent: &str,
        query: &MessageQuery,
        words: &Query,
        rows_max: usize,
        found: &mut Vec<FoundMessage>,
    ) -> Result<usize, AgentError> {
        let view = match self.view(scope, agent).await {
            Ok(view) => view,
            // Deleted since it was listed.
            Err(AgentError::NotFound { .. }) => return Ok(0),
            Err(error) => return Err(error),
        };
        let mut range = RecordRange::prefix(layout::LOG).reversed().limit(ROWS_AT_ONCE);
        let mut looked_at = 0;
        while looked_at < rows_max {
            let rows = view.range(range.clone()).await.map_err(|error| failure::read(&error))?;
            let more = rows.len() == ROWS_AT_ONCE;
            looked_at += rows.len();
            for (position, entry) in rows::entries(rows).map_err(|error| failure::read(&error))? {
                range.end = layout::log(position).into();
                let number = layout::conversation_of(position);
                let conversation_id = (number > 0).then(|| show::conversation_id(agent, number));
                let elsewhere = query.conversation_id.is_some() && query.conversation_id != conversation_id;
                let in_time = query.from_ms.is_none_or(|from| entry.date_ms >= from)
                    && query.to_ms.is_none_or(|to| entry.date_ms <= to);
                if elsewhere || !in_time {
                    continue;
                }
                let shown = show::messages(agent, position, &entry, false).into_iter();
                let hits = shown.filter(|(_, message)| says(message).is_some_and(|text| words.finds(text)));
                found.extend(hits.map(|(_, message)| FoundMessage {
                    agent_id: agent.to_owned(),
                    conversation_id: conversation_id.clone(),
                    message,
                }));
            }
            if !more {
                break;
            }
        }
        Ok(looked_at)
    }
}

/// What a message says, if it says something to somebody.
fn says(message: &Message) -> Option<&str> {
    match &message.body {
        MessageBody::System { text }
        | MessageBody::User { text }
        | MessageBody::Reasoning { text }
        | MessageBody::Assistant { text } => Some(text),
        MessageBody::ToolCall { .. }
        | MessageBody::ToolReturn { .. }
        | MessageBody::ApprovalRequest { .. }
        | MessageBody::ApprovalResponse { .. }
        | MessageBody::Summary { .. } => None,
    }
}
