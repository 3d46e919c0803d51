//! Does it live, does it take calls, what did it do.

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use kelpie_api::health::{Health, Readiness};
use metrics_exporter_prometheus::PrometheusHandle;

use crate::front::Front;

/// The process lives.
#[utoipa::path(get, path = "/v1/health", tag = "system", responses((status = 200, body = Health)))]
pub(crate) async fn health() -> Json<Health> {
    Json(Health { version: env!("CARGO_PKG_VERSION").to_owned(), status: "ok".to_owned() })
}

/// The node takes calls, or says why not.
#[utoipa::path(get, path = "/ready", tag = "system",
    responses((status = 200, body = Readiness), (status = 503, body = Readiness)))]
pub(crate) async fn ready(State(front): State<Front>) -> (StatusCode, Json<Readiness>) {
    match front.ready() {
        Ok(()) => (StatusCode::OK, Json(Readiness { ready: true, reason: None })),
        Err(reason) => {
            (StatusCode::SERVICE_UNAVAILABLE, Json(Readiness { ready: false, reason: Some(reason) }))
        }
    }
}

/// All counters, as Prometheus reads them.
#[utoipa::path(get, path = "/metrics", tag = "system", responses((status = 200, body = String)))]
pub(crate) async fn metrics(State(front): State<Front>) -> Response {
    let text = front.metrics().map(PrometheusHandle::render);
    let elsewhere = || "# this program gathers its measurements itself\n".to_owned();
    let kind = "text/plain; version=0.0.4; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], text.unwrap_or_else(elsewhere)).into_response()
}
