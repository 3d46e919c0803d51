//! What clients do to a cluster.

mod actors;
mod agents;
mod couriers;
mod outside;
mod values;

use std::sync::Arc;
use std::time::Duration;

use crate::agents::AgentProgram;
use crate::cluster::{Actors, PEEK, Program};
use crate::schedule::{Draw, Operation, Wishes};
pub(crate) use actors::OPENING;
pub use outside::{Effect, Outside};
pub(crate) use values::UNWRITTEN;

/// A kind of load.
pub struct Workload {
    /// Its name, for schedules and the command line.
    pub name: &'static str,
    /// What it does, in a line.
    pub about: &'static str,
    /// Calls of one client at most. An agent takes its time for each.
    pub calls_max: u32,
    /// The types of actors that it calls, with a function that draws a call of each.
    kinds: &'static [(&'static str, Kind)],
}

/// Draws the operation and payload of a call; `word` occurs once in a run.
type Kind = fn(&mut Draw, Size, word: &str) -> (&'static str, String);

/// How much there is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    /// How many clients.
    pub clients: u32,
    /// How many calls each of them makes.
    pub calls: u32,
    /// How many actors of a type they call.
    pub actors: u32,
    /// Milliseconds over which they spread their calls.
    pub span_ms: u64,
}

/// All workloads.
pub const ALL: &[Workload] = &[
    Workload {
        name: "counters",
        calls_max: 24,
        about: "adds to counters and reads them",
        kinds: &[("counter", counter)],
    },
    Workload {
        name: "logs",
        calls_max: 24,
        about: "appends words to logs and reads them",
        kinds: &[("log", log)],
    },
    Workload {
        name: "values",
        calls_max: 24,
        about: "compares registers and sets them, puts words into sets and takes them out",
        kinds: &[("register", values::register), ("set", values::set)],
    },
    Workload {
        name: "bank",
        about: "transfers between accounts, by messages that leave with the turn",
        calls_max: 24,
        kinds: &[("account", account)],
    },
    Workload {
        name: "orders",
        about: "orders that charge and ship outside, in recorded steps",
        calls_max: 24,
        kinds: &[("shop", shop)],
    },
    Workload {
        name: "couriers",
        about: "couriers that call each other and wait, and put words into bins",
        calls_max: 24,
        kinds: &[("courier", courier)],
    },
    Workload {
        name: "reminders",
        about: "reminders that come due while machines come and go",
        calls_max: 24,
        kinds: &[("alarm", alarm)],
    },
    Workload {
        name: "agents",
        about: "people talk to agents, whose models edit memory and call tools that have effects",
        calls_max: 8,
        kinds: &[("agent", agents::agent)],
    },
    Workload {
        name: "mixed",
        about: "all of them at once",
        calls_max: 24,
        kinds: &[
            ("counter", counter),
            ("log", log),
            ("account", account),
            ("shop", shop),
            ("alarm", alarm),
            ("courier", courier),
            ("agent", agents::agent),
        ],
    },
];

/// The workload of that name.
pub fn by_name(name: &str) -> Option<&'static Workload> {
    ALL.iter().find(|workload| workload.name == name)
}

impl Workload {
    /// What runs on every machine, with actors that wish this. `outside` outlives all of them.
    pub fn program(&self, outside: &Arc<Outside>, wishes: Wishes) -> Arc<dyn Program> {
        let (world, outside) = (outside.world.clone(), outside.clone());
        let actors = Actors::new(move |env| actors::all(env, &outside)).wishing(wishes);
        if self.has_agents() { Arc::new(AgentProgram { world, beside: actors }) } else { Arc::new(actors) }
    }

    /// Whether its actors are agents, which ask models and tools.
    pub fn has_agents(&self) -> bool {
        self.kinds.iter().any(|(actor_type, _)| *actor_type == "agent")
    }

