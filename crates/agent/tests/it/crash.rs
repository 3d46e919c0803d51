//! Kills at any moment: nothing that was acknowledged is lost, nothing recorded is repeated.

use std::collections::BTreeMap;
use std::time::Duration;

use kelpie_agent::error::AgentError;
use kelpie_agent::outcome::RunResult;
use kelpie_agent::query::SendOptions;
use kelpie_agent::service::Agents;
use kelpie_agent::tool::runner::Invocation;

use crate::world::{World, create, history, key, lines, say, scope, send};

/// What the test's client knows: the text and the answer of each message that was answered.
pub(crate) type Answers = BTreeMap<String, RunResult>;

pub(crate) fn text(number: u32) -> String {
    match number % 4 {
        0 => format!("call book {{\"n\":{number}}}\nsay booked {number}"),
        1 => format!("call note {{\"n\":{number}}} and book {{\"n\":{number}}}\nsay both {number}"),
        2 => {
            let append = format!("{{\"label\":\"human\",\"content\":\"fact {number}.\"}}");
            format!("call core_memory_append {append}\nsay kept {number}")
        }
        _ => format!("say {number}"),
    }
}

/// Sends one message until it is answered, as a client with a key does.
async fn answered(agents: &Agents, agent: &str, number: u32) -> RunResult {
    let name = key(format!("message {number}"));
    loop {
        let sent =
            agents.send(&scope(), agent, Some(&name), say(&text(number)), SendOptions::default()).await;
        match sent {
            Ok(result) => return result,
            Err(AgentError::NotRun { .. } | AgentError::Unknown { .. } | AgentError::Busy { .. }) => {}
            Err(error) => panic!("message {number}: {error:?}"),
        }
    }
}

/// Sends numbered messages while the node is killed again and again; then checks all that was
/// promised.
fn kills(seed: u64) {
    let world = World::new(seed);
    world.sim.block_on(async {
        let chance = world.sim.node("chance").env();
        let mut agents = world.start().await;
        let agent = create(&agents, "a").await.id;
        let mut answers = Answers::new();
        let mut number = 0;
        for _ in 0..6 {
            let life = Duration::from_millis(chance.random_u64() % 1_500);
            let until = chance.now() + life;
            while chance.now() < until {
                let left = until.saturating_sub(chance.now());
                let Ok(result) = chance.timeout(left, answered(&agents, &agent, number)).await else { break };
                answers.insert(text(number), result);
                number += 1;
            }
            agents = world.restart().await;
        }
        let last = answered(&agents, &agent, number).await;
        answers.insert(text(number), last);
        check(&world, &agents, &agent, &answers, number).await;
    });
    assert!(world.sim.take_panics().is_empty(), "seed {seed}");
}

pub(crate) async fn check(world: &World, agents: &Agents, agent: &str, answers: &Answers, last: u32) {
    let history = history(agents, agent).await;
    let heard: Vec<&String> = history.iter().filter(|line| line.starts_with("user: ")).collect();
    let expected: Vec<String> = (0..=last).map(|number| format!("user: {}", text(number))).collect();
    assert!(heard.iter().copied().eq(&expected), "each message is there once: {heard:#?}");
    let calls = history.iter().filter(|line| line.starts_with("calls ")).count();
    let results =
        history.iter().filter(|line| line.contains(" Success: ") || line.contains(" Error: ")).count();
    assert_eq!(calls, results, "each call has its result: {history:#?}");
    let arrived = world.effects.arrived.lock().clone();
    for invocation in &arrived {
        let same = |other: &&Invocation| {
            (&other.tool, &other.arguments) == (&invocation.tool, &invocation.arguments)
        };
        let times: Vec<&Invocation> = arrived.iter().filter(same).collect();
        assert!(times.iter().all(|other| other.idempotency_key == invocation.idempotency_key), "{times:#?}");
        assert!(invocation.tool != "book" || times.len() == 1, "called twice: {times:#?}");
    }
    for (text, answer) in answers {
        let number = text.split_whitespace().last().unwrap();
        let again = answered(agents, agent, number.parse().unwrap()).await;
        assert_eq!(&again, answer, "a retry gets the same answer");
    }
    let human = agents.block(&scope(), agent, "human").await.unwrap().value;
    for number in (0..=last).filter(|number| number % 4 == 2) {
        assert_eq!(human.matches(&format!("fact {number}.")).count(), 1, "{human}");
    }
}

