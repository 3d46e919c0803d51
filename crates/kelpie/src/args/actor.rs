//! The arguments of `kelpie actor`.

use clap::{Args, Subcommand};
use kelpie_core::id::NodeId;

use super::Remote;

/// The longest that a server lets a call take.
const DEADLINE_MS_MAX: u64 = kelpie_server::options::DEADLINE_MAX.as_secs() * 1_000;

#[derive(Debug, Args)]
pub(crate) struct ActorArgs {
    #[command(subcommand)]
    pub(crate) action: ActorAction,
    #[command(flatten)]
    pub(crate) remote: Remote,
    /// Answer in JSON, for scripts
    #[arg(long, global = true)]
    pub(crate) json: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ActorAction {
    /// Call a handler, once: it is asked again under its key while the server is away
    Call {
        #[command(flatten)]
        actor: ActorName,
        /// The handler
        handler: String,
        /// Its arguments in JSON: {"name": value} or [value, …]
        #[arg(value_name = "JSON", value_parser = arguments)]
        arguments: Option<serde_json::Value>,
        /// Idempotency key (a fresh one, if not given): the same key has its effect once
        #[arg(long, value_name = "KEY")]
        key: Option<String>,
        /// How long it may take, repetitions included (a minute for each, if not given)
        #[arg(long, value_name = "MS", value_parser = clap::value_parser!(u64).range(1..=DEADLINE_MS_MAX))]
        deadline_ms: Option<u64>,
    },
    /// Show the state, as it was committed last
    Get(ActorName),
    /// List the actors of a type that were ever called
    List {
        /// The actor type
        #[arg(value_name = "TYPE")]
        actor_type: String,
        /// At most this many (all, if not given)
        #[arg(long, value_name = "N")]
        limit: Option<usize>,
    },
    /// Say who owns it and why, what it does, what it waits for and what went wrong last
    Why(ActorName),
    /// Move it to another node, between two of its turns
    Migrate {
        #[command(flatten)]
        actor: ActorName,
        /// The node that is to have it, as `kelpie node list` names it
        #[arg(long, value_name = "NODE", value_parser = super::node::name)]
        to: NodeId,
    },
    /// Stop a turn of it: one that waits is taken back, one that runs ends before its next step
    Cancel {
        #[command(flatten)]
        actor: ActorName,
        /// The turn, as `why` shows it
        #[arg(value_name = "TURN", default_value = "running")]
        turn: String,
    },
    /// Show what the store keeps of it: records, replies, steps, messages, reminders
    History {
        #[command(flatten)]
        actor: ActorName,
        /// At most this many of each
        #[arg(long, value_name = "N", default_value_t = 20)]
        limit: usize,
    },
}

/// Which actor.
#[derive(Debug, Args)]
pub(crate) struct ActorName {
    /// The actor type
    #[arg(value_name = "TYPE")]
    pub(crate) actor_type: String,
    /// The actor's key
    #[arg(value_name = "ACTOR", value_parser = in_a_path)]
    pub(crate) name: String,
}

fn arguments(text: &str) -> Result<serde_json::Value, String> {
    match serde_json::from_str(text) {
        Ok(arguments @ (serde_json::Value::Object(_) | serde_json::Value::Array(_))) => Ok(arguments),
        Ok(_) => Err("expected {\"name\": value} or [value, …]".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

/// These two mean something else in a URL, however they are written.
fn in_a_path(key: &str) -> Result<String, String> {
    match key {
        "." | ".." => Err("a URL cannot name it".to_owned()),
        "" => Err("an actor has a key".to_owned()),
        key => Ok(key.to_owned()),
    }
}
