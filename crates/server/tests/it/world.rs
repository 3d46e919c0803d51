//! A front on real agents, and a client without a socket.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Method, Request, StatusCode};
use axum::response::Response;
use futures::FutureExt;
use futures::future::BoxFuture;
use kelpie_agent::budget::Spending;
use kelpie_agent::models::Models;
use kelpie_agent::provider::{
    DeltaSink, ModelAnswer, ModelError, ModelInfo, ModelRequest, Provider, Scripted,
};
use kelpie_agent::service::{Agents, Parts as AgentParts};
use kelpie_agent::tool::runner::NoTools;
use kelpie_env::Env;
use kelpie_runtime::{Actor, CallLimits, Runtime};
use kelpie_server::front::{Front, Parts, Serves};
use kelpie_server::options::Options;
use kelpie_server::recorder;
use kelpie_storage::{Memory, Store};
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tower::ServiceExt;

/// A provider whose models fail, or wait until a test lets them go.
pub(crate) struct Moody {
    env: Env,
    go: Arc<Semaphore>,
}

impl Provider for Moody {
    fn name(&self) -> &str {
        "moody"
    }

    fn models(&self) -> BoxFuture<'_, Result<Vec<ModelInfo>, ModelError>> {
        async { Ok(Vec::new()) }.boxed()
    }

    fn complete<'a>(
        &'a self,
        request: &'a ModelRequest,
        deltas: DeltaSink<'a>,
    ) -> BoxFuture<'a, Result<ModelAnswer, ModelError>> {
        async move {
            match request.model.as_str() {
                "moody/refuses" => Err(ModelError::Refused { status: 400, message: "no".to_owned() }),
                "moody/waits" => {
                    self.go.acquire().await.unwrap().forget();
                    let request = ModelRequest { model: Scripted::HANDLE.to_owned(), ..request.clone() };
                    Scripted.complete(&request, deltas).await
                }
                other => panic!("{other} at {:?}", self.env.now()),
            }
        }
        .boxed()
    }
}

/// A front and what a test needs to reach behind it.
pub(crate) struct World {
    pub(crate) front: Front,
    /// Each permit lets one answer of `moody/waits` go.
    pub(crate) go: Arc<Semaphore>,
    router: Router,
}

