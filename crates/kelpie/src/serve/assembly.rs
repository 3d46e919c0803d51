//! The parts of a node and how they fit: store, models, tools, runtime, agents.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use kelpie_agent::budget::Spending;
use kelpie_agent::models::Models;
use kelpie_agent::price::Prices;
use kelpie_agent::provider::Patience;
use kelpie_agent::service::{Agents, Parts as AgentParts, StartError};
use kelpie_agent::tool::file::{self, HttpTool};
use kelpie_agent::tool::http::HttpTools;
use kelpie_agent::tool::runner::{Runners, ToolRunner};
use kelpie_agent::tool::web::{self, WebFetch};
use kelpie_env::{Env, Open};
use kelpie_memory::embedding::Embeddings;
use kelpie_runtime::{Drained, Health, Options as RuntimeOptions, Runtime};
use kelpie_server::front::{Front, Parts, Serves};
use kelpie_server::options::{Options, Token};
use kelpie_storage::Store;
use metrics_exporter_prometheus::PrometheusHandle;

use super::peers;
use crate::args::{BudgetArgs, ServeArgs};
use crate::embeddings;
use crate::exit::{Exit, Failure};

/// How often a node looks whether its place was taken.
const LOOK: Duration = Duration::from_secs(1);
/// How long a provider may take to say which model is its usual one, before people wait.
const MODEL_LIMIT: Duration = Duration::from_secs(3);

/// A running node.
pub(super) struct Node {
    env: Env,
    store: Store,
    /// Which one, without its password.
    store_name: String,
    agents: Agents,
    /// Its place among other nodes, if it has one.
    peer: Option<kelpie_cluster::Node>,
    /// The handle of the usual model, or why it is not known.
    model: Result<String, String>,
    /// Whether there is any model but the script.
    real: bool,
    tools: Vec<String>,
    /// How archival memory is searched, in words.
    search: String,
    metrics: Option<PrometheusHandle>,
}

/// What the arguments say about the HTTP front, checked before anything is opened.
pub(super) fn front_options(args: &ServeArgs) -> Result<Options, Failure> {
    let usage = |error| Failure::new(Exit::Usage, error);
    let token = args.token.as_deref().map(Token::new).transpose().map_err(usage)?;
    let drain_time = Duration::from_secs(args.drain_seconds);
    let options = Options { token, drain_time, ..Options::default() };
    options.check(args.listen).map_err(usage)?;
    Ok(options)
}

/// The models that the environment gives.
pub(crate) fn models(env: &Env) -> Result<Models, Failure> {
    Models::from_variables(env, Patience::default(), |name| std::env::var(name).ok())
        .map_err(|error| Failure::new(Exit::Usage, error))
}

impl Node {
    /// Starts the parts on an open store; what is owed from before goes on at once.
    pub(super) async fn start(
        args: &ServeArgs,
        store: Store,
        spending: Spending,
        env: Env,
    ) -> Result<Self, Failure> {
        let metrics = kelpie_server::recorder::gathered();
        let models = models(&env)?;
        let runners = runners(args, &env)?;
        let embeddings = read_embeddings(args.embeddings.as_deref(), &env)?;
        let search = embeddings.as_deref().map_or_else(|| embeddings::NONE.to_owned(), embeddings::with);
        let names = runners.tools().into_iter().map(|tool| tool.spec.name).collect();
        let options = RuntimeOptions::alone(&args.node);
        let mut options =
            options.map_err(|error| Failure::new(Exit::Usage, format!("--node {}: {error}", args.node)))?;
        options.node.lease_term = Duration::from_secs(args.peers.lease_term);
        let (model, real) = (usual_model(&models, &env).await, models.has_real_model());
        let parts = AgentParts { models, tools: Arc::new(runners), embeddings, spending };
        let prepared = Agents::prepare(parts).await;
        let (runtime, peer) = match peers::options(args, &options, &store, &env)? {
            Some(options) => {
                let started =
                    kelpie_cluster::start(options, env.clone(), store.clone(), vec![prepared.actor()]);
                let peer = started.await.map_err(|error| peers::not_started(&error))?;
                (peer.runtime().clone(), Some(peer))
            }
            None => {
                let started = Runtime::start(options, env.clone(), store.clone(), vec![prepared.actor()]);
                (started.await.map_err(not_started)?, None)
            }
        };
        let agents = prepared.on(runtime);
        let store_name = crate::store::named_by(&args.store);
        Ok(Self { env, store, store_name, agents, peer, model, real, tools: names, search, metrics })
    }

    /// The world.
    pub(super) fn env(&self) -> &Env {
        &self.env
    }

    /// Its store, as people may see it.
    pub(super) fn store(&self) -> &str {
        &self.store_name
    }

    /// Where other nodes reach it.
    pub(super) fn peer_advertised(&self) -> Option<&kelpie_cluster::Advertised> {
        self.peer.as_ref().map(kelpie_cluster::Node::advertised)
    }

    /// Its HTTP front.
    pub(super) fn front(&self, options: Options) -> Front {
        let (serves, tenant) = (Serves::Agents(self.agents.clone()), "default".to_owned());
        Front::new(Parts { serves, tenant, metrics: self.metrics.clone(), options })
    }

    /// The model that agents get whose creator names none, in words.
    pub(super) fn model(&self) -> String {
        match &self.model {
            Ok(handle) if self.real => {
                format!("{handle} (KELPIE_MODEL names another, `kelpie doctor` lists them)")
            }
            Ok(handle) => format!(
                "{handle}, a script and no language model\n          \
                 for a real one set ANTHROPIC_API_KEY, OPENAI_API_KEY or OPENAI_BASE_URL"
            ),
            Err(why) => format!("not known yet: {why}"),
        }
    }

