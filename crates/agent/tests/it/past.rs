//! Recorded runs once more without their model, and agents made from others.

use std::collections::BTreeSet;
use std::time::Duration;

use kelpie_agent::archive::NewPassage;
use kelpie_agent::budget::Budget;
use kelpie_agent::conversation::ConversationName;
use kelpie_agent::error::AgentError;
use kelpie_agent::message::MessageBody;
use kelpie_agent::outcome::RunResult;
use kelpie_agent::provider::ToolSpec;
use kelpie_agent::query::{AgentQuery, Order, PAGE_MAX, Page, SendOptions};
use kelpie_agent::record::UpdateAgent;
use kelpie_agent::replay::{Fate, Replay};
use kelpie_agent::service::Agents;
use kelpie_core::run::StopReason;
use kelpie_memory::archival::PassageQuery;
use kelpie_memory::recall::{Ruling, Verdict};
use serde_json::json;

use crate::world::{World, create, history, key, say, scope, send};

async fn replays(agents: &Agents, agent: &str) -> Vec<Replay> {
    let page = Page { limit: PAGE_MAX, order: Order::Ascending, ..Page::default() };
    let mut replays = Vec::new();
    for run in agents.runs(&scope(), agent, &page).await.unwrap() {
        replays.push(agents.replay(&scope(), agent, &run.id).await.unwrap());
    }
    replays
}

/// How each step of each run goes on.
fn outcomes(replays: &[Replay]) -> Vec<Vec<&str>> {
    replays.iter().map(|replay| replay.steps.iter().map(|step| step.replayed.as_str()).collect()).collect()
}

async fn changed(agents: &Agents, agent: &str, change: UpdateAgent) {
    agents.update(&scope(), agent, None, change).await.unwrap();
}

fn rules(rules: serde_json::Value) -> UpdateAgent {
    UpdateAgent { rules: Some(serde_json::from_value(rules).unwrap()), ..UpdateAgent::default() }
}

/// Decides about all calls that a run waits for; how the run ended that went on.
async fn decide(agents: &Agents, agent: &str, waits: &RunResult, ruling: Ruling) -> RunResult {
    let asked = waits.messages.iter().filter_map(|message| {
        let MessageBody::ApprovalRequest { calls } = &message.body else { return None };
        Some(calls)
    });
    let verdict = |call_id: &String| Verdict { call_id: call_id.clone(), ruling: ruling.clone() };
    let verdicts = asked.flatten().map(|call| verdict(&call.call_id)).collect();
    let run = agents.decide(&scope(), agent, None, None, verdicts, SendOptions::default()).await.unwrap();
    agents.run_to_end(&scope(), agent, &run.id).await.unwrap()
}

/// Runs of every kind, each of which comes out as it was recorded.
fn all_kinds() {
    let world = World::new(1);
    world.sim.block_on(async {
        let agents = world.start().await;
        let agent = create(&agents, "a").await.id;
        let append = "core_memory_append {\"label\":\"human\",\"content\":\"x\"}";
        let told = format!("call note {{}} and {append} and broken {{}}\ncall no_such {{}}\ncall book {{\"room\":\"x\"}}\nsay done");
        send(&agents, &agent, "1", &told).await;
        send(&agents, &agent, "2", "fail").await;
        send(&agents, &agent, "3", "plain text").await;
        let limit = SendOptions { max_steps: Some(1), ..SendOptions::default() };
        agents.send(&scope(), &agent, Some(&key("4")), say("call note {}\nsay never"), limit).await.unwrap();
        // A crash that hides the outcome of a call, and a cancel.
        let crash = || say("call book {} and note {}\nsay went on");
        agents.send_and_leave(&scope(), &agent, Some(&key("5")), crash(), SendOptions::default()).await.unwrap();
        while world.effects.arrived.lock().len() < 4 {
            world.node.env().sleep(Duration::from_millis(1)).await;
        }
        let agents = world.restart().await;
        agents.send(&scope(), &agent, Some(&key("5")), crash(), SendOptions::default()).await.unwrap();
        let run =
            agents.send_and_leave(&scope(), &agent, None, say("call note {}"), SendOptions::default()).await.unwrap();
        world.node.env().sleep(Duration::from_millis(150)).await;
        agents.cancel(&scope(), &agent, &run.id).await.unwrap();
        let replays = replays(&agents, &agent).await;
        for replay in &replays {
            assert!(replay.same(), "came out otherwise: {replay:#?}");
        }
        let asks = "the model is asked again";
        assert_eq!(
            outcomes(&replays),
            [
                vec![asks, asks, asks, "ends: end_turn"],
                vec!["ends: llm_api_error"],
                vec!["ends: end_turn"],
                vec!["ends: max_steps"],
                vec![asks, "ends: end_turn"],
                vec!["ends: cancelled"],
            ]
        );
        let [note, append, broken] = &replays[0].steps[0].calls[..] else { panic!("{:#?}", replays[0]) };
        assert_eq!((note.replayed, append.replayed, broken.replayed), (Fate::Made, Fate::Made, Fate::Made));
        assert_eq!(replays[0].steps[1].calls[0].replayed, Fate::Refused);
        assert!(world.asked.requests.lock().len() < 20 && world.effects.arrived.lock().len() == 6, "something ran");
    });
}

