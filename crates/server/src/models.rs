//! The models of this server over HTTP.

use axum::Json;
use axum::extract::State;
use kelpie_api::model::Model;
use kelpie_memory::embedding::Embeddings;
use serde_json::{Value, json};

use crate::error::Answer;
use crate::front::Front;
use crate::translate;

/// Lists the models that agents can use.
#[utoipa::path(get, path = "/v1/models/", tag = "models", responses((status = 200, body = Vec<Model>)))]
pub(crate) async fn list(State(front): State<Front>) -> Answer<Json<Vec<Model>>> {
    let models = front.agents()?.models().await;
    Ok(Json(models.iter().map(translate::model::model).collect()))
}

/// Lists the embedding models: the one that archival memory is searched with, or none where it is
/// searched by its words alone.
#[utoipa::path(get, path = "/v1/models/embedding", tag = "models", responses((status = 200)))]
pub(crate) async fn list_embedding(State(front): State<Front>) -> Answer<Json<Vec<Value>>> {
    let agents = front.agents()?;
    Ok(Json(agents.embeddings().map(embedding_model).into_iter().collect()))
}

/// The client knows no type of provider for a table inside of the server: these are nearest.
fn embedding_model(embeddings: &Embeddings) -> Value {
    let name = embeddings.name();
    json!({
        "name": name,
        "display_name": name,
        "handle": format!("kelpie/{name}"),
        "provider_name": "kelpie",
        "provider_type": "letta",
        "model_type": "embedding",
        "embedding_model": name,
        "embedding_dim": embeddings.dimensions(),
        "embedding_endpoint_type": "hugging-face",
    })
}
