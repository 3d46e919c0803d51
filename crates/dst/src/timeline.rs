//! What there was to see of a run, on one line of time, and as a page for a browser.

mod commits;
mod page;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use kelpie_env::sim::Sight;
use serde::Serialize;

use crate::run::Verdict;
use crate::schedule::{CLIENTS, STORE, Schedule, What};
use crate::story::sentence;

pub(crate) use commits::{Commits, Seen as CommitSeen};
pub use page::page;

/// How much of a run is kept to be seen: some 50 bytes each, and as much again in a page.
pub(crate) const SIGHTS_MAX: usize = 200_000;

/// What a run leaves to be seen.
pub(crate) struct Seen {
    /// Address and name, in the order of their numbers.
    pub(crate) nodes: Vec<(IpAddr, String)>,
    pub(crate) sights: Vec<(Duration, Sight)>,
    pub(crate) commits: Vec<CommitSeen>,
    /// When the clients began and when the faults were over.
    pub(crate) began: Duration,
    pub(crate) healed: Duration,
    /// With so many sights there was no room for more.
    pub(crate) full: usize,
}

/// A run on one line of time. All times are microseconds of virtual time since the world began;
/// lanes are numbered as in `lanes`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Timeline {
    /// The scenario.
    pub scenario: String,
    /// The seed.
    pub seed: u64,
    /// The names of the nodes.
    pub lanes: Vec<String>,
    /// When the clients began.
    pub began: u64,
    /// When the faults were over.
    pub healed: u64,
    /// When the run ended.
    pub ended: u64,
    /// Messages, in the order in which they were sent.
    pub messages: Vec<Message>,
    /// When nodes were down, or stood still.
    pub gaps: Vec<Gap>,
    /// Faults of the schedule.
    pub faults: Vec<Span>,
    /// Calls of clients.
    pub calls: Vec<CallSpan>,
    /// Commits that the store has carried out.
    pub commits: Vec<CommitMark>,
    /// What must never be, and was.
    pub violations: Vec<Violated>,
    /// Whether there was more to see than is kept.
    pub cut_off: bool,
}

/// A message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Message {
    /// The lane that it comes from.
    pub from: u32,
    /// The lane that it goes to.
    pub to: u32,
    /// When it was sent.
    pub sent: u64,
    /// When it arrived, each time; never if it was lost.
    pub arrived: Vec<u64>,
    /// How long it is.
    pub bytes: usize,
}

/// A time in which a node does nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Gap {
    /// The lane.
    pub lane: u32,
    /// When it begins.
    pub from: u64,
    /// When it ends.
    pub to: u64,
    /// Whether it is down; else it stands still.
    pub down: bool,
}

/// A fault.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Span {
    /// The lanes that it concerns.
    pub lanes: Vec<u32>,
    /// When it begins.
    pub from: u64,
    /// When it ends.
    pub to: u64,
    /// What it is.
    pub what: String,
}

/// A call of a client.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CallSpan {
    /// When it was first sent.
    pub from: u64,
    /// When the client knew its outcome, or gave up.
    pub to: u64,
    /// Its key, and what it asked.
    pub what: String,
    /// What it was told.
    pub told: String,
    /// Whether a violation names it.
    pub violates: bool,
}

/// A commit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CommitMark {
    /// When it was carried out.
    pub at: u64,
    /// The lane of the node that asked for it.
    pub by: Option<u32>,
    /// The rows that it changes.
    pub what: String,
    /// The invariants that do not hold since, separated by commas.
    pub violates: Option<String>,
}

/// Something that must never be, and was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Violated {
    /// The invariant.
    pub invariant: String,
    /// What was seen.
    pub what: String,
    /// When it was first seen, where that is known: that of a commit, or of a call it names.
    pub at: Option<u64>,
}