#[test]
fn a_run_of_any_kind_comes_out_as_it_was_recorded() {
    all_kinds();
}

/// An agent of which two tools have to be approved.
async fn careful(agents: &Agents) -> String {
    let agent = create(agents, "a").await.id;
    changed(agents, &agent, approvals(&["book", "core_memory_append"])).await;
    agent
}

fn approvals(names: &[&str]) -> UpdateAgent {
    let names = names.iter().map(|name| (*name).to_owned()).collect();
    UpdateAgent { approvals: Some(names), ..UpdateAgent::default() }
}

#[test]
fn decisions_come_out_as_they_were_recorded() {
    let world = World::new(2);
    world.sim.block_on(async {
        let agents = world.start().await;
        let agent = careful(&agents).await;
        let append = "core_memory_append {\"label\":\"human\",\"content\":\"x\"}";
        let text = format!("call book {{}} and note {{}} and {append}\ncall book {{}}\nsay done");
        let first = send(&agents, &agent, "1", &text).await;
        let second = decide(&agents, &agent, &first, Ruling::Approved).await;
        assert_eq!(second.stop_reason, StopReason::RequiresApproval);
        let third = decide(&agents, &agent, &second, Ruling::Denied { reason: None }).await;
        assert_eq!(third.stop_reason, StopReason::EndTurn);
        // A tool of the client's.
        let parameters = json!({ "type": "object", "properties": {} });
        let client_tools = vec![ToolSpec { name: "local".into(), description: "Here.".into(), parameters }];
        let options = SendOptions { client_tools, ..SendOptions::default() };
        let text = say("call local {}\nsay done");
        let waits = agents.send(&scope(), &agent, Some(&key("4")), text, options).await.unwrap();
        decide(&agents, &agent, &waits, Ruling::Answered { text: "here".into(), ok: true }).await;
        let all = replays(&agents, &agent).await;
        assert!(all.iter().all(Replay::same), "{all:#?}");
        let (asks, waits) = ("the model is asked again", "waits for a decision");
        let expected = [
            vec![waits],
            vec![asks, waits],
            vec![asks, asks, "ends: end_turn"],
            vec![waits],
            vec![asks, "ends: end_turn"],
        ];
        assert_eq!(outcomes(&all), expected);
        // Calls that need no approval any more turn out otherwise; a client's tool does not.
        changed(&agents, &agent, approvals(&[])).await;
        let all = replays(&agents, &agent).await;
        for replay in &all[..3] {
            let call = &replay.steps.last().unwrap().calls[0];
            assert_eq!((call.recorded, call.replayed), (Fate::Asked, Fate::Made), "{replay:#?}");
        }
        assert!(all[3..].iter().all(Replay::same), "{:#?}", &all[3..]);
    });
}