    /// How archival memory is searched, in words.
    pub(super) fn search(&self) -> &str {
        &self.search
    }

    /// The names of the tools outside.
    pub(super) fn tools(&self) -> &[String] {
        &self.tools
    }

    /// Completes when this node is to end: told to drain, or with the reason why it must stop, as
    /// when another process has taken its place in the store, or the store itself was replaced.
    pub(super) fn ended(&self) -> BoxFuture<'static, Result<(), Health>> {
        let (runtime, env) = (self.agents.runtime().clone(), self.env.clone());
        Box::pin(async move {
            loop {
                let health = runtime.health();
                if health.is_over() {
                    return Err(health);
                }
                if runtime.is_told_to_drain() {
                    return Ok(());
                }
                env.sleep(LOOK).await;
            }
        })
    }

    /// Drains the runtime and closes the store; says whether everything had ended by then.
    pub(super) async fn close(&self, limit: Duration) -> bool {
        let drained = self.drain(limit).await;
        if drained.cut_off > 0 {
            tracing::warn!(cut_off = drained.cut_off, "cut off in flight; they resume at the next start");
        }
        if let Err(error) = &drained.left {
            tracing::warn!(%error, "the store does not know that this node has left");
        }
        let closed = self.close_store().await;
        drained.cut_off == 0 && closed
    }

    async fn drain(&self, limit: Duration) -> Drained {
        match &self.peer {
            Some(peer) => peer.drain(limit).await,
            None => self.agents.runtime().drain(limit).await,
        }
    }

    async fn close_store(&self) -> bool {
        let closed = self.store.close().await;
        if let Err(error) = &closed {
            tracing::error!(%error, "the store did not close; its log is replayed at the next start");
        }
        closed.is_ok()
    }
}

/// Asked for a short while only: a provider that sleeps must not keep the server from its start.
async fn usual_model(models: &Models, env: &Env) -> Result<String, String> {
    match env.timeout(MODEL_LIMIT, models.default_model()).await {
        Ok(Ok(handle)) => Ok(handle),
        Ok(Err(error)) => Err(error.to_string()),
        Err(elapsed) => Err(elapsed.to_string()),
    }
}

/// All that carries tools out, outside of the process.
fn runners(args: &ServeArgs, env: &Env) -> Result<Runners, Failure> {
    let tools = match &args.tools {
        Some(path) => read_tools(path, env)?,
        None => Vec::new(),
    };
    let taken = tools.iter().any(|tool| tool.tool.spec.name == web::NAME);
    let tools = HttpTools::new(env.clone(), tools);
    let mut runners: Vec<Box<dyn ToolRunner>> =
        vec![Box::new(tools.map_err(|error| Failure::caused(Exit::Failed, "tools", &error))?)];
    if let Some(allowed) = &args.web_fetch {
        if taken {
            let name = web::NAME;
            let both = format!(
                "--tools has a tool of the name `{name}`, and --web-fetch brings one: give the other a new name"
            );
            return Err(Failure::new(Exit::Usage, both));
        }
        let web = WebFetch::new(env.clone(), allowed.clone());
        runners.push(Box::new(web.map_err(|error| Failure::caused(Exit::Failed, "tools", &error))?));
    }
    Ok(Runners(runners))
}

fn read_tools(path: &Path, env: &Env) -> Result<Vec<HttpTool>, Failure> {
    let text = read(path, env).map_err(|error| Failure::new(Exit::Usage, format!("--tools: {error}")))?;
    file::parse(&text).map_err(|error| Failure::new(Exit::Usage, format!("{}: {error}", path.display())))
}

fn read_embeddings(folder: Option<&Path>, env: &Env) -> Result<Option<Arc<Embeddings>>, Failure> {
    let Some(folder) = folder else { return Ok(None) };
    let read = embeddings::read(folder, env).map_err(|error| {
        Failure::new(Exit::Usage, format!("--embeddings: {error}")).hint(embeddings::HINT)
    })?;
    Ok(Some(Arc::new(read)))
}

/// What models cost, and what a tenant may use up: checked before anything is opened.
pub(super) fn spending(budget: &BudgetArgs, env: &Env) -> Result<Spending, Failure> {
    let prices = match &budget.prices {
        None => Prices::default(),
        Some(path) => {
            let text =
                read(path, env).map_err(|error| Failure::new(Exit::Usage, format!("--prices: {error}")))?;
            Prices::parse(&text)
                .map_err(|error| Failure::new(Exit::Usage, format!("{}: {error}", path.display())))?
        }
    };
    if budget.tenant().microdollars_per_day.is_some() && budget.prices.is_none() {
        let why =
            "--tenant-microdollars-per-day needs --prices FILE: without it, nobody knows what models cost";
        return Err(Failure::new(Exit::Usage, why));
    }
    Ok(Spending { prices, tenant: budget.tenant() })
}

fn read(path: &Path, env: &Env) -> std::io::Result<String> {
    String::from_utf8(read_bytes(path, env)?).map_err(std::io::Error::other)
}

/// A whole file.
pub(super) fn read_bytes(path: &Path, env: &Env) -> std::io::Result<Vec<u8>> {
    let file = env.disk().open(path, Open::Existing)?;
    let mut bytes = vec![0; usize::try_from(file.len()?).map_err(std::io::Error::other)?];
    file.read_exact_at(&mut bytes, 0)?;
    Ok(bytes)
}

#[expect(clippy::needless_pass_by_value, reason = "used as a function of an error")]
fn not_started(error: StartError) -> Failure {
    Failure::caused(Exit::Store, "the node cannot join its store", &error)
}
