//! The models of this server over HTTP.

use axum::Json;
use axum::extract::State;
use kelpie_api::model::Model;
use serde_json::Value;

use crate::error::Answer;
use crate::front::Front;
use crate::translate;

/// Lists the models that agents can use.
#[utoipa::path(get, path = "/v1/models/", tag = "models", responses((status = 200, body = Vec<Model>)))]
pub(crate) async fn list(State(front): State<Front>) -> Answer<Json<Vec<Model>>> {
    let models = front.agents()?.models().await;
    Ok(Json(models.iter().map(translate::model::model).collect()))
}

/// Lists the embedding models: none, archival memory is searched by its words.
#[utoipa::path(get, path = "/v1/models/embedding", tag = "models", responses((status = 200)))]
pub(crate) async fn list_embedding() -> Json<Vec<Value>> {
    Json(Vec::new())
}
