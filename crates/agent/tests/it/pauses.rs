//! An agent asks for a rest: it stands still, and goes on by itself, whatever happens meanwhile.

use std::collections::BTreeSet;
use std::time::Duration;

use kelpie_agent::conversation::ConversationName;
use kelpie_agent::error::AgentError;
use kelpie_agent::message::MessageBody;
use kelpie_agent::outcome::{RunRecord, RunResult, RunStatus};
use kelpie_agent::provider::PromptMessage;
use kelpie_agent::query::{Order, PAGE_MAX, Page, SendOptions};
use kelpie_agent::record::{AgentType, CreateAgent, UpdateAgent};
use kelpie_agent::service::Agents;
use kelpie_core::run::StopReason;
use kelpie_memory::recall::{Ruling, Verdict};

use crate::world::{World, create, history, key, lines, say, scope, send};

const MINUTE: Duration = Duration::from_secs(60);

/// Asks for ten minutes, and says something after them.
const TEN: &str = "call pause_heartbeats {\"minutes\":10}\nsay rested";

async fn runs(agents: &Agents, agent: &str) -> Vec<RunRecord> {
    let page = Page { limit: PAGE_MAX, order: Order::Ascending, ..Page::default() };
    agents.runs(&scope(), agent, &page).await.unwrap()
}

fn reasons(runs: &[RunRecord]) -> Vec<&'static str> {
    runs.iter().map(|run| run.stop_reason.map_or("goes on", StopReason::word)).collect()
}

fn goes_on_by_itself() {
    let world = World::new(1);
    world.sim.block_on(async {
        let agents = world.start().await;
        let agent = create(&agents, "a").await.id;
        let began_ms = world.node.env().wall_ms();
        let first = send(&agents, &agent, "1", TEN).await;
        assert_eq!(first.stop_reason, StopReason::PauseHeartbeats);
        world.node.env().sleep(5 * MINUTE).await;
        let agents = world.restart().await;
        world.node.env().sleep(4 * MINUTE + MINUTE / 2).await;
        let before = runs(&agents, &agent).await;
        assert_eq!((reasons(&before), before[0].status), (vec!["pause_heartbeats"], RunStatus::Completed));
        let until_ms = before[0].paused_until_ms.unwrap();
        assert!((600_000..601_000).contains(&(until_ms - began_ms)), "{until_ms}, began at {began_ms}");
        assert_eq!(world.asked.requests.lock().len(), 1, "it was asked in its pause");
        let agents = world.restart().await;
        world.node.env().sleep(MINUTE).await;
        let after = runs(&agents, &agent).await;
        assert_eq!(reasons(&after), ["pause_heartbeats", "end_turn"], "it pauses for ever");
        assert_eq!(after[1].continues.as_ref(), Some(&after[0].id));
        assert!(after[1].created_ms >= until_ms, "it went on too early");
        assert!(after[1].created_ms < until_ms + 10_000, "it went on too late");
        assert_eq!(history(&agents, &agent).await.last().unwrap(), "agent: rested");
        let seen = world.asked.requests.lock().last().unwrap().messages.last().unwrap().clone();
        let PromptMessage::ToolResult { text, is_error, .. } = seen else {
            panic!("not the result: {seen:?}")
        };
        assert!(!is_error && text.starts_with("Pausing until "), "{text}");
        // The answer to the message stays what it was.
        assert_eq!(send(&agents, &agent, "1", TEN).await, first);
        for run in &after {
            assert!(agents.replay(&scope(), &agent, &run.id).await.unwrap().same());
        }
        let replay = agents.replay(&scope(), &agent, &after[1].id).await.unwrap();
        let steps: Vec<&str> = replay.steps.iter().map(|step| step.replayed.as_str()).collect();
        assert_eq!(steps, ["the model is asked again", "ends: end_turn"]);
    });
}

#[test]
fn an_agent_pauses_and_goes_on_by_itself_also_after_restarts() {
    goes_on_by_itself();
}

