//! Actors of any type, as requests.

use std::time::Duration;

use kelpie_api::actor::{ActorPage, ListedActor};
use reqwest::Method;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{Client, ClientError};

/// Actors asked for at a time.
const PAGE: usize = 500;

impl Client {
    /// Calls a handler, which may take so long; gives its reply.
    pub(crate) async fn call_actor(
        &self,
        actor: [&str; 2],
        handler: &str,
        arguments: Option<&Value>,
        key: &str,
        deadline: Option<Duration>,
    ) -> Result<Value, ClientError> {
        let [actor_type, actor] = actor;
        let path = path(&[actor_type, actor, handler]);
        self.change_within(Method::POST, &path, arguments, key, deadline).await
    }

    /// What an actor shows of itself: `state`, `why`, `history`.
    pub(crate) async fn look_at_actor(
        &self,
        actor: [&str; 2],
        what: &str,
        limit: Option<usize>,
    ) -> Result<Value, ClientError> {
        let [actor_type, actor] = actor;
        let limit = limit.map(|limit| limit.to_string());
        let query: Vec<(&str, &str)> = limit.iter().map(|limit| ("limit", limit.as_str())).collect();
        self.get(&path(&[actor_type, actor, what]), &query).await
    }

    /// Has something done to an actor that its handlers know nothing of.
    pub(crate) async fn operate_actor(
        &self,
        actor: [&str; 2],
        what: &[&str],
        body: Option<&Value>,
    ) -> Result<Value, ClientError> {
        let path = path(&[&actor[..], what].concat());
        self.change(Method::POST, &path, body, &self.fresh_key()).await
    }

    /// All actors of a type, or the first `limit`, page by page.
    pub(crate) async fn actors(
        &self,
        actor_type: &str,
        limit: Option<usize>,
    ) -> Result<Vec<ListedActor>, ClientError> {
        let limit = limit.unwrap_or(usize::MAX);
        let (mut actors, mut after) = (Vec::new(), None::<String>);
        while actors.len() < limit {
            let size = PAGE.min(limit - actors.len()).to_string();
            let mut query = vec![("limit", size.as_str())];
            query.extend(after.as_deref().map(|after| ("after", after)));
            let page: ActorPage = self.understood(self.get(&path(&[actor_type]), &query).await?)?;
            actors.extend(page.actors);
            match page.next {
                Some(next) => after = Some(next),
                None => break,
            }
        }
        Ok(actors)
    }

    /// An answer as what it has to be.
    pub(crate) fn understood<T: DeserializeOwned>(&self, answer: Value) -> Result<T, ClientError> {
        serde_json::from_value(answer).map_err(|error| self.foreign(error))
    }
}

fn path(segments: &[&str]) -> String {
    super::path("/v1/actors", segments)
}
