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

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::body::Body;
    use axum::http::Request;
    use axum::routing::get;
    use tower::ServiceExt;
    use tower_http::catch_panic::CatchPanicLayer;

    use super::*;

    async fn bad() -> StatusCode {
        panic!("words about somebody's data")
    }

    #[tokio::test]
    async fn a_panic_becomes_an_answer_that_keeps_its_words_to_itself() {
        let router: Router = Router::new().route("/", get(bad)).layer(CatchPanicLayer::custom(answer));
        let response = router.oneshot(Request::new(Body::empty())).await.unwrap();
        assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
        let body = axum::body::to_bytes(response.into_body(), 1_000).await.unwrap();
        let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(body["code"], "server.panic");
        assert!(!body.to_string().contains("somebody"), "{body}");
    }
}
