//! A provider on the other side of an HTTP connection.
//!
//! Carries a wire's bytes and keeps the time. An adapter: the connection is tokio's, but the
//! clock is the environment's.

use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;
use kelpie_env::Env;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use reqwest::{RequestBuilder, Response, Url};

use super::error::{Awaited, ModelError};
use super::patience::Patience;
use super::refusal::{Refusal, presentable, retry_after};
use super::secret::Secret;
use super::wire::{Answering, Fault, Progress, Wire, models};
use super::{DeltaSink, ModelAnswer, ModelInfo, ModelRequest, Provider, name_at};
use crate::http_client;

/// The longest body that is read: an answer of a million tokens fits.
const BODY_BYTES_MAX: usize = 16 << 20;
/// The longest body of an error that is read.
const ERROR_BYTES_MAX: usize = 64 << 10;

/// One provider, asked once at a time: [`super::Patient`] asks again.
pub(super) struct Remote {
    pub(super) env: Env,
    pub(super) client: reqwest::Client,
    pub(super) base: String,
    pub(super) key: Option<Secret>,
    pub(super) patience: Arc<Patience>,
    pub(super) wire: Box<dyn Wire>,
}

impl Remote {
    /// A client for one server, that sends the wire's headers with each request.
    pub(super) fn client(
        base: &Url,
        wire: &dyn Wire,
        patience: &Patience,
    ) -> Result<reqwest::Client, String> {
        let mut headers = HeaderMap::new();
        for header in wire.headers() {
            let mut value = HeaderValue::from_str(&header.value)
                .map_err(|_| "the key has characters that no HTTP header can carry".to_owned())?;
            value.set_sensitive(header.secret);
            headers.insert(HeaderName::from_static(header.name), value);
        }
        let builder = http_client::for_server(base)
            .user_agent(concat!("kelpie/", env!("CARGO_PKG_VERSION")))
            .default_headers(headers)
            .connect_timeout(patience.connect)
            // A redirect would carry the key to another host.
            .redirect(reqwest::redirect::Policy::none());
        builder.build().map_err(|error| chain(&error))
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    fn key(&self) -> Option<&str> {
        self.key.as_ref().map(Secret::expose)
    }

    async fn ask(&self, request: &ModelRequest, deltas: DeltaSink<'_>) -> Result<ModelAnswer, ModelError> {
        let name = name_at(self.wire.provider(), &request.model)?;
        let body = self.wire.body(name, request);
        let ask = self.client.post(self.url(self.wire.ask_path()));
        let ask = ask.header(CONTENT_TYPE, "application/json").body(body);
        let mut response = self.send(ask, &request.model).await?;
        let mut answering = Answering::new(self.wire.reader(name, request));
        let fault = |fault: Fault| fault.into_error(&request.model, self.key());
        if is_json(&response) {
            let body = self.body(&mut response, BODY_BYTES_MAX).await?;
            answering.whole(&body, deltas).map_err(fault)?;
            return answering.finish().map_err(fault);
        }
        let mut left = BODY_BYTES_MAX;
        while let Some(chunk) = self.chunk(&mut response).await? {
            left = left.checked_sub(chunk.len()).ok_or_else(too_long)?;
            if answering.push(&chunk, deltas).map_err(fault)? == Progress::Done {
                break;
            }
        }
        answering.finish().map_err(fault)
    }

    /// Sends a request; an answer that is not a success becomes an error.
    async fn send(&self, request: RequestBuilder, model: &str) -> Result<Response, ModelError> {
        let limit = self.patience.start;
        let mut response = match self.env.timeout(limit, request.send()).await {
            Ok(Ok(response)) => response,
            Ok(Err(error)) => {
                let message = presentable(&chain(&error.without_url()), self.key());
                return Err(ModelError::Unavailable { status: None, retry_after: None, message });
            }
            Err(_) => return Err(ModelError::TimedOut { what: Awaited::Start, limit }),
        };
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let headers = response.headers().clone();
        let header = |name: &str| Some(headers.get(name)?.to_str().ok()?.to_owned());
        let retry_after = retry_after(self.env.wall_ms(), header);
        // The status says enough; a body that does not come must not hide it.
        let body = self.body(&mut response, ERROR_BYTES_MAX).await.unwrap_or_default();
        Err(Refusal::of_body(status.as_u16(), retry_after, &body).into_error(model, self.key()))
    }

    async fn body(&self, response: &mut Response, bytes_max: usize) -> Result<Vec<u8>, ModelError> {
        let mut body = vec![];
        while let Some(chunk) = self.chunk(response).await? {
            body.extend_from_slice(&chunk);
            if body.len() > bytes_max {
                return Err(too_long());
            }
        }
        Ok(body)
    }

    async fn chunk(&self, response: &mut Response) -> Result<Option<bytes::Bytes>, ModelError> {
        let limit = self.patience.idle;
        match self.env.timeout(limit, response.chunk()).await {
            Ok(Ok(chunk)) => Ok(chunk),
            Ok(Err(error)) => {
                Err(ModelError::Cut { message: presentable(&chain(&error.without_url()), self.key()) })
            }
            Err(_) => Err(ModelError::TimedOut { what: Awaited::Continue, limit }),
        }
    }

    async fn list(&self) -> Result<Vec<ModelInfo>, ModelError> {
        let mut response = self.send(self.client.get(self.url(self.wire.models_path())), "").await?;
        let body = self.body(&mut response, BODY_BYTES_MAX).await?;
        models(self.wire.provider(), &String::from_utf8_lossy(&body))
    }
}

impl Provider for Remote {
    fn name(&self) -> &str {
        self.wire.provider()
    }

    fn models(&self) -> BoxFuture<'_, Result<Vec<ModelInfo>, ModelError>> {
        let limit = self.patience.list;
        async move {
            match self.env.timeout(limit, self.list()).await {
                Ok(list) => list,
                Err(_) => Err(ModelError::TimedOut { what: Awaited::Finish, limit }),
            }
        }
        .boxed()
    }

    fn usual_model(&self) -> BoxFuture<'_, Result<String, ModelError>> {
        match self.wire.usual_model() {
            Some(name) => std::future::ready(Ok(format!("{}/{name}", self.wire.provider()))).boxed(),
            None => async move { super::first_model(self.models().await?) }.boxed(),
        }
    }

    fn complete<'a>(
        &'a self,
        request: &'a ModelRequest,
        deltas: DeltaSink<'a>,
    ) -> BoxFuture<'a, Result<ModelAnswer, ModelError>> {
        self.ask(request, deltas).boxed()
    }
}

impl std::fmt::Debug for Remote {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Remote").field("provider", &self.wire.provider()).finish_non_exhaustive()
    }
}

fn is_json(response: &Response) -> bool {
    let kind = response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    kind.is_some_and(|kind| kind.starts_with("application/json"))
}

fn too_long() -> ModelError {
    ModelError::Malformed { message: format!("the answer has more than {BODY_BYTES_MAX} bytes") }
}

/// The error and its causes: the outermost alone only says that sending failed.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    text
}
