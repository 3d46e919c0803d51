//! Signals to processes that this program has started.

use anyhow::{Context as _, Result};
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::Child;

/// Sends a signal, if it has not been waited for.
pub(crate) fn signal(child: &Child, signal: Signal) -> Result<()> {
    let pid = child.id().and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw);
    kill_process(pid.context("the process has ended")?, signal)?;
    Ok(())
}
