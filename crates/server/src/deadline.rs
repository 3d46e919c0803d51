//! `Kelpie-Deadline-Ms`: how long a call may take.

use std::time::Duration;

use axum::extract::FromRequestParts;
use axum::http::HeaderName;
use axum::http::request::Parts;

use crate::error::HttpError;
use crate::options::DEADLINE_MAX;

/// How long a call may take from when it came in, in milliseconds: how much is left, no time of
/// day, so that nobody's clock matters.
pub const DEADLINE: HeaderName = HeaderName::from_static("kelpie-deadline-ms");

/// The deadline of a request, if it has one.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Deadline(pub(crate) Option<Duration>);

impl<S: Send + Sync> FromRequestParts<S> for Deadline {
    type Rejection = HttpError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, HttpError> {
        let mut values = parts.headers.get_all(DEADLINE).iter();
        let Some(value) = values.next() else { return Ok(Self(None)) };
        let text = value.to_str().ok().filter(|_| values.next().is_none());
        let deadline = text.and_then(|text| text.trim().parse().ok()).map(Duration::from_millis);
        let deadline = deadline.filter(|deadline| !deadline.is_zero() && *deadline <= DEADLINE_MAX);
        let max = DEADLINE_MAX.as_millis();
        let wrong = || {
            let loc = ["header".into(), "Kelpie-Deadline-Ms".into()];
            HttpError::issue(loc, "value_error", format!("Input should be a whole number from 1 to {max}"))
        };
        Ok(Self(Some(deadline.ok_or_else(wrong)?)))
    }
}