impl Timeline {
    pub(crate) fn new(schedule: &Schedule, verdict: &Verdict, seen: &Seen) -> Self {
        let lanes: Vec<String> = seen.nodes.iter().map(|(_, name)| name.clone()).collect();
        let ended = micros(verdict.simulated);
        let calls = calls(verdict, seen);
        let commits = marks(seen);
        let violations = verdict.violations.iter().map(|violation| {
            let by = |names: &str| names.split(", ").any(|name| name == violation.invariant);
            let of_commit = commits.iter().find(|commit| commit.violates.as_deref().is_some_and(by));
            let of_call =
                || calls.iter().filter(|call| names(&violation.what, &call.what)).map(|call| call.to);
            Violated {
                invariant: violation.invariant.to_owned(),
                what: violation.what.clone(),
                at: of_commit.map(|commit| commit.at).or_else(|| of_call().max()),
            }
        });
        Self {
            scenario: schedule.scenario.clone(),
            seed: schedule.seed,
            faults: faults(schedule, seen, &lanes),
            messages: messages(&seen.sights, lanes.len()),
            gaps: gaps(&seen.sights, ended),
            violations: violations.collect(),
            calls,
            commits,
            lanes,
            began: micros(seen.began),
            healed: micros(seen.healed),
            ended,
            cut_off: seen.sights.len() >= seen.full,
        }
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

fn messages(sights: &[(Duration, Sight)], lanes: usize) -> Vec<Message> {
    let mut messages = Vec::new();
    let mut places = BTreeMap::new();
    for (at, sight) in sights {
        match *sight {
            Sight::Sent { letter, from, to, bytes } if (to as usize) < lanes => {
                places.insert(letter, messages.len());
                messages.push(Message { from, to, sent: micros(*at), arrived: Vec::new(), bytes });
            }
            Sight::Arrived { letter } => {
                if let Some(place) = places.get(&letter) {
                    messages[*place].arrived.push(micros(*at));
                }
            }
            Sight::Sent { .. }
            | Sight::Ended { .. }
            | Sight::Started { .. }
            | Sight::Paused { .. }
            | Sight::Resumed { .. } => {}
        }
    }
    messages
}

fn gaps(sights: &[(Duration, Sight)], ended: u64) -> Vec<Gap> {
    let mut gaps: Vec<Gap> = Vec::new();
    // By lane and whether it is down: when it began.
    let mut open: BTreeMap<(u32, bool), u64> = BTreeMap::new();
    let mut close = |open: &mut BTreeMap<(u32, bool), u64>, lane, down, to| {
        if let Some(from) = open.remove(&(lane, down)) {
            gaps.push(Gap { lane, from, to, down });
        }
    };
    for (at, sight) in sights {
        let at = micros(*at);
        match *sight {
            Sight::Ended { node } => {
                // What is down does not stand still.
                close(&mut open, node, false, at);
                open.entry((node, true)).or_insert(at);
            }
            Sight::Started { node } => close(&mut open, node, true, at),
            Sight::Paused { node } => {
                open.entry((node, false)).or_insert(at);
            }
            Sight::Resumed { node } => close(&mut open, node, false, at),
            Sight::Sent { .. } | Sight::Arrived { .. } => {}
        }
    }
    for (lane, down) in open.keys().copied().collect::<Vec<_>>() {
        close(&mut open, lane, down, ended);
    }
    gaps.sort_by_key(|gap| (gap.from, gap.lane));
    gaps
}

fn faults(schedule: &Schedule, seen: &Seen, lanes: &[String]) -> Vec<Span> {
    let lane = |place: u32| {
        let name = match place {
            STORE => "store".to_owned(),
            CLIENTS => "clients".to_owned(),
            node => format!("n{node}"),
        };
        lanes.iter().position(|lane| *lane == name).and_then(|lane| u32::try_from(lane).ok())
    };
    let span = |fault: &crate::schedule::Fault| {
        let places = match fault.what {
            What::Machine { node, .. } | What::Isolate { node } | What::CutOff { node } => vec![node],
            What::Swizzle { ref ways, .. } => ways.iter().flat_map(|(from, to)| [*from, *to]).collect(),
            What::Block { from, to, .. } | What::CutWay { from, to } | What::Link { from, to, .. } => {
                vec![from, to]
            }
            What::Store { .. } | What::StoreCrash { .. } | What::StorePause | What::StoreDisk { .. } => {
                vec![STORE]
            }
            // Models and tools are no machine of the cluster: who suffers are those that ask them.
            What::World { .. } | What::RollingRestart => (0..schedule.nodes).collect(),
        };
        let from = micros(seen.began) + fault.at_ms * 1000;
        Span {
            lanes: places.into_iter().filter_map(lane).collect::<BTreeSet<_>>().into_iter().collect(),
            from,
            to: from + fault.for_ms * 1000,
            what: sentence(&fault.what),
        }
    };
    schedule.faults.iter().map(span).collect()
}

/// Calls are timed by the clock of the clients, which is a little fast or slow.
fn calls(verdict: &Verdict, seen: &Seen) -> Vec<CallSpan> {
    let local = verdict.healed.saturating_sub(verdict.began).as_secs_f64();
    let global = seen.healed.saturating_sub(seen.began).as_secs_f64();
    let rate = if local > 0.0 && global > 0.0 { global / local } else { 1.0 };
    let at = |time: Duration| micros(seen.began + time.saturating_sub(verdict.began).mul_f64(rate));
    let call = |call: &crate::history::Call| {
        let actor = format!("{}/{}", call.actor_type, call.actor_key);
        let what = format!("{} {actor} {} {}", call.key, call.operation, call.payload).trim_end().to_owned();
        let to = if call.ended.is_some() { at(call.ended_at) } else { micros(verdict.simulated) };
        CallSpan {
            from: at(call.asked_at),
            to,
            told: format!("{} (attempts: {})", call.told(), call.attempts),
            violates: verdict.violations.iter().any(|violation| names(&violation.what, &what)),
            what,
        }
    };
    verdict.history.calls.iter().map(call).collect()
}

/// Whether a violation names a call, or else the actor that it was made to.
fn names(violation: &str, call: &str) -> bool {
    let mut words = call.split(' ');
    let (key, actor) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let whole = |word: &str| {
        violation.match_indices(word).any(|(begin, _)| {
            let next = violation[begin + word.len()..].chars().next();
            !next.is_some_and(|next| next.is_ascii_alphanumeric() || next == '-')
        })
    };
    whole(key) || whole(actor)
}

fn marks(seen: &Seen) -> Vec<CommitMark> {
    let mark = |commit: &CommitSeen| CommitMark {
        at: micros(commit.at),
        by: seen
            .nodes
            .iter()
            .position(|(ip, _)| *ip == commit.client.ip())
            .and_then(|lane| u32::try_from(lane).ok()),
        what: commit.what.clone(),
        violates: commit.violates.clone(),
    };
    seen.commits.iter().map(mark).collect()
}
