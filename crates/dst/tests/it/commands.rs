//! `kelpie-sim` as its users type it.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

fn sim(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_kelpie-sim")).args(arguments).output().unwrap()
}

fn told(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn last_line(output: &Output) -> Value {
    serde_json::from_str(told(output).lines().last().unwrap()).unwrap()
}

fn corpus(file: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus").join(file).display().to_string()
}

#[test]
fn the_list_names_everything_once_in_words_and_as_json() {
    let output = sim(&["list", "--json"]);
    assert!(output.status.success());
    let list = last_line(&output);
    let names = |of: &str| -> Vec<String> {
        let named = list[of].as_array().unwrap().iter();
        named.map(|one| one["name"].as_str().or(one.as_str()).unwrap().to_owned()).collect()
    };
    let words = told(&sim(&["list"]));
    for of in ["scenarios", "faults", "not_drawn", "invariants", "marks"] {
        let all = names(of);
        assert!(all.len() >= 8, "{of}: {all:?}");
        let mut once = all.clone();
        once.sort();
        once.dedup();
        assert_eq!(once.len(), all.len(), "{of} twice");
        for name in all {
            assert!(words.contains(&name), "{name} is not in: {words}");
        }
    }
}

#[test]
fn sim_a_schedule_is_replayed_in_words_and_as_json() {
    let file = corpus("a-second-process-takes-the-name-of-a-silent-node.json");
    let replayed = sim(&["replay", &file, "--json"]);
    assert!(replayed.status.success());
    let verdict = last_line(&replayed);
    assert_eq!(verdict["violations"], serde_json::json!([]));
    let hash = verdict["trace_hash"].as_str().unwrap().to_owned();
    let story = told(&sim(&["replay", &file]));
    assert!(story.contains("FAULT") && story.contains("asks") && story.contains(&hash), "{story}");
}

#[test]
fn sim_a_schedule_that_does_not_fail_is_not_shrunk() {
    let file = corpus("a-second-process-takes-the-name-of-a-silent-node.json");
    let dir = tempfile::tempdir().unwrap();
    let to = dir.path().join("small.json").display().to_string();
    let output = sim(&["shrink", &file, "--to", &to]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("does not fail"));
    assert!(!Path::new(&to).exists());
}

#[test]
fn sim_a_batch_fails_when_a_fault_had_no_effect() {
    let output = sim(&["run", "--scenario", "counters", "--seed", "0", "--check", "0", "--every-fault"]);
    assert_eq!(output.status.code(), Some(1));
    let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        complaint.contains("had no effect in the batch, or marks were not met: ")
            && complaint.contains("tool-hang"),
        "{complaint}"
    );
}

#[test]
fn an_unknown_scenario_is_refused_with_where_to_look() {
    let output = sim(&["run", "--scenario", "nobody"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("kelpie-sim list"));
}

/// A find is told with its seed, its commit and what runs it again; the smaller schedule that is
/// left replays to the same end.
#[cfg(feature = "mutants")]
#[test]
fn sim_a_find_is_told_with_its_seed_its_commit_and_what_runs_it_again() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).display().to_string();
    let failure = path("failure.json");
    let run = |more: &[&str]| {
        let all = [
            "run",
            "--scenario",
            "counters",
            "--mutant",
            "reply_before_commit",
            "--seeds",
            "100",
            "--check",
            "0",
        ];
        sim(&[&all[..], &["--failure", &failure], more].concat())
    };
    let found = run(&["--json"]);
    assert_eq!(found.status.code(), Some(1));
    let line = last_line(&found);
    assert!(!line["violations"].as_array().unwrap().is_empty() && line["commit"].is_string(), "{line}");
    let again: Vec<String> = line["again"].as_str().unwrap().split(' ').skip(1).map(str::to_owned).collect();
    let mut arguments: Vec<&str> = again.iter().map(String::as_str).collect();
    arguments.extend(["--check", "0", "--json", "--failure", &failure]);
    let repeated = sim(&arguments);
    assert_eq!(repeated.status.code(), Some(1));
    assert_eq!(last_line(&repeated)["trace_hash"], line["trace_hash"]);

    let in_words = told(&run(&[]));
    for part in ["VIOLATED", "FAILED  scenario counters, seed ", "commit ", "again:  kelpie-sim replay "] {
        assert!(in_words.contains(part), "no `{part}` in: {in_words}");
    }
    let replayed = sim(&["replay", &failure, "--json"]);
    assert_eq!(replayed.status.code(), Some(1));
    let small = path("small.json");
    let shrunk = sim(&["shrink", &failure, "--to", &small, "--runs", "20", "--json"]);
    assert!(shrunk.status.success(), "{}", String::from_utf8_lossy(&shrunk.stderr));
    assert!(!last_line(&shrunk)["violations"].as_array().unwrap().is_empty());
    assert_eq!(sim(&["replay", &small]).status.code(), Some(1));
}
