//! Opening the store that a URL names, with words that help when it does not open, and the
//! commands for whoever looks after one.

mod backup;
mod check;
mod compact;
mod dump;
mod progress;
mod restore;
mod source;
mod stats;
mod steps;

use std::fmt::Write;
use std::path::Path;

use kelpie_env::Env;
use kelpie_storage::{OpenError, Store, StoreConfig};

use crate::args::{StoreAction, StoreArgs};
use crate::exit::{Exit, Failure};
use crate::ports;

/// `kelpie store …`.
pub(crate) async fn run(args: StoreArgs, env: Env) -> Result<Exit, Failure> {
    let StoreArgs { action, store, json } = args;
    match action {
        StoreAction::Stats(running) => stats::run(running, &store, json, env).await,
        StoreAction::Check => check::run(&store, json, env).await,
        StoreAction::Compact(args) => compact::run(args, &store, json, env).await,
        StoreAction::Checkpoint(remote) => compact::checkpoint(&remote, json, env).await,
        StoreAction::Dump(args) => dump::run(args, &store, json, env).await,
        StoreAction::Steps(running) => steps::run(running, &store, env).await,
        StoreAction::Backup(args) => backup::run(args, &store, json, env).await,
        StoreAction::Restore(args) => restore::run(args, &store, json, env).await,
    }
}

/// Refuses a directory where no store can be.
fn directory(dir: &Path, env: &Env) -> Result<(), Failure> {
    if env.disk().exists(dir)? {
        return Ok(());
    }
    Err(Failure::new(Exit::Store, format!("there is no store at {}", dir.display()))
        .hint("name its directory: --store embedded:DIR (KELPIE_STORE_URL)"))
}

/// Why a directory was not opened, and what to do.
fn not_open(config: &StoreConfig, error: OpenError) -> Failure {
    match error {
        OpenError::Locked { holder, .. } => {
            Failure::new(Exit::Store, format!("{config} is held by {}", named(&holder))).hint(
                "ask that server:  --server URL, e.g. http://127.0.0.1:8283\n\
                 (stats, backup, dump and checkpoint can; check, compact and restore need it stopped)",
            )
        }
        OpenError::Disk { path, source } => {
            Failure::new(Exit::Store, format!("cannot read the store at {}: {source}", path.display()))
        }
        error @ (OpenError::UnknownFormat { .. }
        | OpenError::Damaged { .. }
        | OpenError::Unreachable { .. }
        | OpenError::Unfit { .. }
        | OpenError::UnknownSchema { .. }
        | OpenError::Options { .. }) => Failure::new(Exit::Store, error),
    }
}

fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        write!(text, "{byte:02x}").expect("a string takes all");
    }
    text
}

/// Bytes for people.
fn size(bytes: u64) -> String {
    match bytes {
        0..1_024 => format!("{bytes} B"),
        1_024..1_048_576 => format!("{} KiB", bytes >> 10),
        _ => format!("{} MiB", bytes >> 20),
    }
}

/// Why a store is not open.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Opening {
    /// Another process has it.
    #[error("the store is held by {holder}")]
    Held {
        /// Its name and pid, as far as they can be told.
        holder: String,
    },
    /// Anything else.
    #[error(transparent)]
    Failed(#[from] OpenError),
}

/// Opens a store.
pub(crate) async fn try_open(config: &StoreConfig, env: &Env) -> Result<Store, Opening> {
    Store::open(config, env).await.map_err(|error| match error {
        OpenError::Locked { holder, .. } => Opening::Held { holder: named(&holder) },
        OpenError::UnknownFormat { .. }
        | OpenError::Damaged { .. }
        | OpenError::Unreachable { .. }
        | OpenError::Unfit { .. }
        | OpenError::UnknownSchema { .. }
        | OpenError::Options { .. }
        | OpenError::Disk { .. } => Opening::Failed(error),
    })
}

/// Opens the store that a URL names, or says what to do.
pub(crate) async fn open(url: &str, env: &Env) -> Result<Store, Failure> {
    let config: StoreConfig = url.parse().map_err(|error| Failure::new(Exit::Usage, error))?;
    try_open(&config, env).await.map_err(|error| match &error {
        Opening::Held { holder } => Failure::new(Exit::Store, format!("{config} is held by {holder}")).hint(
            "talk to that server:    kelpie chat, kelpie agents\n\
                 choose another place:   --store embedded:DIR (KELPIE_STORE_URL)",
        ),
        Opening::Failed(_) => Failure::caused(Exit::Store, format!("{config} does not open"), &error),
    })
}

/// The store that a URL names, without a password that the URL may hold.
pub(crate) fn named_by(url: &str) -> String {
    url.parse::<StoreConfig>().map_or_else(|error| error.to_string(), |config| config.to_string())
}

/// Adds the name of the process to "process 4711".
fn named(holder: &str) -> String {
    let pid = holder.rsplit(' ').next().and_then(|pid| pid.parse().ok());
    match pid.map(|pid| (pid, ports::process_name(pid))) {
        Some((pid, name)) if !name.is_empty() => format!("{name} (pid {pid})"),
        Some(_) | None => holder.to_owned(),
    }
}
