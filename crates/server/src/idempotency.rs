//! The caller's name for one intent: the header `Idempotency-Key`.
//!
//! A message without the header, but with an `otid`, is known by that: the agents see to it.

use axum::extract::FromRequestParts;
use axum::http::HeaderName;
use axum::http::request::Parts;
use kelpie_core::call::IdempotencyKey;

use crate::error::HttpError;

/// Same key, same effect, once.
pub const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// The key of a request, if it has one.
#[derive(Debug, Clone)]
pub struct Key(pub Option<IdempotencyKey>);

impl<S: Send + Sync> FromRequestParts<S> for Key {
    type Rejection = HttpError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, HttpError> {
        let mut values = parts.headers.get_all(IDEMPOTENCY_KEY).iter();
        let Some(value) = values.next() else { return Ok(Self(None)) };
        if values.next().is_some() {
            return Err(bad("stands twice"));
        }
        let text = value.to_str().map_err(|_| bad("is not visible ASCII"))?;
        let key = IdempotencyKey::new(text).map_err(|error| bad(&error.problem))?;
        Ok(Self(Some(key)))
    }
}

fn bad(problem: &str) -> HttpError {
    let loc = ["header".into(), "Idempotency-Key".into()];
    HttpError::issue(loc, "value_error", format!("Idempotency-Key {problem}"))
}