#[test]
fn rules_budgets_and_summaries_come_out_as_they_were_recorded() {
    let world = World::new(8);
    world.sim.block_on(async {
        let agents = world.start().await;
        let agent = create(&agents, "a").await.id;
        let both = json!([
            { "type": "required_before_exit", "tool_name": "note" },
            { "type": "exit_loop", "tool_name": "book" },
        ]);
        changed(&agents, &agent, rules(both)).await;
        send(&agents, &agent, "1", "say early\ncall note {}\nsay done").await;
        let ended = send(&agents, &agent, "2", "call note {}\ncall book {}\nsay never").await;
        assert_eq!(ended.stop_reason, StopReason::ToolRule);
        let name = ConversationName { agent_id: agent.clone(), number: 0 };
        agents.compact(&scope(), &name, None).await.unwrap();
        let budget = Some(Budget { steps_per_day: Some(1), ..Budget::default() });
        changed(&agents, &agent, UpdateAgent { budget, ..UpdateAgent::default() }).await;
        assert_eq!(send(&agents, &agent, "3", "say never").await.stop_reason, StopReason::Error);
        let all = replays(&agents, &agent).await;
        assert!(all.iter().all(Replay::same), "{all:#?}");
        let asks = "the model is asked again";
        let expected = [
            vec![asks, asks, "ends: end_turn"],
            vec![asks, "ends: tool_rule"],
            vec!["ends: end_turn"],
            vec!["ends: error"],
        ];
        assert_eq!(outcomes(&all), expected);
    });
}

#[test]
fn other_settings_show_as_the_step_that_turns_out_otherwise() {
    let world = World::new(3);
    world.sim.block_on(async {
        let agents = world.start().await;
        let agent = create(&agents, "a").await.id;
        send(&agents, &agent, "1", "call note {}\ncall book {}\nsay done").await;
        let differs = async |change: UpdateAgent| {
            changed(&agents, &agent, change).await;
            let replay = replays(&agents, &agent).await.remove(0);
            assert!(!replay.same(), "{replay:#?}");
            let step = replay.steps.last().unwrap().clone();
            (step.step, step.calls.first().map(|call| call.replayed), step.recorded, step.replayed)
        };
        let asks = "the model is asked again".to_owned();
        let only_once =
            rules(json!([{ "type": "constrain_child_tools", "tool_name": "note", "children": ["note"] }]));
        assert_eq!(differs(only_once).await, (2, Some(Fate::Refused), asks.clone(), asks.clone()));
        let exits = rules(json!([{ "type": "exit_loop", "tool_name": "note" }]));
        assert_eq!(differs(exits).await, (1, Some(Fate::Made), asks.clone(), "ends: tool_rule".into()));
        let shorter = UpdateAgent { max_steps: Some(2), rules: Some(Vec::new()), ..UpdateAgent::default() };
        assert_eq!(differs(shorter).await, (2, Some(Fate::Made), asks.clone(), "ends: max_steps".into()));
        let tools = Some(vec!["send_message".to_owned(), "book".to_owned()]);
        let without = UpdateAgent { max_steps: Some(9), tools, ..UpdateAgent::default() };
        assert_eq!(differs(without).await, (1, Some(Fate::Refused), asks.clone(), asks));
    });
}

#[test]
fn a_recording_tells_a_run_step_by_step() {
    let world = World::new(4);
    world.sim.block_on(async {
        let agents = world.start().await;
        let agent = create(&agents, "a").await.id;
        let run = send(&agents, &agent, "1", "call note {}\nsay done").await;
        let recording = agents.recording(&scope(), &agent, &run.run_id).await.unwrap();
        let lines = |messages| crate::world::lines(messages);
        assert_eq!(lines(&recording.heard), ["user: call note {}\nsay done"]);
        assert_eq!(lines(&recording.steps[&1]), ["calls note {}", "note Success: note did {}"]);
        assert!(lines(&recording.steps[&2])[0].starts_with("calls send_message"), "{recording:#?}");
    });
}

/// What an agent knows: its blocks, its messages, what it finds.
async fn knows(agents: &Agents, agent: &str) -> (Vec<(String, String)>, Vec<String>, Vec<String>) {
    let blocks = agents.blocks(&scope(), agent).await.unwrap();
    let passages = agents.passages(&scope(), agent, &Page::default()).await.unwrap();
    (
        blocks.into_iter().map(|block| (block.label, block.value)).collect(),
        history(agents, agent).await,
        passages.into_iter().map(|passage| passage.text).collect(),
    )
}

