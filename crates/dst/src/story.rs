//! Tells what happened in a run, in the order of its virtual time.

use std::fmt::Write as _;
use std::time::Duration;

use serde::Serialize;

use crate::run::Verdict;
use crate::schedule::{CLIENTS, MachineFault, MigrationCrash, STORE, Schedule, What};

/// A short story of a run: faults, calls with their ends, and what does not hold.
pub fn story(schedule: &Schedule, verdict: &Verdict) -> String {
    let mut lines: Vec<(Duration, String)> = Vec::new();
    for fault in &schedule.faults {
        let (begins, lasts) = (Duration::from_millis(fault.at_ms), Duration::from_millis(fault.for_ms));
        lines.push((verdict.began + begins, format!("FAULT   {} for {lasts:?}", sentence(&fault.what))));
    }
    for call in &verdict.history.calls {
        let what = format!("{}/{} {} {}", call.actor_type, call.actor_key, call.operation, call.payload);
        lines.push((call.asked_at, format!("asks    {} {}", call.key, what.trim_end())));
        lines.push((
            call.ended_at,
            format!("is told {} {} (attempts: {})", call.key, call.told(), call.attempts),
        ));
    }
    lines.push((verdict.healed, "the faults are over".to_owned()));
    lines.sort();
    let mut story = String::new();
    for (at, line) in lines {
        writeln!(story, "{:>10.3} s  {line}", at.as_secs_f64()).expect("a string takes everything");
    }
    for violation in &verdict.violations {
        writeln!(story, "VIOLATED {}: {}", violation.invariant, violation.what)
            .expect("a string takes everything");
    }
    story
}

fn place(number: u32) -> String {
    match number {
        STORE => "the store".to_owned(),
        CLIENTS => "the clients".to_owned(),
        node => format!("n{node}"),
    }
}

pub(crate) fn sentence(what: &What) -> String {
    match what {
        What::Machine { node, fault } => format!("n{node} {}", of_machine(fault)),
        What::Block { from, to, both, every_ms } => {
            let between = if *both { "and back" } else { "one way" };
            let again =
                if *every_ms > 0 { format!(", on and off every {every_ms} ms") } else { String::new() };
            format!("nothing gets from {} to {} {between}{again}", place(*from), place(*to))
        }
        What::Isolate { node } => format!("n{node} is cut off from everybody"),
        What::CutOff { node } => format!("n{node} is cut off from everybody, for good"),
        What::CutWay { from, to } => {
            format!("nothing gets from {} to {}, for good", place(*from), place(*to))
        }
        What::RollingRestart => "all machines are drained and started again, one after the other".to_owned(),
        What::Swizzle { ways, order } => {
            let way = |(from, to): &(u32, u32)| format!("{} to {}", place(*from), place(*to));
            let named: Vec<_> = ways.iter().map(way).collect();
            let numbers: Vec<_> = order.iter().map(|index| (index + 1).to_string()).collect();
            let (ways, order) = (named.join(", "), numbers.join(", "));
            format!("held back one after the other is what goes from {ways}; let go in the order {order}")
        }
        What::Link { from, to, fault } => {
            format!("what goes from {} to {} suffers {fault:?}", place(*from), place(*to))
        }
        What::Store { faults } => format!("the store serves badly: {}", wrong(faults)),
        What::World { faults } => format!("models and tools serve badly: {}", wrong(faults)),
        What::StoreCrash { power: true } => "the store loses its power".to_owned(),
        What::StoreCrash { power: false } => "the process of the store is killed".to_owned(),
        What::StorePause => "the store stands still".to_owned(),
        What::StoreDisk { fault } => format!("the disk of the store has {fault:?}"),
    }
}

fn of_machine(fault: &MachineFault) -> String {
    match fault {
        MachineFault::PowerCut => "loses its power".to_owned(),
        MachineFault::Kill => "is killed".to_owned(),
        MachineFault::CrashLoop { every_ms } => format!("dies every {every_ms} ms"),
        MachineFault::Pause => "stands still".to_owned(),
        MachineFault::Drain => "is asked to go".to_owned(),
        MachineFault::ToldToDrain => "is told by its operator to drain".to_owned(),
        MachineFault::Evicted => "is ended by its operator".to_owned(),
        MachineFault::Migrate { every_ms, to, through, crash, .. } => {
            let dies = match crash {
                Some(MigrationCrash { source: true, .. }) => ", and dies meanwhile",
                Some(MigrationCrash { source: false, .. }) => ", which die meanwhile",
                None => "",
            };
            format!(
                "has an actor moved every {every_ms} ms, first by n{through} to n{to}, then by and to the next ones{dies}"
            )
        }
        MachineFault::JoinsLate => "joins, and was not there before".to_owned(),
        MachineFault::Twin => "gets a second process of its name".to_owned(),
        MachineFault::WallJump { by_ms } => format!("has its wall clock jump by {by_ms} ms"),
        MachineFault::Drift { ppm } => format!("has clocks {ppm} millionths fast"),
        MachineFault::Freeze => "has its wall clock stand".to_owned(),
        MachineFault::Coarse { step_ms } => format!("has clocks that go in steps of {step_ms} ms"),
        MachineFault::Timers { ppm, offset_ms } => {
            format!("has timers {ppm} millionths and {offset_ms} ms late")
        }
        MachineFault::Panics { ppm } => format!("has {ppm} millionths of its calls panic in their handler"),
        MachineFault::Slow { turn_us } => format!("takes up to {turn_us} µs for each turn of a task"),
    }
}

/// What differs from a service that serves well, as JSON.
fn wrong<T: Serialize + Default>(faults: &T) -> String {
    let sound = serde_json::to_value(T::default()).expect("plain data is JSON");
    let serde_json::Value::Object(all) = serde_json::to_value(faults).expect("plain data is JSON") else {
        return String::new();
    };
    let wrong: serde_json::Map<_, _> =
        all.into_iter().filter(|(name, value)| sound.get(name) != Some(value)).collect();
    serde_json::Value::Object(wrong).to_string()
}
