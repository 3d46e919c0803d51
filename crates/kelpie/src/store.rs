//! Opening the store that a URL names, with words that help when it does not open.

use kelpie_env::Env;
use kelpie_storage::{OpenError, Store, StoreConfig};

use crate::exit::{Exit, Failure};
use crate::ports;

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
        | OpenError::Options { .. }
        | OpenError::Remote { .. }
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

/// Adds the name of the process to "process 4711".
fn named(holder: &str) -> String {
    let pid = holder.rsplit(' ').next().and_then(|pid| pid.parse().ok());
    match pid.map(|pid| (pid, ports::process_name(pid))) {
        Some((pid, name)) if !name.is_empty() => format!("{name} (pid {pid})"),
        Some(_) | None => holder.to_owned(),
    }
}
