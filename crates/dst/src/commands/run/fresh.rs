//! A run in a process of its own.

use std::io::Write as _;
use std::ops::Range;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, ensure};
use kelpie_dst::same;
use kelpie_dst::schedule::Schedule;
use kelpie_env::sim::Recording;

use crate::commands::trace;

/// A process that runs a schedule, and is killed if nobody wants its answer any more.
pub(super) struct Fresh(Option<Child>);

/// Starts a process of this program that runs `schedule` and records `events`.
pub(super) fn start(schedule: &Schedule, events: &Range<u64>) -> anyhow::Result<Fresh> {
    let program = std::env::current_exe().context("cannot find this program, to run it afresh")?;
    let mut child = Command::new(program)
        .args(trace::Args::line(events))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("cannot start a fresh process")?;
    // Closed at the end of the line: then the schedule is whole.
    let given = child.stdin.take().map(|mut stdin| stdin.write_all(&serde_json::to_vec(schedule)?));
    let fresh = Fresh(Some(child));
    given.transpose().context("a fresh process takes no schedule")?;
    Ok(fresh)
}

impl Fresh {
    /// What it has recorded.
    pub(super) fn end(mut self) -> anyhow::Result<Recording> {
        let child = self.0.take().context("it has ended")?;
        let output = child.wait_with_output().context("cannot wait for a fresh process")?;
        ensure!(
            output.status.success(),
            "a fresh process ended with {}: {}",
            output.status,
            String::from_utf8_lossy(&output.stderr).trim()
        );
        let told = String::from_utf8(output.stdout).context("a fresh process told no text")?;
        same::from_json(&told).context("a fresh process told no recording")
    }
}

impl Drop for Fresh {
    fn drop(&mut self) {
        if let Some(mut child) = self.0.take() {
            // It may have ended by itself.
            drop(child.kill());
            drop(child.wait());
        }
    }
}