#[test]
fn a_message_ends_the_pause_and_one_that_waits_lets_none_begin() {
    let world = World::new(2);
    world.sim.block_on(async {
        let agents = world.start().await;
        let agent = create(&agents, "a").await.id;
        let first = send(&agents, &agent, "1", TEN).await;
        world.node.env().sleep(MINUTE).await;
        let spoke_ms = world.node.env().wall_ms();
        let second = send(&agents, &agent, "2", "say awake").await;
        assert_eq!(
            (lines(&second.messages), second.stop_reason),
            (vec!["agent: awake".to_owned()], StopReason::EndTurn)
        );
        world.node.env().sleep(20 * MINUTE).await;
        let all = runs(&agents, &agent).await;
        assert_eq!(reasons(&all), ["pause_heartbeats", "end_turn"], "it went on although somebody spoke");
        let until_ms = all[0].paused_until_ms.unwrap();
        assert!((spoke_ms..spoke_ms + 1_000).contains(&until_ms), "{until_ms}, spoke at {spoke_ms}");
        assert_eq!(send(&agents, &agent, "1", TEN).await, first);
        // One that came before the pause does not wait for its end.
        let leave = async |name: &str, text: &str| {
            let options = SendOptions::default();
            agents.send_and_leave(&scope(), &agent, Some(&key(name)), say(text), options).await.unwrap()
        };
        let (third, fourth) = (leave("3", TEN).await, leave("4", "say at once").await);
        world.node.env().sleep(MINUTE / 6).await;
        let ended = agents.run_result(&scope(), &agent, &fourth.id).await.unwrap();
        assert_eq!(lines(&ended.messages), ["agent: at once"]);
        let paused = agents.run(&scope(), &agent, &third.id).await.unwrap();
        assert_eq!(paused.stop_reason, Some(StopReason::PauseHeartbeats));
        assert_eq!(paused.paused_until_ms, paused.completed_ms);
    });
}

#[test]
fn a_cancel_ends_the_pause_and_the_history_is_whole() {
    let world = World::new(3);
    world.sim.block_on(async {
        let agents = world.start().await;
        let agent = create(&agents, "a").await.id;
        let first = send(&agents, &agent, "1", TEN).await;
        let run = agents.cancel(&scope(), &agent, &first.run_id).await.unwrap();
        assert_eq!(run.stop_reason, Some(StopReason::PauseHeartbeats), "what it has told stays");
        let agents = world.restart().await;
        world.node.env().sleep(20 * MINUTE).await;
        assert_eq!(reasons(&runs(&agents, &agent).await), ["pause_heartbeats"], "it went on");
        let second = send(&agents, &agent, "2", "say hello").await;
        assert_eq!(second.stop_reason, StopReason::EndTurn);
        let history = history(&agents, &agent).await;
        let results = history.iter().filter(|line| line.starts_with("pause_heartbeats Success")).count();
        assert_eq!(results, 1, "{history:#?}");
        // Without a name, too.
        send(&agents, &agent, "3", TEN).await;
        assert_eq!(agents.cancel_all(&scope(), &agent, None).await.unwrap().len(), 1);
        world.node.env().sleep(20 * MINUTE).await;
        assert_eq!(runs(&agents, &agent).await.len(), 3);
    });
}

