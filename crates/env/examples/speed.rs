//! How fast the simulator is: turns, timers and messages a second of real time.
//!
//! `cargo run --release -p kelpie-env --example speed [part of a workload's name]`

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use kelpie_env::Env;
use kelpie_env::sim::{Node, Sim};

/// Turns of each workload, roughly.
const TURNS: u64 = 4_000_000;

/// Nodes, and tasks of each of them.
const NODES: u64 = 5;
const TASKS: u64 = 200;

fn main() {
    type Workload = fn(&[Node]);
    let workloads: [(&str, Workload); 4] = [
        ("ready tasks", yields),
        ("timers that fire", sleeps),
        ("timers that are dropped", time_outs),
        ("messages", messages),
    ];
    let wanted = std::env::args().nth(1).unwrap_or_default();
    for (name, workload) in workloads {
        if name.contains(&wanted) {
            measure(name, workload);
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "measures the simulator itself")]
#[expect(clippy::print_stdout, reason = "the numbers are what it is for")]
fn measure(name: &str, workload: fn(&[Node])) {
    let sim = Sim::new(1);
    let nodes: Vec<_> = (0..NODES).map(|node| sim.node(&format!("n{node}"))).collect();
    let began = Instant::now();
    workload(&nodes);
    sim.run_until_idle();
    let took = began.elapsed();
    let turns = sim.turns();
    let rate = turns as f64 / took.as_secs_f64();
    let per_turn = sim.events() as f64 / turns as f64;
    println!(
        "{name:<24} {turns:>8} turns in {took:>7.1?}: {:.2} M turns/s, {:.2} M events/s; {:.1?} of virtual time",
        rate / 1e6,
        rate * per_turn / 1e6,
        sim.elapsed()
    );
}

/// Starts every task of every node.
fn each<T: Future<Output = ()> + Send + 'static>(nodes: &[Node], task: impl Fn(Env) -> T) {
    for node in nodes {
        for _ in 0..TASKS {
            node.env().spawn("turns", task(node.env()));
        }
    }
}

fn yields(nodes: &[Node]) {
    each(nodes, |_| async {
        for _ in 0..TURNS / NODES / TASKS {
            tokio::task::yield_now().await;
        }
    });
}

fn sleeps(nodes: &[Node]) {
    each(nodes, |env| async move {
        for turn in 0..TURNS / NODES / TASKS {
            env.sleep(Duration::from_micros(turn % 1000 + 1)).await;
        }
    });
}

/// Time-outs of work that is done long before.
fn time_outs(nodes: &[Node]) {
    each(nodes, |env| async move {
        for _ in 0..TURNS / NODES / TASKS {
            let done = env.timeout(Duration::from_secs(10), tokio::task::yield_now()).await;
            assert!(done.is_ok());
        }
    });
}

/// Each task sends to the same of the next node and waits for what is sent to it.
fn messages(nodes: &[Node]) {
    for task in 0..TASKS {
        let port = u16::try_from(task + 1).expect("a small number");
        let mailboxes: Vec<_> = nodes.iter().map(|node| node.mailbox(port)).collect();
        for (index, mailbox) in mailboxes.into_iter().enumerate() {
            let next = SocketAddr::new(nodes[(index + 1) % nodes.len()].ip(), port);
            nodes[index].env().spawn("passes on", async move {
                for _ in 0..TURNS / NODES / TASKS {
                    mailbox.send(next, Bytes::from_static(&[7; 64]));
                    if mailbox.recv().await.is_none() {
                        break;
                    }
                }
            });
        }
    }
}
