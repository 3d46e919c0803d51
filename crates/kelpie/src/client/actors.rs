//! Actors of any type, as requests.

use kelpie_api::actor::{ActorPage, ListedActor};
use reqwest::Method;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{Client, ClientError};

/// Actors asked for at a time.
const PAGE: usize = 500;

impl Client {
    /// Calls a handler; gives its reply.
    pub(crate) async fn call_actor(
        &self,
        actor: [&str; 2],
        handler: &str,
        arguments: Option<&Value>,
        key: &str,
    ) -> Result<Value, ClientError> {
        let [actor_type, actor] = actor;
        let path = path(&[actor_type, actor, handler]);
        self.change(Method::POST, &path, arguments, key).await
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

/// The path to something of an actor, whatever its name is made of.
fn path(segments: &[&str]) -> String {
    let mut url = reqwest::Url::parse("http://any/v1/actors").expect("a URL of ours");
    url.path_segments_mut().expect("it has a path").extend(segments);
    url.path().to_owned()
}

#[cfg(test)]
mod tests {
    use super::path;

    #[test]
    fn whatever_is_in_a_name_stays_in_its_segment() {
        assert_eq!(
            path(&["order", "a/b?c #%2F é", "settle"]),
            "/v1/actors/order/a%2Fb%3Fc%20%23%252F%20%C3%A9/settle"
        );
    }
}
