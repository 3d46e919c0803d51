//! The arguments of `kelpie store`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::{Remote, STORE};

#[derive(Debug, Args)]
pub(crate) struct StoreArgs {
    #[command(subcommand)]
    pub(crate) action: StoreAction,
    /// The store, when no server runs on it
    #[arg(long, value_name = "URL", env = "KELPIE_STORE_URL", default_value = STORE, global = true)]
    pub(crate) store: String,
    /// Answer in JSON, for scripts
    #[arg(long, global = true)]
    pub(crate) json: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum StoreAction {
    /// Show what the store holds and has done
    Stats(Running),
    /// Read everything in a stopped store and report what is damaged; changes nothing
    Check,
    /// Fold the log of a stopped store and give back the room that nothing needs
    Compact(CompactArgs),
    /// Fold the log of a running server, so that its next start is quick; files keep their size
    Checkpoint(Remote),
    /// Print the rows, for people and for scripts
    Dump(DumpArgs),
    /// Print the protocol steps that a server has recorded (`serve --record-protocol`), as JSON lines
    Steps(Running),
    /// Write all rows at one version into a file; a server goes on meanwhile
    Backup(BackupArgs),
    /// Make a new store out of a backup
    Restore(RestoreArgs),
}

/// A server to ask instead of opening the store oneself.
#[derive(Debug, Args)]
pub(crate) struct Running {
    /// Ask the server that runs there instead of opening the store
    #[arg(long, value_name = "URL")]
    pub(crate) server: Option<String>,
    /// Token to send to the server
    #[arg(long, value_name = "TOKEN", env = "KELPIE_TOKEN", hide_env_values = true)]
    pub(crate) token: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct CompactArgs {
    /// Refused with words that say what to do: a running server cannot shrink its files
    #[arg(long, value_name = "URL", hide = true)]
    pub(crate) server: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct DumpArgs {
    /// Only keys whose text begins like this, e.g. state/default/agent/
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub(crate) prefix: String,
    /// At most this many rows (all, if not given)
    #[arg(long, value_name = "N")]
    pub(crate) limit: Option<u64>,
    /// Whole values instead of their first bytes
    #[arg(long)]
    pub(crate) full: bool,
    #[command(flatten)]
    pub(crate) running: Running,
}

#[derive(Debug, Args)]
pub(crate) struct BackupArgs {
    /// The file to write; must not exist
    pub(crate) file: PathBuf,
    #[command(flatten)]
    pub(crate) running: Running,
}

#[derive(Debug, Args)]
pub(crate) struct RestoreArgs {
    /// The backup
    pub(crate) file: PathBuf,
    /// Only read the file to its end and check it
    #[arg(long)]
    pub(crate) verify: bool,
}
