//! Calls that need approval: durable, made once, and never the end of an agent.

use std::collections::BTreeSet;
use std::time::Duration;

use kelpie_agent::error::AgentError;
use kelpie_agent::message::MessageBody;
use kelpie_agent::outcome::{RunResult, RunStatus};
use kelpie_agent::query::SendOptions;
use kelpie_agent::record::UpdateAgent;
use kelpie_agent::service::Agents;
use kelpie_core::run::StopReason;
use kelpie_memory::recall::{Ruling, Verdict};

use crate::world::{World, create, history, key, say, scope, send};

/// An agent whose calls of `book` need approval.
async fn careful(agents: &Agents) -> String {
    let agent = create(agents, "a").await.id;
    let approvals = Some(BTreeSet::from(["book".to_owned()]));
    let change = UpdateAgent { approvals, ..UpdateAgent::default() };
    agents.update(&scope(), &agent, Some(&key("careful")), change).await.unwrap();
    agent
}

/// The calls that a run waits for.
fn asked(result: &RunResult) -> Vec<String> {
    let calls = result.messages.iter().filter_map(|message| {
        let MessageBody::ApprovalRequest { calls } = &message.body else { return None };
        Some(calls)
    });
    calls.flatten().map(|call| call.call_id.clone()).collect()
}

fn ruled(calls: &[String], ruling: &Ruling) -> Vec<Verdict> {
    calls.iter().map(|call| Verdict { call_id: call.clone(), ruling: ruling.clone() }).collect()
}

/// Retries what may not have happened, as a client with a key does.
fn again(error: &AgentError) -> bool {
    matches!(error, AgentError::NotRun { .. } | AgentError::Unknown { .. } | AgentError::Busy { .. })
}

/// Says something and approves what it asks for, until the agent is done.
async fn approved(agents: &Agents, agent: &str, number: u32) -> RunResult {
    let text = format!("call note {{\"n\":{number}}} and book {{\"n\":{number}}}\nsay done {number}");
    let name = key(format!("message {number}"));
    let first = loop {
        match agents.send(&scope(), agent, Some(&name), say(&text), SendOptions::default()).await {
            Ok(result) => break result,
            Err(error) if again(&error) => {}
            Err(error) => panic!("message {number}: {error:?}"),
        }
    };
    assert_eq!(first.stop_reason, StopReason::RequiresApproval, "message {number} was not asked about");
    let name = key(format!("decision {number}"));
    loop {
        let verdicts = ruled(&asked(&first), &Ruling::Approved);
        let run = agents.decide(&scope(), agent, Some(&name), None, verdicts, SendOptions::default()).await;
        let run = match run {
            Ok(run) => run,
            Err(error) if again(&error) => continue,
            Err(error) => panic!("decision {number}: {error:?}"),
        };
        match agents.run_to_end(&scope(), agent, &run.id).await {
            Ok(result) => return result,
            Err(error) if again(&error) => {}
            Err(error) => panic!("decision {number}: {error:?}"),
        }
    }
}

/// Kills the node again and again while messages are sent and calls approved.
fn kills(seed: u64) {
    let world = World::new(seed);
    world.sim.block_on(async {
        let chance = world.sim.node("chance").env();
        let mut agents = world.start().await;
        let agent = careful(&agents).await;
        let mut number = 0;
        for _ in 0..6 {
            let until = chance.now() + Duration::from_millis(chance.random_u64() % 2_000);
            while chance.now() < until {
                let left = until.saturating_sub(chance.now());
                let Ok(_) = chance.timeout(left, approved(&agents, &agent, number)).await else { break };
                number += 1;
            }
            agents = world.restart().await;
        }
        approved(&agents, &agent, number).await;
        let history = history(&agents, &agent).await;
        let results = history.iter().filter(|line| line.starts_with("book ")).count();
        assert_eq!(results, number as usize + 1, "each approved call has one result: {history:#?}");
        let arrived = world.effects.arrived.lock().clone();
        for n in 0..=number {
            let arguments = format!("{{\"n\":{n}}}");
            let times =
                arrived.iter().filter(|made| made.tool == "book" && made.arguments == arguments).count();
            assert!(times <= 1, "seed {seed}: book {n} was called {times} times");
        }
    });
    assert!(world.sim.take_panics().is_empty(), "seed {seed}");
}