#[test]
fn a_fork_knows_what_its_source_knew_and_goes_its_own_way() {
    let world = World::new(5);
    world.sim.block_on(async {
        let agents = world.start().await;
        let agent = create(&agents, "a").await.id;
        let append = "core_memory_append {\"label\":\"human\",\"content\":\"likes tea\"}";
        let archive = "archival_memory_insert {\"content\":\"a long story\"}";
        let first = send(&agents, &agent, "1", &format!("call {append} and {archive}\nsay kept")).await;
        send(&agents, &agent, "2", "say two").await;
        let old = agents.passages(&scope(), &agent, &Page::default()).await.unwrap().remove(0);
        let newer = NewPassage {
            text: "a short story".into(),
            supersedes: Some(old.id),
            tags: Vec::new(),
            created_ms: None,
        };
        agents.insert_passage(&scope(), &agent, None, newer).await.unwrap();
        let made = agents.fork(&scope(), &agent, Some(&key("fork")), None, None).await.unwrap();
        let kept = agents.passages(&scope(), &made.id, &Page::default()).await.unwrap();
        let superseded = kept.iter().find(|passage| passage.superseded_by.is_some()).unwrap();
        assert!(
            kept.iter().any(|passage| Some(&passage.id) == superseded.superseded_by.as_ref()),
            "{kept:#?}"
        );
        let query = PassageQuery { text: "story".into(), ..PassageQuery::default() };
        let found = agents.find_passages(&scope(), &made.id, &query).await.unwrap();
        assert!(!found.is_empty(), "what it has taken over is found");
        assert_eq!((made.name.as_str(), made.id == agent), ("a-fork", false));
        assert_eq!(knows(&agents, &made.id).await, knows(&agents, &agent).await);
        let ids = |agent: &kelpie_agent::record::AgentRecord| {
            agent.blocks.iter().map(|block| block.id.clone()).collect::<BTreeSet<_>>()
        };
        let source = agents.get(&scope(), &agent).await.unwrap();
        assert!(ids(&made).is_disjoint(&ids(&source)), "blocks of its own");
        let agents = world.restart().await;
        let again = agents.fork(&scope(), &agent, Some(&key("fork")), None, None).await.unwrap();
        assert_eq!(again, made, "the same key, the same fork");
        let other = agents.fork(&scope(), &agent, Some(&key("fork")), Some("b".into()), None).await;
        assert!(matches!(other, Err(AgentError::KeyReused)), "{other:?}");

        let before = knows(&agents, &agent).await;
        let append = "core_memory_append {\"label\":\"human\",\"content\":\"likes rum\"}";
        let result = send(&agents, &made.id, "3", &format!("call {append} and {archive}\nsay own way")).await;
        assert_eq!(result.stop_reason, StopReason::EndTurn);
        let passage = agents.passages(&scope(), &made.id, &Page::default()).await.unwrap().pop().unwrap();
        agents.delete_passage(&scope(), &made.id, None, &passage.id).await.unwrap();
        assert_eq!(knows(&agents, &agent).await, before, "the source stays as it was");
        let asked = world.asked.requests.lock().last().unwrap().clone();
        assert!(
            asked.messages.len() > 5 && asked.system.contains("likes rum"),
            "it knows what was said: {asked:#?}"
        );

        let early = agents
            .fork(&scope(), &agent, None, Some("early".into()), Some(first.run_id.clone()))
            .await
            .unwrap();
        let early_history = history(&agents, &early.id).await;
        assert_eq!(early_history[..], before.1[..early_history.len()]);
        assert_eq!(early_history.last().unwrap(), "agent: kept");
        assert_eq!(
            agents.runs(&scope(), &early.id, &Page::default()).await.unwrap(),
            [],
            "no runs of its own yet"
        );
        send(&agents, &early.id, "4", "say three").await;
        assert_eq!(history(&agents, &early.id).await.last().unwrap(), "agent: three");
        let wrong = agents.fork(&scope(), &early.id, None, None, Some(first.run_id)).await;
        assert!(matches!(wrong, Err(AgentError::NotFound { .. })), "{wrong:?}");
    });
}

/// So many agents are to be seen, and each knows what this one does.
async fn all_know_what(agents: &Agents, agent: &str, expected: std::ops::RangeInclusive<usize>) {
    let there = agents.list(&scope(), &AgentQuery::default()).await.unwrap();
    assert!(expected.contains(&there.len()), "{} agents", there.len());
    for one in there {
        assert_eq!(knows(agents, &one.id).await, knows(agents, agent).await);
    }
}

