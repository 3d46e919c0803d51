//! Who may come in.
//!
//! ```text
//!   request ─▶ from this machine's own pages? ─▶ token right? ─▶ small enough? ─▶ room left? ─▶ handler
//!                    no: 403                      no: 401         no: 413          no: 503
//! ```
//!
//! Without a token only this machine can connect, but a browser on it runs other people's
//! pages. Two headers that a page can't forge close that door: `origin` (a foreign page says
//! so) and `host` (a name that was rebound to 127.0.0.1 is still not ours).

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use kelpie_core::advice::Advice;
use tokio::sync::OwnedSemaphorePermit;

use crate::body;
use crate::error::HttpError;
use crate::front::Front;

/// A place among the requests that are worked on; a stream keeps a clone until its end.
#[derive(Debug, Clone)]
pub(crate) struct Admission {
    _permit: Arc<OwnedSemaphorePermit>,
}

pub(crate) async fn guard(State(front): State<Front>, mut request: Request, next: Next) -> Response {
    // Those who ask whether the server lives must learn it also when it has no room.
    if is_probe(request.uri().path()) {
        return next.run(request).await;
    }
    match check(&front, request.headers()) {
        Ok(admission) => {
            request.extensions_mut().insert(admission);
            next.run(request).await
        }
        Err(refusal) => {
            let (parts, body) = request.into_parts();
            body::discard(front.env(), &parts.headers, body).await;
            refusal
        }
    }
}

fn is_probe(path: &str) -> bool {
    matches!(path.trim_end_matches('/'), "/health" | "/v1/health" | "/ready")
}

// The answer is built here already because one of them needs a header of its own.
#[expect(clippy::result_large_err, reason = "a refusal is a response, made once and sent")]
fn check(front: &Front, headers: &HeaderMap) -> Result<Admission, Response> {
    match &front.options().token {
        Some(token) => {
            if !bearer(headers).is_some_and(|offered| token.matches(offered)) {
                return Err(unauthorized());
            }
        }
        None => check_host(headers).map_err(IntoResponse::into_response)?,
    }
    check_origin(headers).map_err(IntoResponse::into_response)?;
    body::check_length(headers).map_err(IntoResponse::into_response)?;
    let permit = front.admit().ok_or_else(|| overloaded().into_response())?;
    Ok(Admission { _permit: Arc::new(permit) })
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

fn unauthorized() -> Response {
    let detail = "This server needs the header authorization: Bearer with its token (KELPIE_TOKEN)";
    let error = HttpError::new(StatusCode::UNAUTHORIZED, "auth.token", Advice::Fix, detail);
    let mut response = error.into_response();
    response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    response
}

fn overloaded() -> HttpError {
    let detail = "The server works on as many requests as it can; nothing happened";
    HttpError::new(StatusCode::SERVICE_UNAVAILABLE, "server.full", Advice::NotRun, detail)
}

fn text(headers: &HeaderMap, name: header::HeaderName) -> Option<&str> {
    // What is no text is no name of ours either.
    headers.get(name).map(|value| value.to_str().unwrap_or(""))
}

fn check_host(headers: &HeaderMap) -> Result<(), HttpError> {
    let Some(host) = text(headers, header::HOST) else { return Ok(()) };
    if is_this_machine(host) {
        return Ok(());
    }
    let detail = "Without a token this server answers to localhost only; set KELPIE_TOKEN to use other names";
    Err(HttpError::new(StatusCode::FORBIDDEN, "auth.host", Advice::Fix, detail))
}

fn is_this_machine(authority: &str) -> bool {
    let name = match authority.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => authority,
    };
    let name = name.trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase();
    let is_loopback = name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
    is_loopback || name == "localhost" || name.ends_with(".localhost")
}

fn check_origin(headers: &HeaderMap) -> Result<(), HttpError> {
    let Some(origin) = text(headers, header::ORIGIN) else { return Ok(()) };
    let authority = origin.split_once("://").map(|(_, authority)| authority);
    if authority.is_some() && authority == text(headers, header::HOST) {
        return Ok(());
    }
    let detail = "Requests from pages of other origins are refused";
    Err(HttpError::new(StatusCode::FORBIDDEN, "auth.origin", Advice::Fix, detail))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_this_machine_are_its_own() {
        for host in ["localhost", "LOCALHOST:8283", "127.0.0.1:1", "[::1]:8283", "agents.localhost:80"] {
            assert!(is_this_machine(host), "{host}");
        }
        for host in
            ["", "example.com", "localhost.example.com:8283", "10.0.0.1", "127.0.0.1.nip.io", "[::2]:1"]
        {
            assert!(!is_this_machine(host), "{host}");
        }
    }
}