#[test]
fn kills_at_any_moment_lose_no_approval_and_make_no_call_twice() {
    for seed in 0..10 {
        kills(seed);
    }
}

fn nothing_before_approval() {
    let world = World::new(3);
    world.sim.block_on(async {
        let agents = world.start().await;
        let agent = careful(&agents).await;
        let first = send(&agents, &agent, "1", "call book {}\nsay done").await;
        assert_eq!(asked(&first).len(), 1, "nobody was asked: {first:?}");
        let agents = world.restart().await;
        world.node.env().sleep(Duration::from_secs(600)).await;
        assert!(world.effects.arrived.lock().is_empty(), "called without approval");
        let run_id = first.run_id.clone();
        for _ in 0..3 {
            let later = key("later");
            let refused =
                agents.send(&scope(), &agent, Some(&later), say("say hello"), SendOptions::default()).await;
            assert!(
                matches!(&refused, Err(AgentError::InUse { run_id: waits, pending_approval: true, .. }) if *waits == run_id),
                "{refused:?}"
            );
        }
        let denied = ruled(&asked(&first), &Ruling::Denied { reason: Some("too dear".into()) });
        let run = agents.decide(&scope(), &agent, None, None, denied, SendOptions::default()).await.unwrap();
        let result = agents.run_to_end(&scope(), &agent, &run.id).await.unwrap();
        assert_eq!(result.stop_reason, StopReason::EndTurn);
        assert!(world.effects.arrived.lock().is_empty(), "called although it was denied");
        let history = history(&agents, &agent).await;
        assert!(history.iter().any(|line| line.contains("too dear")), "{history:#?}");
        // What was refused for a while is not refused for ever under its key.
        assert_eq!(send(&agents, &agent, "later", "say hello").await.stop_reason, StopReason::EndTurn);
    });
}

#[test]
fn nothing_is_called_before_somebody_approves_also_after_a_restart() {
    nothing_before_approval();
}

fn expires() {
    let world = World::new(4);
    world.sim.block_on(async {
        let agents = world.start().await;
        let agent = careful(&agents).await;
        let first = send(&agents, &agent, "1", "call book {}\nsay done").await;
        let agents = world.restart().await;
        world.node.env().sleep(Duration::from_secs(25 * 60 * 60)).await;
        let run = agents.run(&scope(), &agent, &first.run_id).await.unwrap();
        assert_eq!(run.status, RunStatus::Cancelled, "it waits for ever");
        let late = ruled(&asked(&first), &Ruling::Approved);
        let refused = agents.decide(&scope(), &agent, None, None, late, SendOptions::default()).await;
        assert!(matches!(refused, Err(AgentError::NothingPending { .. })), "{refused:?}");
        let next = send(&agents, &agent, "2", "say free again").await;
        assert_eq!(next.stop_reason, StopReason::EndTurn);
        assert!(world.effects.arrived.lock().is_empty());
    });
}

#[test]
fn an_approval_that_nobody_gives_expires_and_the_agent_goes_on() {
    expires();
}

#[cfg(feature = "mutants")]
mod mutants {
    use super::*;
    use crate::crash::mutants::caught;

    #[test]
    fn an_approval_that_never_expires_is_caught() {
        assert!(caught("run_approval_never_expires", expires).contains("it waits for ever"));
    }

    #[test]
    fn a_call_made_without_its_approval_is_caught() {
        let words = caught("run_approval_not_asked_for", nothing_before_approval);
        assert!(words.contains("called without approval"), "{words}");
    }
}
