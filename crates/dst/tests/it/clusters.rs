//! Whole clusters: clean runs, the same run again, failures that replay and shrink.

use std::process::Command;

use kelpie_dst::marks;
use kelpie_dst::run::{draw, run};
use kelpie_dst::schedule::{self, Schedule};
use kelpie_dst::workload;

#[test]
fn sim_every_scenario_is_clean() {
    for scenario in workload::ALL {
        for seed in 0..4 {
            let verdict = run(&draw(scenario, seed)).unwrap();
            assert_eq!(verdict.violations, [], "scenario {}, seed {seed}", scenario.name);
            assert!(verdict.history.calls.iter().any(|call| call.reply().is_some()), "nothing happened");
        }
    }
}

#[test]
fn sim_a_seed_is_one_run_also_in_another_process() {
    for (scenario, seed) in [("mixed", 1), ("bank", 2), ("orders", 3)] {
        let schedule = draw(workload::by_name(scenario).unwrap(), seed);
        let (first, second) = (run(&schedule).unwrap(), run(&schedule).unwrap());
        assert_eq!((first.trace_hash, first.events), (second.trace_hash, second.events), "{scenario} {seed}");
        assert_eq!(first.history, second.history, "{scenario} {seed}");
        let output = Command::new(env!("CARGO_BIN_EXE_kelpie-sim"))
            .args(["run", "--scenario", scenario, "--seed", &seed.to_string(), "--json"])
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let told = String::from_utf8(output.stdout).unwrap();
        let verdict: serde_json::Value = serde_json::from_str(told.lines().next().unwrap()).unwrap();
        assert_eq!(verdict["trace_hash"], format!("{:016x}", first.trace_hash), "{scenario} {seed}");
        assert_eq!(verdict["events"], first.events, "{scenario} {seed}");
    }
}

#[test]
fn a_schedule_is_read_as_it_was_written() {
    for scenario in workload::ALL {
        for seed in 0..200 {
            let schedule = draw(scenario, seed);
            let text = serde_json::to_string(&schedule).unwrap();
            assert_eq!(serde_json::from_str::<Schedule>(&text).unwrap(), schedule);
        }
    }
}

/// Schedules that were wrong once, in the cluster or in what judged it.
#[test]
#[expect(clippy::disallowed_methods, reason = "files of the repository")]
fn sim_the_corpus_is_clean() {
    let corpus = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/corpus");
    let mut runs = 0;
    for entry in std::fs::read_dir(corpus).unwrap() {
        let path = entry.unwrap().path();
        let schedule: Schedule = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        assert_eq!(run(&schedule).unwrap().violations, [], "{}", path.display());
        runs += 1;
    }
    assert!(runs > 0);
}

#[test]
fn the_list_names_what_runs_count() {
    let verdict = run(&draw(workload::by_name("counters").unwrap(), 0)).unwrap();
    let counted: Vec<&str> = verdict.fired.keys().map(String::as_str).collect();
    let mut named = schedule::fault_names();
    named.extend(marks::MARKS.iter().map(|(name, _)| *name));
    named.sort_unstable();
    assert_eq!(counted, named);
    let met = counted.iter().filter(|fault| !schedule::NOT_DRAWN.iter().any(|(name, _)| name == *fault));
    assert!(met.count() >= 80, "{counted:?}");
}

#[test]
#[expect(clippy::disallowed_methods, reason = "a file of the test's own")]
fn what_is_no_schedule_is_refused_with_its_place() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("schedule.json");
    for (text, says) in [("", "EOF"), ("{}", "scenario"), (r#"{"scenario":3}"#, "line 1")] {
        std::fs::write(&file, text).unwrap();
        let output =
            Command::new(env!("CARGO_BIN_EXE_kelpie-sim")).arg("replay").arg(&file).output().unwrap();
        let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{complaint}");
        assert!(complaint.contains(says) && complaint.contains("schedule.json"), "{complaint}");
    }
    let nobody = draw(workload::by_name("counters").unwrap(), 0);
    let nobody = Schedule { scenario: "nobody".to_owned(), ..nobody };
    assert!(run(&nobody).unwrap_err().to_string().contains("kelpie-sim list"));
}

#[cfg(feature = "mutants")]
#[test]
fn sim_a_judge_that_panics_is_a_find_and_ends_nothing() {
    let _armed = kelpie_core::mutant::arm("judge_without_words");
    let verdict = run(&draw(workload::by_name("counters").unwrap(), 0)).unwrap();
    let found: Vec<_> = verdict.violations.iter().map(|violation| violation.invariant).collect();
    assert_eq!(found, ["Judge"]);
    assert!(verdict.events > 0 && !verdict.history.calls.is_empty());
}

