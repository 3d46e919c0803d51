//! Runs that cannot be repeated are found, and the task that is to blame is named.

use std::ops::Range;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use kelpie_dst::same::{Between, compare, from_json, to_json};
use kelpie_dst::{Cluster, twice};
use kelpie_env::sim::{Divergence, Recording};
use kelpie_runtime::{Actor, HandlerError, Turn, View};

/// Keeps in its record a number that comes from past its environment.
pub(crate) struct Leaky {
    source: fn() -> u64,
}

impl Actor for Leaky {
    fn actor_type(&self) -> &str {
        "leaky"
    }

    fn is_read(&self, _operation: &str) -> bool {
        false
    }

    fn handle<'a>(
        &'a self,
        turn: &'a mut Turn,
        _operation: &'a str,
        _payload: &'a [u8],
    ) -> BoxFuture<'a, Result<Bytes, HandlerError>> {
        // Of one length, so that only the bytes tell.
        turn.set("number", format!("{:020}", (self.source)()));
        async { Ok(Bytes::new()) }.boxed()
    }

    fn read<'a>(
        &'a self,
        _view: &'a View,
        _operation: &'a str,
        _payload: &'a [u8],
    ) -> BoxFuture<'a, Result<Bytes, HandlerError>> {
        async { Ok(Bytes::new()) }.boxed()
    }
}

pub(crate) fn leaky(source: fn() -> u64) -> Cluster {
    kelpie_dst::cluster(5, 2).actors(move |_| vec![Arc::new(Leaky { source })]).client(|client| async move {
        for _ in 0..3 {
            client.call("leaky", "a", "leak", "").await;
        }
    })
}

/// It is a task of a machine, in the runtime, that sends other bytes in the second run.
fn assert_names_the_culprit(divergence: &Divergence) {
    let (first, second) = (divergence.first.as_ref().unwrap(), divergence.second.as_ref().unwrap());
    assert_eq!((&first.node, &first.task, first.at), (&second.node, &second.task, second.at));
    assert!(["n0", "n1"].contains(&&*first.node), "{divergence}");
    assert_eq!(first.task, "store commit", "what is sent for the turn: {divergence}");
    assert!(first.started.contains("by \"turn\""), "{divergence}");
    assert_eq!(first.what, "message sent", "{divergence}");
    assert_ne!(first.value, second.value);
}

#[test]
fn sim_what_differs_from_run_to_run_is_found_and_its_task_named() {
    static CALLS: AtomicU64 = AtomicU64::new(0);
    let verdict = twice(|| leaky(|| CALLS.fetch_add(1, Ordering::Relaxed)));
    let [found] = &verdict.violations[..] else { panic!("{:?}", verdict.violations) };
    assert_eq!(found.invariant, "Determinism");
    for part in ["two runs in one process differ", "they part at event", "message sent", "\"n", "by \"turn\""]
    {
        assert!(found.what.contains(part), "no `{part}` in: {}", found.what);
    }
    assert_eq!(twice(|| leaky(|| 7)).violations, []);
    let here = |record: &Range<u64>| {
        Ok::<_, String>(leaky(|| CALLS.fetch_add(1, Ordering::Relaxed)).traced(record).1)
    };
    let (first, second) = (here(&(0..0)).unwrap(), here(&(0..0)).unwrap());
    let found = compare([&first, &second, &first], here, here).unwrap().unwrap();
    assert_eq!(found.between, Between::Runs);
    assert_names_the_culprit(&found.divergence.unwrap());
}

/// Tells a test, in a process of its own, which events to record.
const RECORD: &str = "KELPIE_TEST_RECORD";
const RECORDING: &str = "RECORDING ";

/// In a process that another one of these tests has started: runs `here` and tells it.
pub(crate) fn is_fresh_process(here: impl Fn(&Range<u64>) -> Recording) -> bool {
    let Ok(events) = std::env::var(RECORD) else { return false };
    let (from, to) = events.split_once(' ').unwrap();
    let recording = here(&(from.parse().unwrap()..to.parse().unwrap()));
    println!("\n{RECORDING}{}", to_json(&recording).unwrap());
    true
}