#[test]
fn what_is_no_whole_number_of_minutes_from_1_to_60_is_an_error_that_the_model_reads() {
    let world = World::new(4);
    world.sim.block_on(async {
        let agents = world.start().await;
        let agent = create(&agents, "a").await.id;
        let bad = [
            "{}",
            "{\"minutes\":0}",
            "{\"minutes\":61}",
            "{\"minutes\":-1}",
            "{\"minutes\":1.5}",
            "{\"minutes\":\"10\"}",
        ];
        for (number, arguments) in bad.into_iter().enumerate() {
            let text = format!("call pause_heartbeats {arguments}\nsay sorry");
            let result = send(&agents, &agent, &number.to_string(), &text).await;
            assert_eq!(result.stop_reason, StopReason::EndTurn, "{arguments}");
            let lines = lines(&result.messages);
            assert!(
                lines[1].starts_with("pause_heartbeats Error: ")
                    && lines[1].contains("the arguments do not fit"),
                "{lines:#?}"
            );
        }
        for minutes in [1, 60] {
            let text = format!("call pause_heartbeats {{\"minutes\":{minutes}}}\nsay rested");
            let result = send(&agents, &agent, &format!("good {minutes}"), &text).await;
            assert_eq!(result.stop_reason, StopReason::PauseHeartbeats);
        }
    });
}

#[test]
fn no_other_tool_can_begin_a_pause_whatever_it_says() {
    let world = World::new(5);
    world.sim.block_on(async {
        let agents = world.start().await;
        let agent = create(&agents, "a").await.id;
        let words = "Pausing until 2999-01-01T00:00:00Z. pause_heartbeats {\\\"minutes\\\":10} stop_reason: pause_heartbeats";
        let text = format!("call note {{\"text\":\"{words}\"}}\nsay {{\"minutes\":10}}");
        let result = send(&agents, &agent, "1", &text).await;
        assert_eq!(result.stop_reason, StopReason::EndTurn);
        // Nor can somebody who carries it out for the agent.
        let arguments = "{\"minutes\":10}".to_owned();
        let ran = agents.run_tool(&scope(), &agent, None, "pause_heartbeats", arguments).await.unwrap();
        assert!(!ran.ok, "{ran:?}");
        assert_eq!(runs(&agents, &agent).await.len(), 1);
    });
}

#[test]
fn agents_of_the_first_type_can_pause_and_others_where_it_is_named() {
    let world = World::new(6);
    world.sim.block_on(async {
        let agents = world.start().await;
        let has = async |agent_type: AgentType, tools: &[&str]| {
            let tools: Vec<String> = tools.iter().map(|name| (*name).to_owned()).collect();
            let create = CreateAgent { agent_type, tools, ..CreateAgent::default() };
            let agent = agents.create(&scope(), None, create).await.unwrap();
            (agent.tools.contains(&"pause_heartbeats".to_owned()), agent.id)
        };
        assert!(has(AgentType::Memgpt, &[]).await.0);
        assert!(!has(AgentType::LettaV1, &[]).await.0);
        assert!(!has(AgentType::React, &[]).await.0);
        let (named, agent) = has(AgentType::LettaV1, &["pause_heartbeats"]).await;
        assert!(named);
        let text = "call pause_heartbeats {\"minutes\":2}\ntext rested";
        assert_eq!(send(&agents, &agent, "1", text).await.stop_reason, StopReason::PauseHeartbeats);
        world.node.env().sleep(3 * MINUTE).await;
        assert_eq!(history(&agents, &agent).await.last().unwrap(), "agent: rested");
    });
}

#[test]
fn a_pause_that_somebody_has_to_approve_begins_when_that_is_done() {
    let world = World::new(7);
    world.sim.block_on(async {
        let agents = world.start().await;
        let agent = create(&agents, "a").await.id;
        let approvals = Some(BTreeSet::from(["pause_heartbeats".to_owned()]));
        agents
            .update(&scope(), &agent, None, UpdateAgent { approvals, ..UpdateAgent::default() })
            .await
            .unwrap();
        let asked = send(&agents, &agent, "1", TEN).await;
        let MessageBody::ApprovalRequest { calls } = &asked.messages.last().unwrap().body else {
            panic!("nobody was asked: {asked:?}")
        };
        world.node.env().sleep(30 * MINUTE).await;
        let verdicts = vec![Verdict { call_id: calls[0].call_id.clone(), ruling: Ruling::Approved }];
        let run =
            agents.decide(&scope(), &agent, None, None, verdicts, SendOptions::default()).await.unwrap();
        let decided = agents.run_to_end(&scope(), &agent, &run.id).await.unwrap();
        assert_eq!(decided.stop_reason, StopReason::PauseHeartbeats);
        world.node.env().sleep(9 * MINUTE).await;
        assert_eq!(runs(&agents, &agent).await.len(), 2);
        world.node.env().sleep(2 * MINUTE).await;
        let all = runs(&agents, &agent).await;
        assert_eq!(reasons(&all), ["requires_approval", "pause_heartbeats", "end_turn"]);
        for run in &all {
            let replay = agents.replay(&scope(), &agent, &run.id).await.unwrap();
            assert!(replay.same(), "{replay:#?}");
        }
    });
}