#[test]
fn kills_at_any_moment_lose_nothing_and_repeat_nothing() {
    for seed in 0..20 {
        kills(seed);
    }
}

#[test]
fn a_tool_whose_outcome_a_crash_hides_is_unknown_and_an_idempotent_one_is_asked_again_with_its_key() {
    let world = World::new(7);
    world.sim.block_on(async {
        let agents = world.start().await;
        let agent = create(&agents, "a").await.id;
        let text = say("call book {} and note {}\nsay went on");
        let run = agents
            .send_and_leave(&scope(), &agent, Some(&key("1")), text, SendOptions::default())
            .await
            .unwrap();
        // The effects are done and their results are under way.
        let env = world.node.env();
        while world.effects.arrived.lock().len() < 2 {
            env.sleep(Duration::from_millis(1)).await;
        }
        let agents = world.restart().await;
        let result = send(&agents, &agent, "1", "call book {} and note {}\nsay went on").await;
        assert_eq!(result.run_id, run.id);
        let lines = lines(&result.messages);
        assert!(lines.iter().any(|line| line.starts_with("book Error: UNKNOWN")), "{lines:#?}");
        assert!(lines.iter().any(|line| line.starts_with("note Success")), "{lines:#?}");
        assert_eq!(lines.last().unwrap(), "agent: went on");
        let times = world.effects.by_key.lock().values().copied().collect::<Vec<_>>();
        assert_eq!(times, [1, 2], "the key of the second is the same");
    });
}

fn goes_on_by_itself() {
    let world = World::new(8);
    world.sim.block_on(async {
        let agents = world.start().await;
        let agent = create(&agents, "a").await.id;
        agents
            .send_and_leave(
                &scope(),
                &agent,
                None,
                say("call note {}\nsay by itself"),
                SendOptions::default(),
            )
            .await
            .unwrap();
        let agents = world.restart().await;
        world.node.env().sleep(Duration::from_secs(20)).await;
        assert_eq!(history(&agents, &agent).await.last().unwrap(), "agent: by itself");
    });
}

#[test]
fn a_run_goes_on_after_a_crash_although_nobody_asks() {
    goes_on_by_itself();
}

/// One run is cancelled while its tool works; the next one's tool works when that result comes.
fn late_result() {
    let world = World { takes: Duration::from_secs(5), ..World::new(9) };
    world.sim.block_on(async {
        let agents = world.start().await;
        let agent = create(&agents, "a").await.id;
        let options = SendOptions::default;
        let run =
            agents.send_and_leave(&scope(), &agent, None, say("call book {}"), options()).await.unwrap();
        world.node.env().sleep(Duration::from_secs(2)).await;
        agents.cancel(&scope(), &agent, &run.id).await.unwrap();
        let result = send(&agents, &agent, "next", "call note {}\nsay done").await;
        assert_eq!(
            lines(&result.messages),
            ["calls note {}", "note Success: note did {}", "agent: done"],
            "another run's result was taken"
        );
        let history = history(&agents, &agent).await;
        let book: Vec<&String> = history.iter().filter(|line| line.starts_with("book ")).collect();
        assert!(
            matches!(&book[..], [line] if line.contains("UNKNOWN")),
            "no result for the cancelled call: {book:?}"
        );
    });
}

#[test]
fn a_late_result_of_a_cancelled_run_is_not_taken_for_another_ones() {
    late_result();
}

#[cfg(feature = "mutants")]
pub(crate) mod mutants {
    use super::*;

    /// The words of the check that a seeded bug fails.
    pub(crate) fn caught(name: &'static str, scenario: fn()) -> String {
        let _armed = kelpie_core::mutant::arm(name);
        let panic = std::panic::catch_unwind(scenario).expect_err("the seeded bug was not noticed");
        let words = panic.downcast_ref::<String>().cloned();
        words.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string)).unwrap_or_default()
    }

    #[test]
    fn an_effect_before_its_record_is_caught() {
        assert!(caught("run_effect_before_record", || kills(0)).contains("called twice"));
    }

    #[test]
    fn a_late_result_accepted_is_caught() {
        assert!(caught("run_late_result_accepted", late_result).contains("another run's result"));
    }

    #[test]
    fn an_orphan_call_at_a_cancel_is_caught() {
        assert!(
            caught("run_orphan_call_at_cancel", late_result).contains("no result for the cancelled call")
        );
    }

    #[test]
    fn a_wake_entry_cleared_too_early_is_caught() {
        assert!(caught("run_wake_cleared_early", goes_on_by_itself).contains("by itself"));
    }
}
