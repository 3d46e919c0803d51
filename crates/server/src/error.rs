//! Every error that leaves the server, as one kind of answer.
//!
//! ```text
//!   {"detail": "…" | [{"loc", "msg", "type"}], "code": "…", "advice": "not_run|unknown|fix|app"}
//! ```
//!
//! Why one type: a client must never have to guess whether a request took effect. `advice`
//! says it; `x-should-retry: false` keeps SDKs, which send no key of their own, from
//! repeating what may have happened.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use kelpie_agent::error::AgentError;
use kelpie_api::error::{Detail, ErrorBody, Issue, Place};
use kelpie_core::advice::Advice;
use kelpie_registry::RegistryError;
use kelpie_runtime::typed::Misfit;
use kelpie_runtime::{CallError, TurnError};
use serde_json::Value;

/// Tells an SDK whether to repeat a request by itself.
pub const SHOULD_RETRY: HeaderName = HeaderName::from_static("x-should-retry");
/// When to come back after a refusal.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// An answer that is not a success.
#[derive(Debug, Clone)]
pub struct HttpError {
    status: StatusCode,
    detail: Detail,
    code: Cow<'static, str>,
    advice: Advice,
    run_id: Option<String>,
    /// An actor's own error.
    error: Option<Box<Value>>,
    retry_after: Option<Duration>,
}

impl HttpError {
    /// An error with a sentence.
    pub fn new(
        status: StatusCode,
        code: impl Into<Cow<'static, str>>,
        advice: Advice,
        detail: impl Into<String>,
    ) -> Self {
        let retry_after = match (status, advice) {
            (StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE, Advice::NotRun) => {
                Some(RETRY_AFTER)
            }
            _ => None,
        };
        let detail = Detail::Text(detail.into());
        Self { status, detail, code: code.into(), advice, run_id: None, error: None, retry_after }
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
            code: Some(self.code.into_owned()),
            advice: Some(self.advice.word().to_owned()),
            run_id: self.run_id,
            error: self.error.map(|error| *error),
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
        response.extensions_mut().insert(self.advice);
        response
    }
}

impl From<AgentError> for HttpError {
    fn from(error: AgentError) -> Self {
        let (code, advice) = (error.code(), error.advice());
        let status = match &error {
            AgentError::NotFound { .. } => StatusCode::NOT_FOUND,
            AgentError::Invalid { field, message } => return Self::body_field(field, message.as_str()),
            AgentError::KeyReused | AgentError::Taken { .. } => StatusCode::CONFLICT,
            AgentError::Busy { .. } => StatusCode::TOO_MANY_REQUESTS,
            AgentError::InUse { message, run_id, pending_approval } => {
                let what = if *pending_approval { "CONFLICT: " } else { "" };
                let mut answer = Self::new(StatusCode::CONFLICT, code, advice, format!("{what}{message}"));
                answer.run_id = Some(run_id.clone());
                return answer;
            }
            AgentError::NothingPending { .. } => StatusCode::BAD_REQUEST,
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

impl From<RegistryError> for HttpError {
    fn from(error: RegistryError) -> Self {
        let (status, code) = match error.advice() {
            Advice::NotRun => (StatusCode::SERVICE_UNAVAILABLE, "store.unavailable"),
            Advice::Fix | Advice::Unknown | Advice::App => {
                (StatusCode::INTERNAL_SERVER_ERROR, "store.unreadable")
            }
        };
        tracing::error!(error = causes(&error), "the registry did not answer");
        Self::new(status, code, error.advice(), causes(&error))
    }
}

impl From<CallError> for HttpError {
    fn from(error: CallError) -> Self {
        match error {
            CallError::App { code, message, detail } => {
                let mut answer = Self::new(StatusCode::CONFLICT, code, Advice::App, message);
                answer.error = detail.and_then(|detail| serde_json::from_slice(&detail).ok());
                answer
            }
            CallError::Handler(ref why) => match why.misfit() {
                Some(Misfit::Arguments { argument, reason, .. }) => {
                    let place = argument.as_deref().map(Place::from);
                    let mut answer = Self::issue(
                        std::iter::once("body".into()).chain(place),
                        "value_error",
                        reason.clone(),
                    );
                    answer.code = error.code().to_owned().into();
                    answer
                }
                // What does not fit says it all in its own words.
                Some(misfit @ Misfit::NoHandler { .. }) => {
                    Self::new(StatusCode::NOT_FOUND, misfit.code(), error.advice(), misfit.to_string())
                }
                misfit => {
                    let detail = misfit.map_or_else(|| causes(&error), Misfit::to_string);
                    tracing::error!(error = detail, "an actor cannot handle a call");
                    let code = error.code().to_owned();
                    Self::new(StatusCode::INTERNAL_SERVER_ERROR, code, error.advice(), detail)
                }
            },
            CallError::Panicked => Self::of_call(StatusCode::INTERNAL_SERVER_ERROR, &error),
            CallError::KeyReused => Self::of_call(StatusCode::CONFLICT, &error),
            CallError::NoSuchType { .. } | CallError::NotARead { .. } => {
                Self::of_call(StatusCode::NOT_FOUND, &error)
            }
            CallError::TooLarge { .. } => Self::of_call(StatusCode::PAYLOAD_TOO_LARGE, &error),
            CallError::Cycle { .. } | CallError::TooDeep => Self::of_call(StatusCode::LOOP_DETECTED, &error),
            // A rate is at least one a second, so a second is always long enough.
            CallError::MailboxFull | CallError::TooMany { .. } => {
                Self::of_call(StatusCode::TOO_MANY_REQUESTS, &error)
            }
            CallError::Deadlock { .. }
            | CallError::TooLate
            | CallError::ShuttingDown
            | CallError::NotReady { .. }
            | CallError::Full(_)
            | CallError::NotRun { .. } => Self::of_call(StatusCode::SERVICE_UNAVAILABLE, &error),
            CallError::Unknown => Self::of_call(StatusCode::GATEWAY_TIMEOUT, &error),
        }
    }
}

impl HttpError {
    fn of_call(status: StatusCode, error: &CallError) -> Self {
        Self::new(status, error.code().to_owned(), error.advice(), causes(error))
    }
}

impl From<TurnError> for HttpError {
    /// Looking at an actor has failed: nothing was to happen.
    fn from(error: TurnError) -> Self {
        match error {
            TurnError::Read(_) | TurnError::Moved | TurnError::IndexMoved => {
                let detail = causes(&error);
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "store.unavailable", Advice::NotRun, detail)
            }
            TurnError::NotRecorded { .. }
            | TurnError::Record(_)
            | TurnError::StepTaken { .. }
            | TurnError::StepDiverged { .. }
            | TurnError::StepUnknown { .. }
            | TurnError::TooLarge { .. }
            | TurnError::Cancelled
            | TurnError::Schedule(_)
            | TurnError::Call(_)
            | TurnError::Remote { .. }
            | TurnError::Behaviour(_) => CallError::Handler(Arc::new(error)).into(),
        }
    }
}

/// An error with what is behind it, in one line.
fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    text
}

/// A handler's result.
pub type Answer<T> = Result<T, HttpError>;
