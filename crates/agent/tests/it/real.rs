//! Once in the real world: clocks, threads and the scripted model.

use std::sync::Arc;

use kelpie_agent::budget::Spending;
use kelpie_agent::models::Models;
use kelpie_agent::provider::Scripted;
use kelpie_agent::service::{Agents, Parts};
use kelpie_agent::tool::runner::NoTools;
use kelpie_runtime::Options;
use kelpie_storage::{Memory, Store};

use crate::world::{history, lines, scope, send};

#[tokio::test(flavor = "multi_thread")]
async fn the_scripted_model_remembers_a_name() {
    let env = kelpie_env::real::env();
    let store = Store::from_backend(Arc::new(Memory::new(env.clone())), env.clone());
    let models = Models::new(env.clone(), vec![Arc::new(Scripted)], None);
    let parts = Parts { models, tools: Arc::new(NoTools), embeddings: None, spending: Spending::default() };
    let agents = Agents::start(env, store, Options::alone("n1").unwrap(), parts).await.unwrap();
    let create = kelpie_agent::record::CreateAgent {
        blocks: vec![crate::world::block("human", "")],
        ..Default::default()
    };
    let agent = agents.create(&scope(), None, create).await.unwrap();
    assert_eq!(agent.model.handle, "offline/scripted");
    send(&agents, &agent.id, "1", "My name is Kai.").await;
    let answer = send(&agents, &agent.id, "2", "What is my name?").await;
    let last = lines(&answer.messages).pop().unwrap();
    assert!(last.contains("Kai"), "{:#?}", history(&agents, &agent.id).await);
    agents.runtime().drain(std::time::Duration::from_secs(5)).await;
}