#[test]
fn sim_a_batch_ends_with_its_time() {
    let run = |minutes: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kelpie-sim"));
        command.args(["run", "--minutes", minutes, "--check", "1", "--json"]).output().unwrap()
    };
    let output = run("0.03");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let told = String::from_utf8(output.stdout).unwrap();
    let batch: serde_json::Value = serde_json::from_str(told.lines().last().unwrap()).unwrap();
    assert!(batch["runs"].as_u64().unwrap() >= 1 && batch["checked"].as_u64().unwrap() >= 1, "{batch}");
    assert_eq!(told.lines().count() as u64, batch["runs"].as_u64().unwrap() + 1);
    for wrong in ["-1", "NaN", "soon"] {
        assert_eq!(run(wrong).status.code(), Some(2), "{wrong}");
    }
}

#[test]
fn sim_a_batch_tells_the_same_however_many_runs_go_on_beside_each_other() {
    let told = |jobs: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kelpie-sim"));
        command.args(["run", "--seeds", "2", "--check", "1", "--json", "--jobs", jobs]);
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let told = String::from_utf8(output.stdout).unwrap();
        let mut lines: Vec<serde_json::Value> =
            told.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let batch = lines.last_mut().unwrap().as_object_mut().unwrap();
        assert_eq!(batch["runs"], workload::ALL.len() * 2);
        // Of the time that it took.
        batch.retain(|name, _| name != "events_per_second" && name != "times_real");
        lines
    };
    assert_eq!(told("1"), told("3"));
}

#[cfg(feature = "mutants")]
#[test]
fn sim_seeded_bugs_violate_their_invariants() {
    // The quick ones: `kelpie-sim mutants` searches for all seeded bugs.
    for (invariant, mutant, scenario) in [
        ("TransactionAtomicity", "CommitTransaction_StateOnly", "bank"),
        ("TransactionAtomicity", "dedup_outside_commit", "counters"),
        ("OwedWakes", "wake_cleared_early", "bank"),
        ("Chain", "claim_keeps_epoch", "counters"),
        ("LeaseExclusivity", "claim_keeps_epoch", "counters"),
        ("EpochHeldOnce", "claim_keeps_epoch", "counters"),
        ("HeartbeatStatusSync", "join_in_two", "counters"),
        ("LeaseValidityIfActive", "failed_renewal_counts", "counters"),
        ("TurnsRepeat", "resumed_turn_begins_anew", "orders"),
        ("TurnsRepeat", "beginning_not_recorded", "couriers"),
        ("WAL_IdempotencyGuarantee", "Append_DuplicateIdempotency", "counters"),
        ("WAL_RecoveryCompleteness", "CompleteRecovery_Partial", "counters"),
        ("AckedKept", "reply_before_commit", "counters"),
    ] {
        let _armed = kelpie_core::mutant::arm(mutant);
        let scenario = workload::by_name(scenario).unwrap();
        let violates = |seed: u64| {
            let verdict = run(&draw(scenario, seed)).unwrap();
            verdict.violations.iter().any(|violation| violation.invariant == invariant)
        };
        assert!((0..120).any(violates), "{mutant} does not violate {invariant}");
    }
}

#[cfg(feature = "mutants")]
#[test]
fn sim_a_failure_shrinks_and_replays() {
    use kelpie_dst::shrink::shrink;

    let _armed = kelpie_core::mutant::arm("reply_before_commit");
    let scenario = workload::by_name("counters").unwrap();
    let (schedule, verdict) = (0..100)
        .map(|seed| draw(scenario, seed))
        .find_map(|schedule| {
            let verdict = run(&schedule).unwrap();
            (!verdict.violations.is_empty()).then_some((schedule, verdict))
        })
        .expect("the bug shows within a hundred seeds");
    let shrunk = shrink(&schedule, 40).unwrap().expect("it fails");
    assert!(
        shrunk.schedule.operations.len() < schedule.operations.len()
            && shrunk.schedule.faults.len() < schedule.faults.len().max(1),
        "{:?}",
        shrunk.schedule
    );
    let again = run(&shrunk.schedule).unwrap();
    assert_eq!(again.trace_hash, shrunk.verdict.trace_hash);
    assert_eq!(again.violations, shrunk.verdict.violations);
    assert_eq!(again.violations[0].invariant, verdict.violations[0].invariant);
    let story = kelpie_dst::story::story(&shrunk.schedule, &again);
    assert!(story.contains("VIOLATED AckedKept") && story.contains("asks"), "{story}");
}
