//! One simulated node with agents, over a store, a model and tools that outlive it.

use std::sync::Arc;
use std::time::Duration;

use kelpie_agent::budget::Spending;
use kelpie_agent::error::AgentError;
use kelpie_agent::message::{Message, MessageBody, NewMessage};
use kelpie_agent::models::Models;
use kelpie_agent::query::{Order, PAGE_MAX, Page, Scope, SendOptions};
use kelpie_agent::record::{AgentRecord, CreateAgent};
use kelpie_agent::service::{Agents, Parts, StartError};
use kelpie_core::call::IdempotencyKey;
use kelpie_core::id::NodeId;
use kelpie_core::session::{Session, SessionState};
use kelpie_env::sim::{Node, Sim};
use kelpie_memory::block::NewBlock;
use kelpie_memory::embedding::Embeddings;
use kelpie_runtime::Options;
use kelpie_storage::{Backend, EmbeddedOptions, Memory, Store, StoreConfig};

use crate::doubles::{Asked, Effects, Puppet, Tools};

pub(crate) struct World {
    pub(crate) sim: Sim,
    pub(crate) node: Node,
    pub(crate) backend: Arc<dyn Backend>,
    pub(crate) asked: Arc<Asked>,
    pub(crate) effects: Arc<Effects>,
    pub(crate) thinks: Duration,
    pub(crate) takes: Duration,
    /// What gives passages their vectors.
    pub(crate) embeddings: Option<Arc<Embeddings>>,
    pub(crate) spending: Spending,
}

impl World {
    pub(crate) fn new(seed: u64) -> Self {
        let sim = Sim::new(seed);
        let backend: Arc<dyn Backend> = Arc::new(Memory::new(sim.node("store").env()));
        let node = sim.node("n1");
        Self {
            sim,
            node,
            backend,
            asked: Arc::default(),
            effects: Arc::default(),
            thinks: Duration::from_millis(100),
            takes: Duration::from_millis(100),
            embeddings: None,
            spending: Spending::default(),
        }
    }

    /// Starts the node's present life.
    pub(crate) async fn start(&self) -> Agents {
        self.start_over(Store::from_backend(self.backend.clone(), self.node.env())).await.unwrap()
    }

    /// Starts the node's present life over another store.
    pub(crate) async fn start_over(&self, store: Store) -> Result<Agents, StartError> {
        let env = self.node.env();
        let puppet = Puppet { env: env.clone(), thinks: self.thinks, asked: self.asked.clone() };
        let tools = Tools { env: env.clone(), takes: self.takes, effects: self.effects.clone() };
        let models = Models::new(env.clone(), vec![Arc::new(puppet)], None);
        let parts = Parts {
            models,
            tools: Arc::new(tools),
            embeddings: self.embeddings.clone(),
            spending: self.spending.clone(),
        };
        let options = Options { idle_after: Duration::from_secs(8), ..Options::alone("n1").unwrap() };
        Agents::start(env, store, options, parts).await
    }

    /// Starts the node's present life over a store on its disk, where a commit takes a while.
    pub(crate) async fn start_on_a_disk(&self) -> Agents {
        let config = StoreConfig::Embedded { dir: "data".into(), options: EmbeddedOptions::default() };
        let store = Store::open(&config, &self.node.env()).await.unwrap();
        self.start_over(store).await.unwrap()
    }

    /// Ends the node's life without a word and begins the next one.
    pub(crate) async fn restart(&self) -> Agents {
        self.node.kill();
        let env = self.node.restart();
        // Over a store that others can write, a second life waits until the first is known to
        // have ended. Here the test knows.
        let store = Store::from_backend(self.backend.clone(), env);
        end_session(&store, &NodeId::new("n1").unwrap()).await;
        self.start().await
    }
}

async fn end_session(store: &Store, node: &NodeId) {
    let key = kelpie_core::row::session(node);
    loop {
        let mut tx = store.begin();
        let Some(stored) = tx.get(&key).await.unwrap() else { return };
        let mut session: Session = kelpie_core::record::decode(&stored).unwrap();
        session.state = SessionState::Dead;
        tx.set(key.clone(), kelpie_core::record::encode(&session));
        if tx.commit().await.is_ok() {
            return;
        }
    }
}

pub(crate) fn scope() -> Scope {
    Scope::anonymous()
}

pub(crate) fn key(key: impl AsRef<str>) -> IdempotencyKey {
    IdempotencyKey::new(key.as_ref()).unwrap()
}

pub(crate) fn say(text: &str) -> Vec<NewMessage> {
    vec![NewMessage { text: text.into(), ..NewMessage::default() }]
}

pub(crate) fn block(label: &str, value: &str) -> NewBlock {
    NewBlock { label: label.into(), value: value.into(), ..NewBlock::default() }
}

/// An agent with the blocks `persona` and `human` and all tools.
pub(crate) async fn create(agents: &Agents, name: &str) -> AgentRecord {
    try_create(agents, name).await.unwrap()
}

pub(crate) async fn try_create(agents: &Agents, name: &str) -> Result<AgentRecord, AgentError> {
    let create = CreateAgent {
        name: Some(name.into()),
        blocks: vec![block("persona", "I am a test."), block("human", "Name: ?")],
        tools: vec!["book".into(), "note".into(), "broken".into()],
        ..CreateAgent::default()
    };
    agents.create(&scope(), Some(&key(format!("create {name}"))), create).await
}

pub(crate) async fn send(
    agents: &Agents,
    agent: &str,
    name: &str,
    text: &str,
) -> kelpie_agent::outcome::RunResult {
    agents.send(&scope(), agent, Some(&key(name)), say(text), SendOptions::default()).await.unwrap()
}

/// All messages, oldest first, each as a line.
pub(crate) async fn history(agents: &Agents, agent: &str) -> Vec<String> {
    let page = Page { limit: PAGE_MAX, order: Order::Ascending, ..Page::default() };
    lines(&agents.messages(&scope(), agent, &page).await.unwrap())
}

pub(crate) fn lines(messages: &[Message]) -> Vec<String> {
    messages.iter().map(line).collect()
}

fn line(message: &Message) -> String {
    match &message.body {
        MessageBody::System { text } => format!("system: {text}"),
        MessageBody::User { text } => format!("user: {text}"),
        MessageBody::Reasoning { text } => format!("thinks: {text}"),
        MessageBody::Assistant { text } => format!("agent: {text}"),
        MessageBody::ToolCall { name, arguments, .. } => format!("calls {name} {arguments}"),
        MessageBody::ApprovalRequest { calls } => {
            let calls: Vec<String> =
                calls.iter().map(|call| format!("{} {}", call.name, call.arguments)).collect();
            format!("asks for {}", calls.join(" and "))
        }
        MessageBody::ApprovalResponse { verdicts } => format!("{} decided", verdicts.len()),
        MessageBody::Summary { text, .. } => format!("summary: {text}"),
        MessageBody::ToolReturn { name, text, status, .. } => format!("{name} {status:?}: {text}"),
    }
}
