//! A client of a running server: the Letta wire format over HTTP.
//!
//! Every mutation carries an idempotency key, so a request whose answer was lost is simply
//! sent again: the server gives the first answer and does nothing twice. That is why a
//! chat goes on over a restart of its server.

mod actors;
mod agents;
mod events;

use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use kelpie_api::error::ErrorBody;
use kelpie_env::Env;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use reqwest::{Method, Response, StatusCode, Url};
use serde_json::Value;

pub(crate) use agents::{NewAgent, text};
pub(crate) use events::{Event, Events, content};

use crate::args::Remote;
use crate::exit::{Exit, Failure};

/// How long a connection may take to open.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// How often a mutation is sent before its caller hears that the server is away.
const ATTEMPTS: u32 = 8;
/// The first pause between two attempts; each next one is twice as long.
const PAUSE: Duration = Duration::from_millis(100);

const IDEMPOTENCY_KEY: &str = "Idempotency-Key";
/// In milliseconds.
const DEADLINE: &str = "Kelpie-Deadline-Ms";

/// Why a request has no good answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClientError {
    /// Nobody answers there; a request in flight may or may not have been carried out.
    #[error("no answer from {server}: {reason}")]
    Unreachable {
        /// The base URL.
        server: String,
        /// The innermost cause.
        reason: String,
    },
    /// The server answered with an error.
    #[error("{detail}")]
    Refused {
        /// The HTTP status.
        status: StatusCode,
        /// What it said.
        detail: String,
    },
    /// Something answered that is not this API.
    #[error("{server} does not answer like a Kelpie server: {reason}")]
    Foreign {
        /// The base URL.
        server: String,
        /// What was wrong with the answer.
        reason: String,
    },
}

impl ClientError {
    /// Whether the same request with the same key may be sent again.
    pub(crate) fn is_passing(&self) -> bool {
        match self {
            Self::Unreachable { .. } => true,
            Self::Refused { status, .. } => {
                matches!(
                    *status,
                    StatusCode::SERVICE_UNAVAILABLE | StatusCode::BAD_GATEWAY | StatusCode::GATEWAY_TIMEOUT
                )
            }
            Self::Foreign { .. } => false,
        }
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        match &error {
            ClientError::Unreachable { .. } => Failure::new(Exit::Unreachable, &error)
                .hint("start one:         kelpie serve\nor name another:   --server URL (KELPIE_SERVER)"),
            ClientError::Refused { status, .. } if *status == StatusCode::UNAUTHORIZED => {
                Failure::new(Exit::Unreachable, &error).hint("give its token: --token TOKEN (KELPIE_TOKEN)")
            }
            ClientError::Refused { status, .. } if *status == StatusCode::NOT_FOUND => {
                Failure::new(Exit::NotFound, &error)
            }
            ClientError::Refused { .. } | ClientError::Foreign { .. } => Failure::new(Exit::Failed, &error),
        }
    }
}

/// A connection pool to one server.
#[derive(Clone)]
pub(crate) struct Client {
    http: reqwest::Client,
    base: Url,
    env: Env,
}

impl Client {
    /// A client of the server that the arguments name.
    pub(crate) fn new(remote: &Remote, env: Env) -> Result<Self, Failure> {
        let base = Url::parse(&remote.server).map_err(|error| {
            Failure::new(Exit::Usage, format!("--server {}: {error}", remote.server))
                .hint("e.g. http://127.0.0.1:8283")
        })?;
        let mut headers = HeaderMap::new();
        if let Some(token) = &remote.token {
            let value = HeaderValue::try_from(format!("Bearer {token}"));
            let mut value =
                value.map_err(|_| Failure::new(Exit::Usage, "the token has characters that HTTP forbids"))?;
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
        }
        let http = kelpie_agent::http_client::for_server(&base)
            .connect_timeout(CONNECT_LIMIT)
            .default_headers(headers)
            .build();
        let http =
            http.map_err(|error| Failure::new(Exit::Failed, format!("cannot make an HTTP client: {error}")))?;
        Ok(Self { http, base, env })
    }

    /// The server's base URL, for words to people.
    pub(crate) fn server(&self) -> &str {
        self.base.as_str().trim_end_matches('/')
    }

    /// A fresh idempotency key.
    pub(crate) fn fresh_key(&self) -> String {
        format!("cli-{:032x}", self.env.random_u128())
    }

    /// Reads; not repeated, since a person waits and a second try changes nothing.
    pub(crate) async fn get(&self, path: &str, query: &[(&str, &str)]) -> Result<Value, ClientError> {
        let response = self.send(Method::GET, path, query, None, &[]).await?;
        self.body(response).await
    }

    /// Changes something, once: repeated under its key while the server is away.
    pub(crate) async fn change(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
        key: &str,
    ) -> Result<Value, ClientError> {
        self.change_within(method, path, body, key, None).await
    }

