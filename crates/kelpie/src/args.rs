//! What can be said on the command line and in the environment.

mod actor;
mod budget;
mod node;
mod peers;
mod store;

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use kelpie_agent::tool::web::allowed::Allowed;

use crate::exit;
pub(crate) use actor::{ActorAction, ActorArgs, ActorName};
pub(crate) use budget::BudgetArgs;
pub(crate) use node::{NodeAction, NodeArgs};
pub(crate) use peers::PeerArgs;
pub(crate) use store::{BackupArgs, CompactArgs, DumpArgs, RestoreArgs, Running, StoreAction, StoreArgs};

/// Where a server listens unless told otherwise.
pub(crate) const LISTEN: &str = "127.0.0.1:8283";
/// Where the data is unless told otherwise.
pub(crate) const STORE: &str = "embedded:./kelpie-data";

/// A durable runtime for stateful AI agents.
#[derive(Debug, Parser)]
#[command(name = "kelpie", version, after_help = exit::HELP)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a server: agents behind an HTTP API that letta-client speaks
    #[command(after_help = exit::HELP)]
    Serve(Box<ServeArgs>),
    /// Talk to an agent
    #[command(after_help = exit::HELP)]
    Chat(ChatArgs),
    /// List, create, show and delete agents; look back at what one did, fork it, replay it
    #[command(visible_alias = "agent", after_help = exit::HELP)]
    Agents(AgentsArgs),
    /// Call actors of any type, and look at them
    #[command(after_help = exit::HELP)]
    Actor(ActorArgs),
    /// List the nodes of a store or the actors of one, drain one, or end one that does not answer
    #[command(after_help = exit::HELP)]
    Node(NodeArgs),
    /// Look into a store, check it, back it up and restore it
    #[command(after_help = exit::HELP)]
    Store(StoreArgs),
    /// Say what works on this machine, what does not, and why
    #[command(after_help = exit::HELP)]
    Doctor(DoctorArgs),
    /// Show an agent that survives `kill -9` in the middle of a turn
    #[command(after_help = exit::HELP)]
    Demo(DemoArgs),
}

#[derive(Debug, Args)]
pub(crate) struct ServeArgs {
    /// Address and port to listen at
    #[arg(long, value_name = "ADDR", env = "KELPIE_LISTEN", default_value = LISTEN)]
    pub(crate) listen: SocketAddr,
    /// Where the data is: embedded:DIR, postgres://…, or memory: (lost when the server ends)
    #[arg(long, value_name = "URL", env = "KELPIE_STORE_URL", default_value = STORE)]
    pub(crate) store: String,
    /// Tools that agents may be given (JSON: name, description, parameters, url)
    #[arg(long, value_name = "FILE", env = "KELPIE_TOOLS")]
    pub(crate) tools: Option<PathBuf>,
    /// Hosts whose pages agents may read with the tool web_fetch: example.org,*.example.org; * is every public one
    #[arg(long, value_name = "HOSTS", env = "KELPIE_WEB_FETCH")]
    pub(crate) web_fetch: Option<Allowed>,
    /// Model by which archival memory is searched by meaning: the folder of its tokenizer and table
    #[arg(long, value_name = "FOLDER", env = "KELPIE_EMBEDDINGS")]
    pub(crate) embeddings: Option<PathBuf>,
    /// Name of this node in its store
    #[arg(long, value_name = "NAME", env = "KELPIE_NODE", default_value = "node-1")]
    pub(crate) node: String,
    #[command(flatten)]
    pub(crate) peers: PeerArgs,
    #[command(flatten)]
    pub(crate) budget: BudgetArgs,
    /// Token that clients must send (`Authorization: Bearer …`)
    #[arg(long, value_name = "TOKEN", env = "KELPIE_TOKEN", hide_env_values = true)]
    pub(crate) token: Option<String>,
    /// How log lines look; they go to the standard error, RUST_LOG filters them
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t = LogFormat::Text)]
    pub(crate) log_format: LogFormat,
    /// Seconds that requests in flight have to finish after SIGTERM or ^C
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    pub(crate) drain_seconds: u64,
    /// Write down each transaction's protocol steps with it (see `kelpie store steps`): for tests of
    /// the protocol, not for production, since they are kept for ever
    #[arg(long, env = "KELPIE_RECORD_PROTOCOL")]
    pub(crate) record_protocol: bool,
    /// Drain when the standard input closes: a parent process that dies takes its server along
    #[arg(long, hide = true)]
    pub(crate) end_with_stdin: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// For people.
    Text,
    /// One JSON object per line.
    Json,
}