    /// Draws what the clients do.
    pub fn draw(&self, draw: &mut Draw, size: Size) -> Vec<Operation> {
        let pause = size.span_ms / u64::from(size.calls.max(1));
        let mut operations = Vec::new();
        for client in 0..size.clients {
            for call in 0..size.calls {
                let (actor_type, kind) = draw.pick(self.kinds);
                let (operation, payload) = kind(draw, size, &format!("w{client}.{call}"));
                operations.push(Operation {
                    client,
                    after_ms: draw.below(2 * pause + 1),
                    actor: ((*actor_type).to_owned(), key_of(actor_type, draw, size)),
                    operation: operation.to_owned(),
                    payload,
                });
            }
        }
        agents::made_first(operations)
    }
}

/// The read operation of an actor type.
fn read_of(actor_type: &str) -> Option<&'static str> {
    Some(match actor_type {
        "counter" => "get",
        "log" | "register" => "read",
        "set" => "all",
        "account" => "balance",
        "shop" => "orders",
        "alarm" => "reminded",
        "courier" => "carried",
        "bin" => "contents",
        _ => return None,
    })
}

/// A read of every actor that the operations are about, and of those that they name.
pub fn probes(operations: &[Operation]) -> Vec<Operation> {
    let mut actors: Vec<_> = operations.iter().map(|operation| operation.actor.clone()).collect();
    for operation in operations.iter().filter(|operation| operation.operation == "transfer") {
        if let Some((to, _)) = operation.payload.split_once(' ') {
            actors.push((operation.actor.0.clone(), to.to_owned()));
        }
    }
    for operation in operations.iter().filter(|operation| operation.operation == "carry") {
        let words: Vec<&str> = operation.payload.split(' ').collect();
        actors.extend(words.get(1).map(|bin| ("bin".to_owned(), (*bin).to_owned())));
        actors.extend(words.get(2).map(|courier| ("courier".to_owned(), (*courier).to_owned())));
    }
    actors.sort();
    actors.dedup();
    let probe = |actor: (String, String)| {
        let operation = read_of(&actor.0)?.to_owned();
        Some(Operation { client: 0, after_ms: 0, actor, operation, payload: String::new() })
    };
    agents::probes(operations).into_iter().chain(actors.into_iter().filter_map(probe)).collect()
}

/// How much longer than others agents may take for what they have asked of themselves.
pub(crate) fn rests(operations: &[Operation]) -> Duration {
    if agents::pauses(operations) { Duration::from_mins(1) } else { Duration::ZERO }
}

/// Agents have names within their tenants, of which there are two.
fn key_of(actor_type: &str, draw: &mut Draw, size: Size) -> String {
    if actor_type == "agent" {
        let number = draw.below(u64::from(size.actors));
        return format!("a{}@t{}", number / 2, number % 2);
    }
    key(draw, size)
}

fn key(draw: &mut Draw, size: Size) -> String {
    format!("a{}", draw.below(u64::from(size.actors)))
}

fn counter(draw: &mut Draw, _: Size, _: &str) -> (&'static str, String) {
    match draw.below(6) {
        0 => (PEEK, actors::SUM.to_owned()),
        1 | 2 => ("get", String::new()),
        _ => ("add", draw.between(1, 9).to_string()),
    }
}

fn log(draw: &mut Draw, _: Size, word: &str) -> (&'static str, String) {
    if draw.one_in(3) { ("read", String::new()) } else { ("append", word.to_owned()) }
}

fn account(draw: &mut Draw, size: Size, _: &str) -> (&'static str, String) {
    let to = key(draw, size);
    ("transfer", format!("{to} {}", draw.between(1, 60)))
}

fn shop(draw: &mut Draw, _: Size, word: &str) -> (&'static str, String) {
    if draw.one_in(4) { ("orders", String::new()) } else { ("order", word.to_owned()) }
}

/// Two couriers may wait for each other: one of them has to give way.
fn courier(draw: &mut Draw, size: Size, word: &str) -> (&'static str, String) {
    let (bin, via) = (key(draw, size), key(draw, size));
    match draw.below(4) {
        0 => ("carried", String::new()),
        1 => ("carry", format!("{word} {bin} {via}")),
        _ => ("carry", format!("{word} {bin}")),
    }
}

fn alarm(draw: &mut Draw, _: Size, word: &str) -> (&'static str, String) {
    if draw.one_in(4) {
        ("reminded", String::new())
    } else {
        ("remind", format!("{word} {}", draw.between(0, 4_000)))
    }
}