/// Forks an agent with more rows than one turn copies, and kills the node after a while. How long the
/// fork took that was not killed, or whether the kill came in the middle of it.
async fn fork_and_kill(world: &World, after: Option<Duration>) -> (Duration, bool) {
    let mut agents = world.start_on_a_disk().await;
    let agent = create(&agents, "a").await.id;
    send(&agents, &agent, "1", "say one").await;
    for number in 0..60 {
        let text = format!("{number} ").repeat(15_000);
        let new = NewPassage { text, supersedes: None, tags: Vec::new(), created_ms: None };
        agents.insert_passage(&scope(), &agent, None, new).await.unwrap();
    }
    let (again, began) = (key("fork"), world.sim.elapsed());
    let mut halfway = false;
    if let Some(after) = after {
        let here = scope();
        let forking = Box::pin(agents.fork(&here, &agent, Some(&again), None, None));
        halfway = world.node.env().timeout(after, forking).await.is_err();
        world.node.kill();
        world.node.restart();
        agents = world.start_on_a_disk().await;
        all_know_what(&agents, &agent, 1..=2).await;
    }
    let made = agents.fork(&scope(), &agent, Some(&again), None, None).await.unwrap();
    let took = world.sim.elapsed().saturating_sub(began);
    assert_ne!(made.id, agent);
    all_know_what(&agents, &agent, 2..=2).await;
    (took, halfway)
}

#[test]
fn a_fork_that_a_kill_cuts_short_is_not_seen_and_the_next_try_makes_it_whole() {
    let world = World::new(0);
    let (took, _) = world.sim.block_on(fork_and_kill(&world, None));
    let mut halfway = 0;
    for kill in 1..=24_u32 {
        let world = World::new(u64::from(kill));
        halfway += u32::from(world.sim.block_on(fork_and_kill(&world, Some(took * kill / 24))).1);
    }
    assert!(halfway >= 10, "{halfway} kills came in the middle of a fork of {took:?}");
}

#[test]
fn a_fork_leaves_out_a_run_that_goes_on_and_shares_what_is_shared() {
    let world = World { takes: Duration::from_secs(30), ..World::new(6) };
    world.sim.block_on(async {
        let agents = world.start().await;
        let agent = create(&agents, "a").await.id;
        send(&agents, &agent, "1", "say one").await;
        let human = agents.block(&scope(), &agent, "human").await.unwrap().id;
        let other = create(&agents, "b").await.id;
        agents.remove_block(&scope(), &other, "human", None).await.unwrap();
        agents.attach_block(&scope(), &other, None, &human).await.unwrap();
        let text = say("call note {}\nsay two");
        let run = agents.send_and_leave(&scope(), &agent, None, text, SendOptions::default()).await.unwrap();
        world.node.env().sleep(Duration::from_secs(3)).await;
        let refused = agents.fork(&scope(), &agent, None, None, Some(run.id)).await;
        assert!(
            matches!(&refused, Err(AgentError::Invalid { field, .. }) if field == "run_id"),
            "{refused:?}"
        );
        let made = agents.fork(&scope(), &agent, None, None, None).await.unwrap();
        assert_eq!(history(&agents, &made.id).await, ["user: say one", "agent: one"]);
        let append = "call core_memory_append {\"label\":\"human\",\"content\":\"seen by all\"}\nsay done";
        send(&agents, &made.id, "2", append).await;
        for agent in [&agent, &other] {
            assert!(agents.block(&scope(), agent, "human").await.unwrap().value.ends_with("seen by all"));
        }
    });
}

#[cfg(feature = "mutants")]
mod mutants {
    use super::*;

    #[test]
    fn a_machine_that_does_otherwise_shows_in_a_replay() {
        let world = World::new(7);
        world.sim.block_on(async {
            let agents = world.start().await;
            let agent = create(&agents, "a").await.id;
            changed(&agents, &agent, approvals(&["book"])).await;
            send(&agents, &agent, "1", "call book {}\nsay done").await;
            assert!(replays(&agents, &agent).await[0].same());
            let _armed = kelpie_core::mutant::arm("run_approval_not_asked_for");
            let replay = replays(&agents, &agent).await.remove(0);
            let step = &replay.steps[0];
            assert_eq!((step.recorded.as_str(), step.replayed.as_str()), ("waits for a decision", "goes on"));
        });
    }
}