/// What came back.
#[derive(Debug, Clone)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Reply {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    /// The JSON of a success.
    pub(crate) fn ok(&self) -> Value {
        assert_eq!(self.status, StatusCode::OK, "{}", self.text());
        self.json()
    }

    /// Checks an error of this status: always JSON with a detail. Returns the detail.
    pub(crate) fn refused(&self, status: StatusCode) -> Value {
        assert_eq!(self.status, status, "{}", self.text());
        let body = self.json();
        assert!(body["code"].is_string() && body["advice"].is_string(), "{body}");
        assert!(body["detail"].is_string() || body["detail"].is_array(), "{body}");
        body["detail"].clone()
    }

    /// The events of a stream, without the end mark, which must be there.
    pub(crate) fn events(&self) -> Vec<Value> {
        assert_eq!(self.status, StatusCode::OK, "{}", self.text());
        assert_eq!(self.headers["content-type"], "text/event-stream");
        let lines: Vec<&str> = self.text().split("\n\n").filter(|line| !line.is_empty()).collect();
        let (done, events) = lines.split_last().unwrap();
        assert_eq!(*done, "data: [DONE]");
        events
            .iter()
            .map(|line| serde_json::from_str(line.strip_prefix("data: ").unwrap()).unwrap())
            .collect()
    }
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::with(Options::default()).await
    }

    pub(crate) async fn with(options: Options) -> Self {
        let env = kelpie_env::real::env();
        let store = Store::from_backend(Arc::new(Memory::new(env.clone())), env.clone());
        Self::over(env, store, options).await
    }

    pub(crate) async fn over(env: Env, store: Store, options: Options) -> Self {
        let go = Arc::new(Semaphore::new(0));
        let moody = Moody { env: env.clone(), go: go.clone() };
        let models = Models::new(env.clone(), vec![Arc::new(Scripted), Arc::new(moody)], None);
        let parts =
            AgentParts { models, tools: Arc::new(NoTools), embeddings: None, spending: Spending::default() };
        let alone = kelpie_runtime::Options::alone("here").unwrap();
        let agents = Agents::start(env.clone(), store, alone, parts).await.unwrap();
        Self::serving(Serves::Agents(agents), options, go)
    }

    /// A program with these actors and no agents.
    pub(crate) async fn of_actors(actors: Vec<Arc<dyn Actor>>, limits: CallLimits) -> Self {
        let env = kelpie_env::real::env();
        let store = Store::from_backend(Arc::new(Memory::new(env.clone())), env.clone());
        let alone = kelpie_runtime::Options::alone("here").unwrap();
        let alone = kelpie_runtime::Options { call_limits: limits, ..alone };
        let runtime = Runtime::start(alone, env, store, actors).await.unwrap();
        Self::serving(Serves::Actors(runtime), Options::default(), Arc::new(Semaphore::new(0)))
    }

    fn serving(serves: Serves, options: Options, go: Arc<Semaphore>) -> Self {
        let tenant = "default".to_owned();
        let front = Front::new(Parts { serves, tenant, metrics: recorder::gathered(), options });
        Self { router: kelpie_server::router(front.clone()), front, go }
    }

    /// An answer whose body is still to be taken.
    pub(crate) async fn answer(&self, request: Request<Body>) -> Response {
        self.router.clone().oneshot(request).await.unwrap()
    }

    pub(crate) async fn send(&self, request: Request<Body>) -> Reply {
        let response = self.answer(request).await;
        let (parts, body) = response.into_parts();
        let body = axum::body::to_bytes(body, 64 << 20).await.unwrap().to_vec();
        Reply { status: parts.status, headers: parts.headers, body }
    }

    /// A request with JSON and further headers.
    pub(crate) async fn call(
        &self,
        method: Method,
        path: &str,
        body: &Value,
        headers: &[(&str, &str)],
    ) -> Reply {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = if body.is_null() {
            request.body(Body::empty())
        } else {
            request.header("content-type", "application/json").body(Body::from(body.to_string()))
        };
        self.send(request.unwrap()).await
    }

    pub(crate) async fn get(&self, path: &str) -> Reply {
        self.call(Method::GET, path, &Value::Null, &[]).await
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> Reply {
        self.call(Method::POST, path, &body, &[]).await
    }

    pub(crate) async fn patch(&self, path: &str, body: Value) -> Reply {
        self.call(Method::PATCH, path, &body, &[]).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Reply {
        self.call(Method::DELETE, path, &Value::Null, &[]).await
    }

    /// A new agent; its id.
    pub(crate) async fn agent(&self, name: &str) -> String {
        let blocks = json!([{"label": "human", "value": ""}, {"label": "persona", "value": "I am Kel."}]);
        let agent = self.post("/v1/agents/", json!({"name": name, "memory_blocks": blocks})).await.ok();
        agent["id"].as_str().unwrap().to_owned()
    }

    /// A new agent whose model is this one; its id.
    pub(crate) async fn agent_with(&self, model: &str) -> String {
        let agent = self.post("/v1/agents/", json!({"model": model})).await.ok();
        agent["id"].as_str().unwrap().to_owned()
    }

    /// Waits until something is so.
    pub(crate) async fn until<F: Future<Output = bool>>(&self, what: &str, mut so: impl FnMut() -> F) {
        for _ in 0..500 {
            if so().await {
                return;
            }
            self.front.env().sleep(Duration::from_millis(10)).await;
        }
        panic!("not so within 5 s: {what}");
    }
}

/// The words of an agent in an answer.
pub(crate) fn said(answer: &Value) -> String {
    let messages = answer["messages"].as_array().unwrap().iter();
    let said = messages.filter(|message| message["message_type"] == "assistant_message");
    said.map(|message| message["content"].as_str().unwrap()).collect::<Vec<_>>().join("\n")
}
