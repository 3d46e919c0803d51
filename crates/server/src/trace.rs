//! `traceparent`: which request of a client's a request belongs to, as the W3C's Trace Context
//! says it. It goes along to the actors, and stands in the log.

use std::convert::Infallible;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName};
use kelpie_core::trace::TraceContext;
use kelpie_env::Env;

/// Which request it belongs to.
pub const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// The part of a request that is done here, if the client has said which one it is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Trace(pub(crate) Option<TraceContext>);

impl Trace {
    /// A header that is none is passed over, as the standard wants it: whoever sent it is not to
    /// suffer for it.
    pub(crate) fn of_headers(headers: &HeaderMap, env: &Env) -> Self {
        let mut values = headers.get_all(TRACEPARENT).iter();
        let only = values.next().filter(|_| values.next().is_none());
        let parent = only.and_then(|value| value.to_str().ok()?.trim().parse::<TraceContext>().ok());
        Self(parent.map(|parent| parent.child(env.random_u64())))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Trace {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(parts.extensions.get().copied().unwrap_or(Self(None)))
    }
}
