//! Agents, their memory and their messages, as requests.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::{Client, ClientError, Events, IDEMPOTENCY_KEY};
use crate::exit::{Exit, Failure};

/// Agents asked for at a time.
const PAGE: usize = 100;

/// What an agent is created from.
#[derive(Debug, Default)]
pub(crate) struct NewAgent {
    pub(crate) name: Option<String>,
    pub(crate) model: Option<String>,
    pub(crate) memory: Vec<(String, String)>,
    pub(crate) tools: Vec<String>,
    pub(crate) tags: Vec<String>,
    pub(crate) system: Option<String>,
}

impl NewAgent {
    fn body(&self) -> Value {
        let blocks: Vec<Value> =
            self.memory.iter().map(|(label, value)| json!({ "label": label, "value": value })).collect();
        let mut body = json!({ "memory_blocks": blocks, "tools": self.tools, "tags": self.tags });
        for (field, value) in [("name", &self.name), ("model", &self.model), ("system", &self.system)] {
            if let Some(value) = value {
                body[field] = json!(value);
            }
        }
        body
    }
}

impl Client {
    /// All agents, or the first `limit`, page by page.
    pub(crate) async fn agents(&self, limit: Option<usize>) -> Result<Vec<Value>, ClientError> {
        let mut agents = Vec::new();
        let limit = limit.unwrap_or(usize::MAX);
        while agents.len() < limit {
            let page = PAGE.min(limit - agents.len());
            let size = page.to_string();
            let mut query = vec![("limit", size.as_str())];
            let last = agents.last().map(|agent: &Value| text(agent, "id").to_owned());
            if let Some(last) = &last {
                query.push(("after", last));
            }
            let found = self.list("/v1/agents/", &query).await?;
            let done = found.len() < page;
            agents.extend(found);
            if done {
                break;
            }
        }
        Ok(agents)
    }

    /// Creates an agent.
    pub(crate) async fn create_agent(&self, agent: &NewAgent, key: &str) -> Result<Value, ClientError> {
        self.change(Method::POST, "/v1/agents/", Some(&agent.body()), key).await
    }

    /// The agent of that id, or the only one of that name.
    pub(crate) async fn agent(&self, id_or_name: &str) -> Result<Value, Failure> {
        match self.agent_by_id(id_or_name).await {
            Err(ClientError::Refused {
                status: StatusCode::NOT_FOUND | StatusCode::UNPROCESSABLE_ENTITY,
                ..
            }) => {}
            settled => return Ok(settled?),
        }
        let mut named = self.list("/v1/agents/", &[("name", id_or_name), ("limit", "10")]).await?;
        named.retain(|agent| text(agent, "name") == id_or_name);
        match named.len() {
            0 => Err(Failure::new(Exit::NotFound, format!("no agent has the id or name {id_or_name:?}"))
                .hint(format!(
                    "list them:   kelpie agents list\ncreate it:   kelpie agents create {id_or_name}"
                ))),
            1 => Ok(named.remove(0)),
            _ => {
                let ids: Vec<&str> = named.iter().map(|agent| text(agent, "id")).collect();
                Err(Failure::new(
                    Exit::NotFound,
                    format!("several agents are named {id_or_name:?}: name one by its id"),
                )
                .hint(ids.join("\n")))
            }
        }
    }

    async fn agent_by_id(&self, id: &str) -> Result<Value, ClientError> {
        if !id.starts_with("agent-") {
            // Not worth a round trip, and a name may hold characters that a path does not.
            return Err(ClientError::Refused { status: StatusCode::NOT_FOUND, detail: String::new() });
        }
        self.get(&format!("/v1/agents/{id}"), &[]).await
    }

    /// Deletes an agent.
    pub(crate) async fn delete_agent(&self, id: &str, key: &str) -> Result<Value, ClientError> {
        self.change(Method::DELETE, &format!("/v1/agents/{id}"), None, key).await
    }

    /// Makes an agent from another.
    pub(crate) async fn fork_agent(
        &self,
        id: &str,
        name: Option<&str>,
        at: Option<&str>,
    ) -> Result<Value, ClientError> {
        let body = json!({ "name": name, "run_id": at });
        self.change(Method::POST, &format!("/v1/agents/{id}/fork"), Some(&body), &self.fresh_key()).await
    }