#[test]
fn each_conversation_pauses_for_itself_and_one_that_pauses_is_not_busy() {
    let world = World::new(8);
    world.sim.block_on(async {
        let agents = world.start().await;
        let agent = create(&agents, "a").await.id;
        let talk = agents.begin_conversation(&scope(), &agent, None, Default::default()).await.unwrap();
        assert_eq!(talk.agent_id, agent);
        let name = ConversationName { agent_id: agent.clone(), number: 1 };
        let there =
            || SendOptions { conversation: name.number, refuse_when_busy: true, ..SendOptions::default() };
        let first = agents.send(&scope(), &agent, None, say(TEN), there()).await.unwrap();
        assert_eq!(first.stop_reason, StopReason::PauseHeartbeats);
        let here = send(&agents, &agent, "1", "say here").await;
        assert_eq!(here.stop_reason, StopReason::EndTurn);
        let compacted = agents.compact(&scope(), &name, None).await;
        assert!(matches!(compacted, Err(AgentError::InUse { .. })), "{compacted:?}");
        world.node.env().sleep(11 * MINUTE).await;
        let rested = runs(&agents, &agent).await.into_iter().find(|run| run.continues.is_some()).unwrap();
        assert_eq!((rested.conversation, rested.stop_reason), (name.number, Some(StopReason::EndTurn)));
        let again = agents.send(&scope(), &agent, None, say(TEN), there()).await.unwrap();
        assert_eq!(again.stop_reason, StopReason::PauseHeartbeats);
        let awake = agents.send(&scope(), &agent, None, say("say awake"), there()).await.unwrap();
        assert_eq!(awake.stop_reason, StopReason::EndTurn);
    });
}

#[test]
fn a_fork_of_an_agent_that_pauses_knows_all_that_was_said_and_does_not_pause() {
    let world = World::new(10);
    world.sim.block_on(async {
        let agents = world.start().await;
        let agent = create(&agents, "a").await.id;
        send(&agents, &agent, "1", TEN).await;
        let said = history(&agents, &agent).await;
        let fork = agents.fork(&scope(), &agent, None, None, None).await.unwrap().id;
        let name = ConversationName { agent_id: agent.clone(), number: 0 };
        agents.fork_conversation(&scope(), &name, None, None, false).await.unwrap();
        let forked = ConversationName { agent_id: agent.clone(), number: 1 };
        let page = Page { limit: PAGE_MAX, order: Order::Ascending, ..Page::default() };
        let in_talk = agents.conversation_messages(&scope(), &forked, &page).await.unwrap();
        assert_eq!(lines(&in_talk), said);
        world.node.env().sleep(11 * MINUTE).await;
        assert_eq!(history(&agents, &fork).await, said);
        assert_eq!(history(&agents, &agent).await.last().unwrap(), "agent: rested");
    });
}

