//! Every error that leaves the server, as one kind of answer.
//!
//! ```text
//!   {"detail": "…" | [{"loc", "msg", "type"}], "code": "…", "advice": "not_run|unknown|fix|app"}
//! ```
//!
//! Why one type: a client must never have to guess whether a request took effect. `advice`
//! says it; `x-should-retry: false` keeps SDKs, which send no key of their own, from
//! repeating what may have happened.

use std::time::Duration;

use axum::Json;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use kelpie_agent::error::AgentError;
use kelpie_api::error::{Detail, ErrorBody, Issue, Place};
use kelpie_core::advice::Advice;

/// Tells an SDK whether to repeat a request by itself.
pub const SHOULD_RETRY: HeaderName = HeaderName::from_static("x-should-retry");
/// When to come back after a refusal.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// An answer that is not a success.
#[derive(Debug, Clone)]
pub struct HttpError {
    status: StatusCode,
    detail: Detail,
    code: &'static str,
    advice: Advice,
    run_id: Option<String>,
    retry_after: Option<Duration>,
}

impl HttpError {
    /// An error with a sentence.
    pub fn new(status: StatusCode, code: &'static str, advice: Advice, detail: impl Into<String>) -> Self {
        let retry_after = match (status, advice) {
            (StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE, Advice::NotRun) => {
                Some(RETRY_AFTER)
            }
            _ => None,
        };
        let detail = Detail::Text(detail.into());
        Self { status, detail, code, advice, run_id: None, retry_after }
    }

    /// The request itself is wrong, in these places.
    pub fn issues(issues: Vec<Issue>) -> Self {
        let mut error = Self::new(StatusCode::UNPROCESSABLE_ENTITY, "request.invalid", Advice::Fix, "");
        error.detail = Detail::Issues(issues);
        error
    }

    /// The request is wrong in one place.
    pub fn issue(
        loc: impl IntoIterator<Item = Place>,
        kind: impl Into<String>,
        msg: impl Into<String>,
    ) -> Self {
        Self::issues(vec![Issue { loc: loc.into_iter().collect(), msg: msg.into(), kind: kind.into() }])
    }

    /// A field of the body can't be used.
    pub fn body_field(field: &str, msg: impl Into<String>) -> Self {
        let path = field.split('.').map(|part| part.parse().map_or_else(|_| part.into(), Place::Index));
        Self::issue(std::iter::once("body".into()).chain(path), "value_error", msg)
    }

    /// This build does not have what was asked for.
    pub fn not_built(what: &str) -> Self {
        let detail = format!("This build does not have it: {what}");
        Self::new(StatusCode::NOT_FOUND, "route.not_built", Advice::Fix, detail)
    }

    /// A run ended with an error: it ran, and that is its recorded result.
    pub fn run_failed(status: StatusCode, run_id: String, code: &str, detail: &str) -> Self {
        let detail = format!("{detail} ({code})");
        let mut error = Self::new(status, "run.failed", Advice::App, detail);
        error.run_id = Some(run_id);
        error
    }

    /// What the caller should do.
    pub fn advice(&self) -> Advice {
        self.advice
    }
}

impl IntoResponse for HttpError {
    fn into_response(self) -> Response {
        let body = ErrorBody {
            detail: self.detail,
            code: Some(self.code.to_owned()),
            advice: Some(self.advice.word().to_owned()),
            run_id: self.run_id,
        };
        let mut response = (self.status, Json(body)).into_response();
        if let Some(after) = self.retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(after.as_secs()));
        }
        match self.advice {
            // Repeating gives the same answer, or may do the work twice.
            Advice::Fix | Advice::App | Advice::Unknown => {
                response.headers_mut().insert(SHOULD_RETRY, HeaderValue::from_static("false"));
            }
            Advice::NotRun => {}
        }
        response
    }
}

impl From<AgentError> for HttpError {
    fn from(error: AgentError) -> Self {
        let (code, advice) = (error.code(), error.advice());
        let status = match &error {
            AgentError::NotFound { .. } => StatusCode::NOT_FOUND,
            AgentError::Invalid { field, message } => return Self::body_field(field, message.as_str()),
            AgentError::KeyReused => StatusCode::CONFLICT,
            AgentError::Busy { .. } => StatusCode::TOO_MANY_REQUESTS,
            AgentError::NotRun { .. } => StatusCode::SERVICE_UNAVAILABLE,
            AgentError::Unknown { .. } => StatusCode::GATEWAY_TIMEOUT,
            AgentError::Internal { message } => {
                tracing::error!(%message, "the agent service failed");
                let detail = "Internal error; the server's log says more";
                return Self::new(StatusCode::INTERNAL_SERVER_ERROR, code, advice, detail);
            }
        };
        Self::new(status, code, advice, error.to_string())
    }
}

/// A handler's result.
pub type Answer<T> = Result<T, HttpError>;