    /// An agent's newest runs, newest first.
    pub(crate) async fn runs(&self, agent: &str, limit: usize) -> Result<Vec<Value>, ClientError> {
        self.list("/v1/runs/", &[("agent_id", agent), ("limit", &limit.to_string())]).await
    }

    /// What the server tells about a run: its `recording` or its `replay`.
    pub(crate) async fn of_run(&self, run: &str, what: &str) -> Result<Value, ClientError> {
        self.get(&super::path("/v1/runs", &[run, what]), &[]).await
    }

    /// Takes the last change of a block back.
    pub(crate) async fn undo_block(&self, agent: &str, label: &str) -> Result<Value, ClientError> {
        let path = super::path("/v1/agents", &[agent, "core-memory", "blocks", label, "undo"]);
        self.change(Method::POST, &path, None, &self.fresh_key()).await
    }

    /// What a block said before, newest first.
    pub(crate) async fn past_of_block(&self, agent: &str, label: &str) -> Result<Vec<Value>, ClientError> {
        self.list(&super::path("/v1/agents", &[agent, "core-memory", "blocks", label, "past"]), &[]).await
    }

    /// An agent's core memory blocks.
    pub(crate) async fn blocks(&self, agent: &str) -> Result<Vec<Value>, ClientError> {
        self.list(&format!("/v1/agents/{agent}/core-memory/blocks"), &[]).await
    }

    /// An agent's messages, oldest first.
    pub(crate) async fn messages(&self, agent: &str) -> Result<Vec<Value>, ClientError> {
        let mut messages: Vec<Value> = Vec::new();
        loop {
            let last = messages.last().map(|message| text(message, "id").to_owned());
            let mut query = vec![("order", "asc"), ("limit", "100")];
            if let Some(last) = &last {
                query.push(("after", last));
            }
            let page = self.list(&format!("/v1/agents/{agent}/messages"), &query).await?;
            // Several wire messages may stem from one stored message and share its id.
            let fresh: Vec<Value> = page.into_iter().filter(|message| !messages.contains(message)).collect();
            if fresh.is_empty() {
                return Ok(messages);
            }
            messages.extend(fresh);
        }
    }

    /// Sends a message and waits for the whole answer.
    pub(crate) async fn message(&self, agent: &str, content: &str, key: &str) -> Result<Value, ClientError> {
        self.change(Method::POST, &format!("/v1/agents/{agent}/messages"), Some(&message_body(content)), key)
            .await
    }

    /// Sends a message once, whatever happens to its reply.
    pub(crate) async fn message_once(
        &self,
        agent: &str,
        content: &str,
        key: &str,
    ) -> Result<Value, ClientError> {
        let path = format!("/v1/agents/{agent}/messages");
        let response = self
            .send(Method::POST, &path, &[], Some(&message_body(content)), &[(IDEMPOTENCY_KEY, key)])
            .await?;
        self.body(response).await
    }

    /// Sends a message once and gives the answer as it comes.
    pub(crate) async fn stream(&self, agent: &str, content: &str, key: &str) -> Result<Events, ClientError> {
        let mut body = message_body(content);
        body["stream_tokens"] = json!(true);
        body["include_pings"] = json!(true);
        let path = format!("/v1/agents/{agent}/messages/stream");
        let response = self.send(Method::POST, &path, &[], Some(&body), &[(IDEMPOTENCY_KEY, key)]).await?;
        Ok(Events::new(self.clone(), response))
    }

    /// Cancels what the agent is doing.
    pub(crate) async fn cancel(&self, agent: &str, key: &str) -> Result<Value, ClientError> {
        self.change(Method::POST, &format!("/v1/agents/{agent}/messages/cancel"), Some(&json!({})), key).await
    }

    async fn list(&self, path: &str, query: &[(&str, &str)]) -> Result<Vec<Value>, ClientError> {
        let answer = self.get(path, query).await?;
        if let Value::Array(values) = answer {
            return Ok(values);
        }
        Err(self.foreign(format!("{path} is not a list but {}", crate::say::brief(&answer.to_string(), 80))))
    }
}

fn message_body(content: &str) -> Value {
    json!({ "messages": [{ "role": "user", "content": content }] })
}

/// A field's text; empty when it is missing or no text.
pub(crate) fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value.get(field).and_then(Value::as_str).unwrap_or_default()
}