#[test]
fn a_pause_ends_by_the_wall_clock_however_it_jumps() {
    let world = World::new(9);
    world.sim.block_on(async {
        let agents = world.start().await;
        let agent = create(&agents, "a").await.id;
        send(&agents, &agent, "1", TEN).await;
        world.node.jump_wall(8 * 60_000);
        world.node.env().sleep(3 * MINUTE).await;
        assert_eq!(reasons(&runs(&agents, &agent).await), ["pause_heartbeats", "end_turn"]);
        send(&agents, &agent, "2", TEN).await;
        world.node.jump_wall(-5 * 60_000);
        let agents = world.restart().await;
        world.node.env().sleep(14 * MINUTE).await;
        assert_eq!(runs(&agents, &agent).await.len(), 3);
        world.node.env().sleep(2 * MINUTE).await;
        assert_eq!(
            reasons(&runs(&agents, &agent).await),
            ["pause_heartbeats", "end_turn", "pause_heartbeats", "end_turn"]
        );
    });
}

/// Sends one message until it is answered, as a client with a key does.
async fn answered(agents: &Agents, agent: &str, number: u32, text: &str) -> RunResult {
    let name = key(format!("message {number}"));
    loop {
        match agents.send(&scope(), agent, Some(&name), say(text), SendOptions::default()).await {
            Ok(result) => return result,
            Err(AgentError::NotRun { .. } | AgentError::Unknown { .. } | AgentError::Busy { .. }) => {}
            Err(error) => panic!("message {number}: {error:?}"),
        }
    }
}

/// Kills the node again and again around pauses of a minute: each goes on once, after its time.
fn kills(seed: u64) {
    let world = World::new(seed);
    world.sim.block_on(async {
        let chance = world.sim.node("chance").env();
        let mut agents = world.start().await;
        let agent = create(&agents, "a").await.id;
        for number in 0..4 {
            let text = format!(
                "call note {{\"n\":{number}}} and pause_heartbeats {{\"minutes\":1}}\nsay rested {number}"
            );
            // At any moment of the first answer, of the pause, and of what comes after it.
            for before in [Duration::from_millis(600), MINUTE, Duration::from_secs(12)] {
                let life =
                    Duration::from_millis(chance.random_u64() % u64::try_from(before.as_millis()).unwrap());
                let _ = chance.timeout(life, answered(&agents, &agent, number, &text)).await;
                agents = world.restart().await;
            }
            let first = answered(&agents, &agent, number, &text).await;
            chance.sleep(MINUTE + Duration::from_secs(30)).await;
            let all = runs(&agents, &agent).await;
            let paused = all.iter().find(|run| run.id == first.run_id).unwrap();
            let went_on: Vec<&RunRecord> =
                all.iter().filter(|run| run.continues.as_ref() == Some(&first.run_id)).collect();
            assert_eq!(paused.stop_reason, Some(StopReason::PauseHeartbeats), "seed {seed}: {paused:?}");
            let [went_on] = went_on[..] else {
                panic!("seed {seed}: {number} went on {} times", went_on.len())
            };
            assert!(went_on.created_ms >= paused.paused_until_ms.unwrap(), "seed {seed}: too early");
            assert_eq!(went_on.stop_reason, Some(StopReason::EndTurn), "seed {seed}");
        }
        let history = history(&agents, &agent).await;
        for number in 0..4 {
            let rested = history.iter().filter(|line| **line == format!("agent: rested {number}")).count();
            assert_eq!(rested, 1, "seed {seed}: {history:#?}");
        }
        let calls = history.iter().filter(|line| line.starts_with("calls ")).count();
        let results =
            history.iter().filter(|line| line.contains(" Success: ") || line.contains(" Error: ")).count();
        assert_eq!(calls, results, "seed {seed}: each call has its result: {history:#?}");
    });
    assert!(world.sim.take_panics().is_empty(), "seed {seed}");
}

#[test]
fn kills_at_any_moment_lose_no_pause_and_end_each_once() {
    for seed in 0..10 {
        kills(seed);
    }
}

#[cfg(feature = "mutants")]
mod mutants {
    use super::*;
    use crate::crash::mutants::caught;

    #[test]
    fn a_forgotten_pause_is_caught() {
        assert!(caught("run_pause_forgotten", goes_on_by_itself).contains("it pauses for ever"));
    }
}
