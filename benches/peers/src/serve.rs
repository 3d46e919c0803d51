//! The counter of Kelpie behind HTTP, as a process of its own: its typed client behind one axum
//! route.

use axum::extract::{Path, State};
use axum::routing::post;
use axum::{Json, Router};
use kelpie_runtime::Runtime;
use kelpie_storage::StoreConfig;

use crate::counter;

/// Makes this program such a process.
pub(crate) const ARGUMENT: &str = "serve-a-counter";

pub(crate) fn run(dir: &str) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let env = kelpie_env::real::env();
        let node = counter::node(&env, &StoreConfig::embedded(dir), counter::options()).await;
        let app = Router::new().route("/counter/{key}/add", post(add)).with_state(node);
        serve(app).await;
    });
}

#[expect(clippy::disallowed_methods, reason = "a plain axum server")]
async fn serve(app: Router) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    println!("{}", listener.local_addr().unwrap());
    axum::serve(listener, app).await.unwrap();
}

async fn add(State(node): State<Runtime>, Path(key): Path<String>, Json(by): Json<u64>) -> Json<u64> {
    Json(counter::client(&node, &key).add(by).await.unwrap())
}
