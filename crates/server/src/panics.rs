//! A panic is one caller's error, never the process's end.

use std::any::Any;

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use kelpie_core::advice::Advice;

use crate::error::HttpError;

pub(crate) fn answer(panic: Box<dyn Any + Send>) -> Response {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no message");
    tracing::error!(panic = text, "a handler panicked");
    metrics::counter!("kelpie_http_panics_total").increment(1);
    let detail = "Internal error; the server's log says more";
    HttpError::new(StatusCode::INTERNAL_SERVER_ERROR, "server.panic", Advice::Unknown, detail).into_response()
}
