//! One line and two measurements per request.
//!
//! Never a body, a query or a header's value other than the request's id: they hold secrets
//! and people's words.

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::Response;
use kelpie_core::advice::Advice;
use tracing::Instrument;

use crate::error::SHOULD_RETRY;
use crate::front::Front;
use crate::idempotency::IDEMPOTENCY_KEY;
use crate::trace::Trace;

/// Ties a request to its lines in the log.
pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// A client's own id is taken over up to this length.
const REQUEST_ID_BYTES_MAX: usize = 64;

pub(crate) async fn log(State(front): State<Front>, mut request: Request, next: Next) -> Response {
    let env = front.env();
    let id = given_id(request.headers()).unwrap_or_else(|| format!("{:016x}", env.random_u64()));
    let method = request.method().clone();
    let route = request.extensions().get::<MatchedPath>().map_or("none", MatchedPath::as_str);
    let route = if route.len() > 1 { route.trim_end_matches('/') } else { route }.to_owned();
    let has_key = request.headers().contains_key(IDEMPOTENCY_KEY);
    let trace = Trace::of_headers(request.headers(), env);
    request.extensions_mut().insert(trace);
    let span = match trace {
        Trace(Some(trace)) => {
            tracing::info_span!("request", %id, trace = trace.trace(), span = trace.span())
        }
        Trace(None) => tracing::info_span!("request", %id),
    };
    let began = env.now();
    let mut response = next.run(request).instrument(span.clone()).await;
    let took = env.now().saturating_sub(began);

    let status = response.status();
    measure(&method, route.clone(), status, took);
    span.in_scope(|| {
        tracing::info!(%method, route, status = status.as_u16(), ms = took.as_secs_f64() * 1e3, "answered");
    });
    // Nobody knows what happened; a key makes asking again safe.
    let response_advice = response.extensions().get::<Advice>().copied();
    let headers = response.headers_mut();
    if has_key && response_advice == Some(Advice::Unknown) {
        headers.insert(SHOULD_RETRY, HeaderValue::from_static("true"));
    }
    if let Ok(id) = HeaderValue::from_str(&id) {
        headers.insert(REQUEST_ID, id);
    }
    response
}

fn given_id(headers: &HeaderMap) -> Option<String> {
    let id = headers.get(REQUEST_ID)?.to_str().ok()?;
    let fits = !id.is_empty() && id.len() <= REQUEST_ID_BYTES_MAX;
    (fits && id.bytes().all(|byte| byte.is_ascii_graphic())).then(|| id.to_owned())
}

/// The label `method` has as many values as HTTP has methods: others are one.
fn measure(method: &Method, route: String, status: StatusCode, took: std::time::Duration) {
    let known = [Method::GET, Method::POST, Method::PATCH, Method::PUT, Method::DELETE, Method::HEAD];
    let method = if known.contains(method) { method.to_string() } else { "other".to_owned() };
    let status = status.as_u16().to_string();
    let labels = [("method", method), ("route", route), ("status", status)];
    metrics::counter!("kelpie_http_requests_total", &labels).increment(1);
    metrics::histogram!("kelpie_http_request_seconds", &labels[..2]).record(took.as_secs_f64());
}
