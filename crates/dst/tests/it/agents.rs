//! Clusters of agents: that they do what they are asked, and what the world does to them.

use std::collections::BTreeMap;

use kelpie_agent::message::{MessageBody, ToolStatus};
use kelpie_dst::agents::{AGENT_FAULTS, Look};
use kelpie_dst::run::{Verdict, draw, run};
use kelpie_dst::schedule::Schedule;
use kelpie_dst::workload;

fn drawn(seed: u64) -> Schedule {
    draw(workload::by_name("agents").unwrap(), seed)
}

fn looks(verdict: &Verdict) -> Vec<Look> {
    let looks = verdict.history.calls.iter().filter(|call| call.operation == "look");
    looks.map(|call| serde_json::from_str(call.reply().unwrap()).unwrap()).collect()
}

#[test]
fn sim_agents_do_what_they_are_asked() {
    let mut succeeded: BTreeMap<String, u32> = BTreeMap::new();
    let mut kept = 0;
    for seed in 0..3 {
        let verdict = run(&Schedule { faults: Vec::new(), ..drawn(seed) }).unwrap();
        assert_eq!(verdict.violations, [], "seed {seed}");
        for look in looks(&verdict) {
            assert!(look.runs.iter().all(|run| run.failure.is_none()), "{:?}", look.runs);
            kept += look.passages.len();
            for message in look.messages {
                if let MessageBody::ToolReturn { name, status: ToolStatus::Success, .. } = message.body {
                    *succeeded.entry(name).or_default() += 1;
                }
            }
        }
    }
    for tool in ["book", "note", "core_memory_append", "archival_memory_insert", "conversation_search"] {
        assert!(succeeded.contains_key(tool), "{tool} never succeeded: {succeeded:?}");
    }
    assert!(kept > 0);
}

#[test]
fn sim_agents_that_pause_go_on_by_themselves_or_when_somebody_speaks() {
    let (mut went_on, mut woken) = (0, 0);
    for seed in 0..60 {
        if went_on > 0 && woken > 0 {
            break;
        }
        let schedule = drawn(seed);
        if !schedule.operations.iter().any(|operation| operation.payload.contains("pause_heartbeats")) {
            continue;
        }
        let verdict = run(&schedule).unwrap();
        assert_eq!(verdict.violations, [], "seed {seed}");
        for look in looks(&verdict) {
            let paused = look.runs.iter().filter(|run| run.paused_until_ms.is_some()).count();
            let continued = look.runs.iter().filter(|run| run.continues.is_some()).count();
            (went_on, woken) = (went_on + continued, woken + paused - continued);
        }
    }
    assert!(went_on > 0 && woken > 0, "{went_on} pauses ended by themselves, {woken} because somebody spoke");
}

/// One for each judge of agents.
#[cfg(feature = "mutants")]
#[test]
fn sim_seeded_bugs_of_agents_are_found() {
    use kelpie_dst::mutants::{ALL, hunt};

    for (name, judge) in [
        ("range_of_every_actor", "MemoryIsolation"),
        ("passage_position_not_counted", "MemoryEdits"),
        ("passage_without_its_row", "MemoryEdits"),
        ("run_effect_before_record", "ToolEffects"),
        ("run_pause_forgotten", "Conversation"),
    ] {
        let mutant = ALL.iter().find(|mutant| mutant.name == name).unwrap();
        let hunt = hunt(*mutant, 1, 40).unwrap();
        assert!(hunt.by.contains_key(judge), "{hunt:?}");
    }
}

#[test]
fn sim_what_models_and_tools_do_is_counted() {
    let mut schedule = drawn(1);
    let text = r#"{"at_ms":1,"for_ms":20000,"what":{"kind":"world","faults":{"model_cut_ppm":300000,"tool_answer_lost_ppm":500000,"double_call_ppm":500000}}}"#;
    schedule.faults = vec![serde_json::from_str(text).unwrap()];
    let verdict = run(&schedule).unwrap();
    assert_eq!(verdict.violations, []);
    let fired: Vec<&str> = AGENT_FAULTS.iter().copied().filter(|fault| verdict.fired[*fault] > 0).collect();
    assert_eq!(fired, ["model-stream-cut", "duplicate-tool-call", "tool-answer-lost"]);
}
