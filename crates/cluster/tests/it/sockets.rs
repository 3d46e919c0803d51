//! Three runtimes in one process, over real sockets and one store.

use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use kelpie_cluster::{Failure, Links, Node, Options, Protocols, Refusal, Security, start};
use kelpie_env::Env;
use kelpie_runtime::Call;
use kelpie_storage::{Memory, Store};

use crate::counter::{Counter, actor, number};
use crate::peers::{Echo, after, ask, listen, local};
use crate::shared::Shared;

async fn node(name: &str, env: &Env, backend: &Arc<Shared>) -> Node {
    let options = Options {
        runtime: kelpie_runtime::Options::alone(name).unwrap(),
        listen: ([127, 0, 0, 1], 0).into(),
        advertise: None,
        security: Security::Loopback,
        protocols: Protocols::default(),
    };
    let store = Store::from_backend(backend.clone(), env.clone());
    Box::pin(start(options, env.clone(), store, Counter::all(env))).await.unwrap()
}

async fn total(node: &Node, key: &str, operation: &str) -> u64 {
    number(&node.runtime().call(Call::new(actor(key), operation, "")).await.unwrap())
}

#[test]
fn three_runtimes_over_real_sockets_serve_each_others_calls_and_one_leaves() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let env = kelpie_env::real::env_on(&tokio::runtime::Handle::current());
        let backend = Arc::new(Shared::new(Memory::new(env.clone())));
        let mut nodes = Vec::new();
        for name in ["n1", "n2", "n3"] {
            nodes.push(node(name, &env, &backend).await);
        }
        // Until each has read that there are the others.
        env.sleep(Duration::from_millis(500)).await;
        let add = |round: usize| {
            let nodes = &nodes;
            async move { total(&nodes[round % 3], &format!("c{}", round % 10), "add").await }
        };
        join_all((0..300).map(add)).await;
        for key in 0..10 {
            for node in &nodes {
                assert_eq!(total(node, &format!("c{key}"), "get").await, 30);
            }
        }
        let held: Vec<usize> = nodes.iter().map(|node| node.runtime().activations()).collect();
        assert_eq!(held.iter().sum::<usize>(), 10);
        assert!(held.iter().filter(|held| **held > 0).count() > 1, "{held:?}");
        let drain = nodes[0].drain(Duration::from_secs(10));
        let calls = join_all((0..300).map(|round| {
            let node = &nodes[1 + round % 2];
            async move { total(node, &format!("c{}", round % 10), "add").await }
        }));
        let (drained, _) = futures::join!(drain, calls);
        assert_eq!(drained.cut_off, 0);
        drained.left.unwrap();
        assert_eq!(nodes[0].runtime().activations(), 0);
        for key in 0..10 {
            assert_eq!(total(&nodes[1], &format!("c{key}"), "get").await, 60);
        }
    });
}

#[test]
fn who_comes_over_a_real_socket_while_too_many_shake_hands_is_told_so() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let env = kelpie_env::real::env_on(&tokio::runtime::Handle::current());
        let mut answers = local(&env, "b", Security::Loopback);
        // However slow the machine is, none of those below is too late.
        answers.timing.connect_max = Duration::from_mins(10);
        let at = ([127, 0, 0, 1], 0).into();
        let (listening, target) = listen(&answers, at, None, Echo::new(&env)).await;
        let silent = join_all((0..64).map(|_| env.net().connect(listening.address()))).await;
        let mut asks = local(&env, "a", Security::Loopback);
        asks.timing.connect_max = Duration::from_mins(10);
        let failure = ask(&Links::new(asks), &target, after(Duration::ZERO)).await.unwrap_err();
        let Failure::Rejected { refusal, .. } = failure else { panic!("{failure:?}") };
        assert_eq!(refusal, Refusal::Busy);
        drop(silent);
    });
}
