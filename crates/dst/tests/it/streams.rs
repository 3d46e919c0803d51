//! Runs that are watched through another node than the one that carries them out.

use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt};
use kelpie_agent::budget::Spending;
use kelpie_agent::event::RunEventKind;
use kelpie_agent::message::{MessageBody, NewMessage};
use kelpie_agent::models::Models;
use kelpie_agent::provider::{
    Delta, DeltaSink, ModelAnswer, ModelError, ModelInfo, ModelRequest, Provider, Stop, Usage,
};
use kelpie_agent::query::{Page, Scope, SendOptions, WatchOptions};
use kelpie_agent::record::CreateAgent;
use kelpie_agent::service::{Agents, Parts};
use kelpie_agent::tool::runner::NoTools;
use kelpie_cluster::{Node, Options, Protocols, SecretKey, Security, start};
use kelpie_core::id::ActorId;
use kelpie_dst::service::{ServiceBackend, StoreService};
use kelpie_env::Env;
use kelpie_env::sim::{self, Sim};

/// Between two words of the model.
const WORD_EVERY: Duration = Duration::from_millis(300);
const WORDS: u32 = 8;
/// What a word may take from its model to whoever watches.
const SOON: Duration = Duration::from_millis(50);

/// Says a word now and then.
struct Slow(Env);

impl Provider for Slow {
    fn name(&self) -> &str {
        "slow"
    }

    fn models(&self) -> BoxFuture<'_, Result<Vec<ModelInfo>, ModelError>> {
        let info = ModelInfo {
            handle: "slow/words".to_owned(),
            provider: "slow".to_owned(),
            name: "words".to_owned(),
            context_window: None,
        };
        std::future::ready(Ok(vec![info])).boxed()
    }

    fn complete<'a>(
        &'a self,
        _: &'a ModelRequest,
        deltas: DeltaSink<'a>,
    ) -> BoxFuture<'a, Result<ModelAnswer, ModelError>> {
        async {
            let mut text = String::new();
            for number in 0..WORDS {
                self.0.sleep(WORD_EVERY).await;
                let word = format!("w{number} ");
                text.push_str(&word);
                deltas(Delta::Text(word));
            }
            Ok(ModelAnswer {
                model: "words".to_owned(),
                text: Some(text),
                reasoning: None,
                tool_calls: Vec::new(),
                stop: Stop::EndTurn,
                usage: Usage::default(),
                raw: None,
            })
        }
        .boxed()
    }
}

/// A node that serves agents.
async fn node(service: &StoreService, machine: &sim::Node) -> (Node, Agents) {
    let env = machine.env();
    let models = Models::new(env.clone(), vec![Arc::new(Slow(env.clone()))], None);
    let prepared = Agents::prepare(Parts {
        models,
        tools: Arc::new(NoTools),
        embeddings: None,
        spending: Spending::default(),
    })
    .await;
    let options = Options {
        runtime: kelpie_runtime::Options::alone(machine.name()).unwrap(),
        listen: (machine.ip(), 7000).into(),
        advertise: None,
        security: Security::Secret(SecretKey::new(b"a secret of the test").unwrap()),
        protocols: Protocols::default(),
    };
    let started = start(options, env, service.store(machine), vec![prepared.actor()]);
    let node = Box::pin(started).await.unwrap();
    let agents = prepared.on(node.runtime().clone());
    (node, agents)
}

/// Watches a run through the node that has its agent and through the other one: when each word came,
/// and how the run ended.
fn watched(seed: u64) -> Vec<(Vec<Duration>, Duration)> {
    let sim = &Sim::new(seed);
    sim.block_on(async {
        let service = StoreService::start(sim, "store", ServiceBackend::Memory);
        let machines = [sim.node("n1"), sim.node("n2")];
        let mut nodes = Vec::new();
        for machine in &machines {
            nodes.push(node(&service, machine).await);
        }
        let clock = service.node().env();
        clock.sleep(Duration::from_secs(1)).await;
        let scope = Scope::anonymous();
        let create = CreateAgent {
            name: Some("ada".to_owned()),
            model: Some("slow/words".to_owned()),
            include_base_tools: false,
            ..CreateAgent::default()
        };
        let agent = nodes[0].1.create(&scope, None, create).await.unwrap().id;
        let actor = ActorId::new("default", "agent", &agent).unwrap();
        let owner = nodes[0].0.runtime().inspect(&actor).await.unwrap().owner.unwrap();
        // Through the one that does not own it.
        let (here, there) = if owner.as_str() == "n1" { (0, 1) } else { (1, 0) };
        let say = vec![NewMessage { text: "go on".to_owned(), ..NewMessage::default() }];
        let pieces = WatchOptions { pieces: true, after: None };
        let asked = nodes[there].1.stream(&scope, &agent, None, say, SendOptions::default(), pieces);
        let through = asked.await.unwrap();
        let run_id = nodes[here].1.runs(&scope, &agent, &Page::default()).await.unwrap()[0].id.clone();
        let at_home = nodes[here].1.watch(&scope, &agent, &run_id, pieces).await.unwrap();
        let seen = [at_home.boxed(), through.boxed()].map(|mut events| async move {
            let mut words = Vec::new();
            while let Some(event) = events.next().await {
                match event.kind {
                    RunEventKind::Piece(message) => {
                        let MessageBody::Assistant { text } = message.body else { continue };
                        assert_eq!(text, format!("w{} ", words.len()), "seed {seed}");
                        words.push(sim.elapsed());
                    }
                    RunEventKind::Usage(_) => return (words, sim.elapsed()),
                    RunEventKind::Broken { message } => panic!("seed {seed}: {message}"),
                    RunEventKind::Void | RunEventKind::Message(_) | RunEventKind::Stopped { .. } => {}
                }
            }
            panic!("seed {seed}: the stream has no end");
        });
        futures::future::join_all(seen).await
    })
}

#[test]
fn sim_words_come_as_they_are_made_through_a_node_that_does_not_have_the_agent() {
    for seed in 0..5 {
        let [at_home, through] = watched(seed).try_into().unwrap();
        assert_eq!((at_home.0.len(), through.0.len()), (WORDS as usize, WORDS as usize), "seed {seed}");
        for (number, (made, came)) in at_home.0.iter().zip(&through.0).enumerate() {
            assert!(*came <= *made + SOON, "seed {seed}: word {number} of {made:?} came at {came:?}");
        }
        assert!(through.1 <= at_home.1 + SOON, "seed {seed}: the end of {:?} at {:?}", at_home.1, through.1);
    }
}

#[cfg(feature = "mutants")]
#[test]
fn sim_pieces_that_stay_at_home_are_missed() {
    let _armed = kelpie_core::mutant::arm("pieces_stay_home");
    std::panic::catch_unwind(sim_words_come_as_they_are_made_through_a_node_that_does_not_have_the_agent)
        .unwrap_err();
}