/// What the test `name`, which asks [`is_fresh_process`], records in a process of its own.
pub(crate) fn in_a_fresh_process(name: &str, record: &Range<u64>) -> Result<Recording, String> {
    let failed = |error: std::io::Error| error.to_string();
    let output = Command::new(std::env::current_exe().map_err(failed)?)
        .args(["--exact", name, "--nocapture"])
        .env(RECORD, format!("{} {}", record.start, record.end))
        .output()
        .map_err(failed)?;
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    let line = told.lines().find_map(|line| line.strip_prefix(RECORDING)).ok_or(told.clone())?;
    from_json(line).map_err(|error| error.to_string())
}

#[test]
fn sim_what_differs_from_process_to_process_is_found_and_its_task_named() {
    let leak = |record: &Range<u64>| leaky(|| u64::from(std::process::id())).traced(record).1;
    if is_fresh_process(leak) {
        return;
    }
    let here = |record: &Range<u64>| Ok::<_, String>(leak(record));
    let name = "same::sim_what_differs_from_process_to_process_is_found_and_its_task_named";
    let afresh = |record: &Range<u64>| in_a_fresh_process(name, record);
    let nothing = 0..0;
    let (first, second) = (leak(&nothing), leak(&nothing));
    assert_eq!(first, second, "in one process they are the same");
    let found = compare([&first, &second, &afresh(&nothing).unwrap()], here, afresh).unwrap().unwrap();
    assert_eq!(found.between, Between::Processes);
    assert_names_the_culprit(&found.divergence.unwrap());
}

#[test]
fn a_recording_is_read_as_it_was_written() {
    let recording = leaky(|| 7).traced(&(100..140)).1;
    assert_eq!(recording.recorded.len(), 40);
    assert!(!recording.checkpoints.is_empty());
    assert_eq!(from_json(&to_json(&recording).unwrap()).unwrap(), recording);
    from_json("{}").unwrap_err();
}

/// The command, on a cluster whose machines start later in a process with a higher number.
#[cfg(feature = "mutants")]
#[test]
#[expect(clippy::disallowed_methods, reason = "a file of the test's own")]
fn sim_the_command_finds_what_differs_from_process_to_process() {
    let dir = tempfile::tempdir().unwrap();
    let failure = dir.path().join("failure.json");
    let run = |mutant: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kelpie-sim"));
        command
            .args(["run", "--scenario", "counters", "--seed", "1", "--failure"])
            .arg(&failure)
            .args(mutant);
        command.output().unwrap()
    };
    let sound = run(&[]);
    let told = String::from_utf8_lossy(&sound.stdout).into_owned();
    assert!(sound.status.success() && told.contains("1 runs were made a second time"), "{told}");
    if cfg!(all(target_os = "linux", target_env = "gnu")) {
        let slips = run(&["--mutant", "looks_at_the_clock_of_the_process"]);
        let told = String::from_utf8_lossy(&slips.stdout).into_owned();
        let expected = "called clock_gettime past its Env";
        assert!(slips.status.success() && told.contains(expected) && told.contains(": process\""), "{told}");
    }
    let differs = run(&["--mutant", "starts_late_by_process_id"]);
    let told = String::from_utf8_lossy(&differs.stderr).into_owned();
    assert_eq!(differs.status.code(), Some(1), "{told}");
    for part in [
        "NOT DETERMINISTIC",
        "scenario counters, seed 1",
        "runs in two processes differ",
        ": process\"",
        "machine.rs:",
    ] {
        assert!(told.contains(part), "no `{part}` in: {told}");
    }
    let kept: kelpie_dst::schedule::Schedule =
        serde_json::from_slice(&std::fs::read(&failure).unwrap()).unwrap();
    assert_eq!((kept.seed, kept.mutant.as_deref()), (1, Some("starts_late_by_process_id")));
}