    /// The same for a call that may not take longer than `limit`, repetitions included: each asks
    /// for what is left.
    async fn change_within(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
        key: &str,
        limit: Option<Duration>,
    ) -> Result<Value, ClientError> {
        let ends = limit.map(|limit| self.env.now() + limit);
        let mut pause = PAUSE;
        let mut attempt = 1;
        loop {
            let left = ends.map(|ends| ends.saturating_sub(self.env.now()).as_millis().max(1).to_string());
            let mut headers = vec![(IDEMPOTENCY_KEY, key)];
            headers.extend(left.as_deref().map(|left| (DEADLINE, left)));
            let answer = match self.send(method.clone(), path, &[], body, &headers).await {
                Ok(response) => self.body(response).await,
                Err(error) => Err(error),
            };
            let goes_on = ends.is_none_or(|ends| self.env.now() + pause < ends);
            match answer {
                Err(error) if error.is_passing() && attempt < ATTEMPTS && goes_on => {
                    self.env.sleep(pause).await;
                    pause *= 2;
                    attempt += 1;
                }
                settled => return settled,
            }
        }
    }

    /// A body piece by piece, as it arrives.
    pub(crate) async fn pieces(
        &self,
        path: &str,
    ) -> Result<BoxStream<'static, Result<Bytes, ClientError>>, ClientError> {
        let response = self.send(Method::GET, path, &[], None, &[]).await?;
        let client = self.clone();
        let pieces = response.bytes_stream();
        Ok(pieces.map(move |piece| piece.map_err(|error| client.unreachable(&error))).boxed())
    }

    /// Sends a request once; an HTTP error status is an error.
    async fn send(
        &self,
        method: Method,
        path: &str,
        query: &[(&str, &str)],
        body: Option<&Value>,
        headers: &[(&str, &str)],
    ) -> Result<Response, ClientError> {
        let mut request = self.http.request(method, self.url(path, query));
        if let Some(body) = body {
            request = request.json(body);
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = request.send().await.map_err(|error| self.unreachable(&error))?;
        match response.status() {
            status if status.is_success() => Ok(response),
            status => {
                let text = response.text().await.unwrap_or_default();
                Err(ClientError::Refused { status, detail: detail(status, &text) })
            }
        }
    }

    async fn body(&self, response: Response) -> Result<Value, ClientError> {
        let bytes = response.bytes().await.map_err(|error| self.unreachable(&error))?;
        if bytes.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_slice(&bytes).map_err(|error| self.foreign(error))
    }

    fn url(&self, path: &str, query: &[(&str, &str)]) -> Url {
        let mut url = self.base.clone();
        let joined = format!("{}{path}", self.base.path().trim_end_matches('/'));
        url.set_path(&joined);
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        url
    }

    fn unreachable(&self, error: &reqwest::Error) -> ClientError {
        ClientError::Unreachable { server: self.server().to_owned(), reason: innermost(error) }
    }

    fn foreign(&self, reason: impl std::fmt::Display) -> ClientError {
        ClientError::Foreign { server: self.server().to_owned(), reason: reason.to_string() }
    }
}

/// The cause at the bottom: "connection refused" says more than "error sending request".
fn innermost(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
}

/// What an error body says: `{"detail": "…"}`, or a list of validation errors.
fn detail(status: StatusCode, body: &str) -> String {
    if let Ok(body) = serde_json::from_str::<ErrorBody>(body) {
        return body.to_string();
    }
    let parsed: Option<Value> = serde_json::from_str(body).ok();
    let parsed = parsed.as_ref();
    // A server that is not ready gives its reason under another name.
    match parsed.and_then(|value| value.get("reason")) {
        Some(Value::String(text)) => text.clone(),
        Some(other) => format!("{status}: {other}"),
        None => format!("the server answered {status}"),
    }
}

/// The path to something whose name may be made of anything.
pub(crate) fn path(base: &str, segments: &[&str]) -> String {
    let mut url = Url::parse("http://any").and_then(|any| any.join(base)).expect("a path of ours");
    url.path_segments_mut().expect("it has a path").extend(segments);
    url.path().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_body_is_told_in_its_own_words() {
        assert_eq!(detail(StatusCode::NOT_FOUND, r#"{"detail":"Agent not found"}"#), "Agent not found");
        assert_eq!(
            detail(StatusCode::UNPROCESSABLE_ENTITY, r#"{"detail":[{"loc":["body"],"msg":"m","type":"t"}]}"#),
            "body: m"
        );
        assert_eq!(detail(StatusCode::BAD_GATEWAY, "<html>"), "the server answered 502 Bad Gateway");
    }

    #[test]
    fn whatever_is_in_a_name_stays_in_its_segment() {
        assert_eq!(
            path("/v1/actors", &["order", "a/b?c #%2F é", "settle"]),
            "/v1/actors/order/a%2Fb%3Fc%20%23%252F%20%C3%A9/settle"
        );
    }
}