/// Which server a client command talks to.
#[derive(Debug, Clone, Args)]
pub(crate) struct Remote {
    /// The server to talk to
    #[arg(
        long,
        value_name = "URL",
        env = "KELPIE_SERVER",
        default_value = "http://127.0.0.1:8283",
        global = true
    )]
    pub(crate) server: String,
    /// Token to send
    #[arg(long, value_name = "TOKEN", env = "KELPIE_TOKEN", hide_env_values = true, global = true)]
    pub(crate) token: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct ChatArgs {
    /// The agent's id or name
    pub(crate) agent: String,
    #[command(flatten)]
    pub(crate) remote: Remote,
    /// Show what happens as one JSON object per line, for scripts
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct AgentsArgs {
    #[command(subcommand)]
    pub(crate) action: AgentsAction,
    #[command(flatten)]
    pub(crate) remote: Remote,
    /// Answer in JSON, for scripts
    #[arg(long, global = true)]
    pub(crate) json: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum AgentsAction {
    /// List agents
    List {
        /// At most this many (all, if not given)
        #[arg(long, value_name = "N")]
        limit: Option<usize>,
    },
    /// Create an agent
    Create(CreateArgs),
    /// Show one agent, its memory and its tools
    Show {
        /// The agent's id or name
        agent: String,
    },
    /// Delete an agent, its memory and its messages
    Delete {
        /// The agent's id or name
        agent: String,
    },
    /// Show the runs of an agent with their steps, oldest first
    History {
        /// The agent's id or name
        agent: String,
        /// At most this many of the newest runs
        #[arg(long, value_name = "N", default_value_t = 20)]
        limit: usize,
    },
    /// Make another agent with the settings, memory and messages of this one
    Fork(ForkArgs),
    /// Take the last change of a core memory block back
    Undo {
        /// The agent's id or name
        agent: String,
        /// The block's label
        label: String,
        /// Show what it said before its last changes, and change nothing
        #[arg(long)]
        list: bool,
    },
    /// Run recorded runs once more without their model and compare each step; exit code 1 if one differs
    Replay {
        /// The agent's id or name
        agent: String,
        /// The run's id (all of the newest, if not given)
        run: Option<String>,
        /// At most this many of the newest runs
        #[arg(long, value_name = "N", default_value_t = 100)]
        limit: usize,
    },
}

#[derive(Debug, Args)]
pub(crate) struct ForkArgs {
    /// The agent's id or name
    pub(crate) agent: String,
    /// The new agent's name (that of the other with -fork, if not given)
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Option<String>,
    /// Take over the messages up to the end of this run only; the memory is as it is now
    #[arg(long, value_name = "RUN")]
    pub(crate) at: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct CreateArgs {
    /// The agent's name (the server chooses one, if not given)
    pub(crate) name: Option<String>,
    /// Model handle, as `doctor` and GET /v1/models list them
    #[arg(long, value_name = "HANDLE")]
    pub(crate) model: Option<String>,
    /// A core memory block, e.g. human="My name is Ada."
    #[arg(long = "memory", value_name = "LABEL=TEXT", value_parser = label_and_text)]
    pub(crate) memory: Vec<(String, String)>,
    /// A tool of the server's tools file, by name
    #[arg(long = "tool", value_name = "NAME")]
    pub(crate) tools: Vec<String>,
    /// A tag
    #[arg(long = "tag", value_name = "TAG")]
    pub(crate) tags: Vec<String>,
    /// The system prompt, instead of the agent type's own
    #[arg(long, value_name = "TEXT")]
    pub(crate) system: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct DoctorArgs {
    /// The store to look at
    #[arg(long, value_name = "URL", env = "KELPIE_STORE_URL", default_value = STORE)]
    pub(crate) store: String,
    /// The address a server would listen at
    #[arg(long, value_name = "ADDR", env = "KELPIE_LISTEN", default_value = LISTEN)]
    pub(crate) listen: SocketAddr,
    /// The model by which archival memory would be searched by meaning
    #[arg(long, value_name = "FOLDER", env = "KELPIE_EMBEDDINGS")]
    pub(crate) embeddings: Option<PathBuf>,
    /// Answer in JSON, for scripts
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct DemoArgs {
    /// End after the checks (exit code 0 or 1) instead of serving on
    #[arg(long)]
    pub(crate) once: bool,
    /// Where the demo's server listens (port 0: any free one)
    #[arg(long, value_name = "ADDR")]
    pub(crate) listen: Option<SocketAddr>,
    /// Model handle to use instead of the one found
    #[arg(long, value_name = "HANDLE")]
    pub(crate) model: Option<String>,
}

fn label_and_text(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((label, value)) if !label.is_empty() => Ok((label.to_owned(), value.to_owned())),
        _ => Err("expected LABEL=TEXT".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GUIDE: &str = include_str!("../../../docs/guide/operations.md");

    /// Words as a shell would give them, as far as the guide needs it.
    fn words(line: &str) -> Vec<String> {
        let line = line.split(" #").next().unwrap_or(line);
        let mut quote = None;
        let is_end = |c: char| {
            match (quote, c) {
                (Some(begun), c) if begun == c => quote = None,
                (None, '"' | '\'') => quote = Some(c),
                _ => {}
            }
            c == ' ' && quote.is_none()
        };
        let words = line.split(is_end).filter(|word| !word.is_empty());
        let bare = |word: &str| match word.strip_prefix('\'').and_then(|word| word.strip_suffix('\'')) {
            Some(bare) => bare.to_owned(),
            None => word.replace('"', ""),
        };
        words.map(bare).collect()
    }

    #[test]
    fn the_guide_s_commands_are_commands() {
        let commands: Vec<&str> = GUIDE.lines().filter(|line| line.starts_with("kelpie ")).collect();
        assert!(commands.len() >= 8, "{commands:?}");
        for command in commands {
            let parsed = Cli::try_parse_from(words(command));
            assert!(parsed.is_ok(), "{command}: {}", parsed.unwrap_err());
        }
    }

    #[test]
    fn the_guide_s_exit_codes_are_those_of_the_help() {
        for line in exit::HELP.lines().skip(1) {
            let (code, meaning) = line.trim().split_once("  ").expect("a code and its meaning");
            let row = format!("| {code} | {} |", meaning.trim());
            assert!(GUIDE.contains(&row), "{row:?} is not in the guide");
        }
    }
}
