//! What a batch of runs has come to, and how far it is.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use kelpie_dst::run::Verdict;
use serde_json::json;

use crate::commands::say;

/// Between two lines of progress where no terminal shows them.
const PROGRESS_EVERY: Duration = Duration::from_secs(30);
/// On a terminal.
const REDRAW_EVERY: Duration = Duration::from_millis(200);

/// What a batch has come to.
pub(super) struct Batch {
    began: Instant,
    told_at: Instant,
    progress: bool,
    terminal: bool,
    runs: u64,
    /// Of which also two more runs were compared.
    checked: u64,
    events: u64,
    simulated: Duration,
    replayed: u64,
    fired: BTreeMap<String, u64>,
    slips: BTreeMap<String, u64>,
    /// Over all verdicts, so that two batches can be compared.
    hash: u64,
}

impl Batch {
    pub(super) fn new(began: Instant, progress: bool, terminal: bool) -> Self {
        Self {
            began,
            told_at: began,
            progress,
            terminal,
            runs: 0,
            checked: 0,
            events: 0,
            simulated: Duration::ZERO,
            replayed: 0,
            fired: BTreeMap::new(),
            slips: BTreeMap::new(),
            hash: 0,
        }
    }

    pub(super) fn add(&mut self, verdict: &Verdict, checked: bool) {
        self.runs += 1;
        self.checked += u64::from(checked);
        self.events += verdict.events;
        self.simulated += verdict.simulated;
        self.replayed += verdict.replayed;
        for (all, of_run) in [(&mut self.fired, &verdict.fired), (&mut self.slips, &verdict.slips)] {
            for (name, times) in of_run {
                *all.entry(name.clone()).or_default() += times;
            }
        }
        self.hash = self.hash.rotate_left(5) ^ verdict.trace_hash;
        self.show();
    }

    /// How far it is, now and then.
    fn show(&mut self) {
        let every = if self.terminal { REDRAW_EVERY } else { PROGRESS_EVERY };
        if !self.progress || self.told_at.elapsed() < every {
            return;
        }
        self.told_at = Instant::now();
        let (begin, end) = if self.terminal { ("\r", "") } else { ("", "\n") };
        eprint!("{begin}{} runs, {:.0} s, no violation{end}", self.runs, self.began.elapsed().as_secs_f64());
    }

    /// The faults that had no effect.
    pub(super) fn missing(&self) -> impl Iterator<Item = &str> {
        self.fired.iter().filter(|(_, times)| **times == 0).map(|(fault, _)| fault.as_str())
    }

    /// Tells what it has come to.
    pub(super) fn tell(&self, as_json: bool) -> anyhow::Result<()> {
        let took = self.began.elapsed().as_secs_f64().max(0.001);
        let rate = self.events as f64 / took;
        let ratio = self.simulated.as_secs_f64() / took;
        if as_json {
            let batch = json!({
                "runs": self.runs,
                "checked": self.checked,
                "events": self.events,
                "events_per_second": rate,
                "simulated_ms": self.simulated.as_millis(),
                "times_real": ratio,
                "replayed": self.replayed,
                "fired": self.fired,
                "slips": self.slips,
                "trace_hash": format!("{:016x}", self.hash),
            });
            return say(&batch.to_string());
        }
        if self.progress && self.terminal {
            eprintln!();
        }
        say("faults that had an effect, and marks")?;
        for (fault, times) in &self.fired {
            say(&format!("  {fault:<24} {times}"))?;
        }
        for (slip, times) in &self.slips {
            say(&format!("past the environment, {times} times in all: {slip}"))?;
        }
        say(&format!(
            "{} runs, no violation; {} events in {took:.1} s ({rate:.0}/s), {:.0} s simulated ({ratio:.0} times real)",
            self.runs,
            self.events,
            self.simulated.as_secs_f64(),
        ))?;
        say(&format!("{} turns ran a second time from their steps, and went the same way", self.replayed))?;
        say(&format!(
            "{} runs were made a second time in this process and once in a fresh one, and were the same",
            self.checked
        ))?;
        say(&format!("trace hash {:016x}", self.hash))
    }
}
