//! Blocks that several agents share: no edit is lost, whoever makes it; and edits taken back.

use std::time::Duration;

use futures::future::join_all;
use kelpie_agent::error::AgentError;
use kelpie_agent::query::SendOptions;
use kelpie_agent::record::CreateAgent;
use kelpie_agent::service::Agents;
use kelpie_core::run::StopReason;
use kelpie_memory::block::BlockChange;

use crate::world::{World, block, create, key, say, scope, send};

const EDITS: usize = 8;

async fn with_block(agents: &Agents, name: &str, id: &str) -> String {
    let create =
        CreateAgent { name: Some(name.into()), block_ids: vec![id.to_owned()], ..CreateAgent::default() };
    agents.create(&scope(), Some(&key(name)), create).await.unwrap().id
}

/// Three agents append to one block at the same time.
fn appends(seed: u64) {
    let world = World::new(seed);
    world.sim.block_on(async {
        let agents = world.start_on_a_disk().await;
        let new = block("team", "Team:");
        let made = agents.create_block(&scope(), Some(&key("team")), new, Default::default()).await;
        let shared = made.unwrap().block;
        let mut ids = Vec::new();
        for name in ["a", "b", "c"] {
            ids.push(with_block(&agents, name, &shared.id).await);
        }
        let said = ids.iter().enumerate().map(|(who, id)| {
            let agents = agents.clone();
            async move {
                for number in 0..EDITS {
                    let append =
                        format!("call core_memory_append {{\"label\":\"team\",\"content\":\"<{who}.{number}>\"}}\nsay ok");
                    let name = key(format!("{who}.{number}"));
                    let result = loop {
                        let sent = agents
                            .send(&scope(), id, Some(&name), say(&append), SendOptions::default())
                            .await;
                        match sent {
                            Ok(result) => break result,
                            Err(AgentError::NotRun { .. } | AgentError::Unknown { .. }) => {}
                            Err(error) => panic!("{who}.{number}: {error:?}"),
                        }
                    };
                    assert_eq!(result.stop_reason, StopReason::EndTurn);
                }
            }
        });
        join_all(said).await;
        let value = agents.block_by_id(&scope(), &shared.id).await.unwrap().block.value;
        for who in 0..ids.len() {
            for number in 0..EDITS {
                let times = value.matches(&format!("<{who}.{number}>")).count();
                assert_eq!(times, 1, "seed {seed}: an edit was lost or doubled: {value}");
            }
        }
        for id in &ids {
            assert_eq!(agents.block(&scope(), id, "team").await.unwrap().value, value);
        }
    });
    assert!(world.sim.take_panics().is_empty(), "seed {seed}");
}

#[test]
fn agents_that_share_a_block_lose_no_edit_of_one_another() {
    for seed in 0..5 {
        appends(seed);
    }
}

/// A block is changed by its agent and by a person, and the changes are taken back one by one.
fn taken_back() {
    let world = World::new(21);
    world.sim.block_on(async {
        let agents = world.start().await;
        let agent = create(&agents, "a").await.id;
        let says = async |agents: &Agents| agents.block(&scope(), &agent, "human").await.unwrap().value;
        send(
            &agents,
            &agent,
            "1",
            "call core_memory_append {\"label\":\"human\",\"content\":\"one\"}\nsay ok",
        )
        .await;
        let change = BlockChange { value: Some("two".into()), ..BlockChange::default() };
        agents.update_block(&scope(), &agent, "human", None, change).await.unwrap();
        let agents = world.restart().await;
        let past = agents.past_of_block(&scope(), &agent, "human").await.unwrap();
        let past: Vec<&str> = past.iter().map(|past| past.value.as_str()).collect();
        assert_eq!(past, ["Name: ?\none", "Name: ?"], "what stood before is kept");
        let undo = async |agents: &Agents, name: &str| {
            agents.undo_block(&scope(), &agent, "human", Some(&key(name))).await
        };
        assert_eq!(undo(&agents, "first").await.unwrap().value, "Name: ?\none");
        assert_eq!(
            undo(&agents, "first").await.unwrap().value,
            "Name: ?\none",
            "the same key, the same undo"
        );
        assert_eq!(says(&agents).await, "Name: ?\none");
        undo(&agents, "second").await.unwrap();
        assert_eq!(says(&agents).await, "Name: ?");
        let error = undo(&agents, "third").await.unwrap_err();
        assert!(
            matches!(&error, AgentError::Invalid { message, .. } if message.contains("no change")),
            "{error}"
        );
        for number in 0..20 {
            let change = BlockChange { value: Some(number.to_string()), ..BlockChange::default() };
            agents.update_block(&scope(), &agent, "human", None, change).await.unwrap();
        }
        let past = agents.past_of_block(&scope(), &agent, "human").await.unwrap();
        assert_eq!((past.len(), past[0].value.as_str(), past[15].value.as_str()), (16, "18", "3"));
    });
}

#[test]
fn changes_of_a_block_are_taken_back_one_by_one() {
    taken_back();
}

fn append(text: &str) -> String {
    format!("call core_memory_append {{\"label\":\"team\",\"content\":\"{text}\"}}\nsay ok")
}

/// A block of its own, and two agents that have it.
async fn team(agents: &Agents) -> (String, Vec<String>) {
    let new = block("team", "Team:");
    let made = agents.create_block(&scope(), Some(&key("team")), new, Default::default()).await;
    let id = made.unwrap().block.id;
    let ids = vec![with_block(agents, "a", &id).await, with_block(agents, "b", &id).await];
    (id, ids)
}

async fn past(agents: &Agents, id: &str) -> Vec<String> {
    let past = agents.past_of_block_by_id(&scope(), id).await.unwrap();
    past.into_iter().map(|past| past.value).collect()
}

/// Does what may be asked again until it is done.
async fn until_done<T>(mut call: impl AsyncFnMut() -> Result<T, AgentError>) -> T {
    loop {
        match call().await {
            Ok(done) => return done,
            Err(AgentError::NotRun { .. } | AgentError::Unknown { .. } | AgentError::Busy { .. }) => {}
            Err(error) => panic!("{error:?}"),
        }
    }
}

#[test]
fn changes_of_a_shared_block_are_taken_back_whoever_made_them() {
    let world = World::new(22);
    world.sim.block_on(async {
        let agents = world.start().await;
        let (id, ids) = team(&agents).await;
        send(&agents, &ids[0], "1", &append("of a")).await;
        send(&agents, &ids[1], "2", &append("of b")).await;
        let change = BlockChange { value: Some("of people".into()), ..BlockChange::default() };
        agents.change_block(&scope(), &id, None, change, Default::default()).await.unwrap();
        let agents = world.restart().await;
        let expected = ["Team:\nof a\nof b", "Team:\nof a", "Team:"];
        assert_eq!(past(&agents, &id).await, expected);
        let of_agent = agents.past_of_block(&scope(), &ids[0], "team").await.unwrap();
        assert_eq!(of_agent.iter().map(|past| past.value.as_str()).collect::<Vec<_>>(), expected);
        for _ in 0..2 {
            let undone = agents.undo_block_by_id(&scope(), &id, Some(&key("u1"))).await.unwrap();
            assert_eq!(undone.block.value, "Team:\nof a\nof b", "the same key, the same undo");
        }
        let undone = agents.undo_block(&scope(), &ids[0], "team", None).await.unwrap();
        assert_eq!((undone.value.as_str(), undone.id == id), ("Team:\nof a", true), "also by the label");
        assert_eq!(agents.block(&scope(), &ids[1], "team").await.unwrap().value, "Team:\nof a");
        agents.undo_block_by_id(&scope(), &id, None).await.unwrap();
        let error = agents.undo_block_by_id(&scope(), &id, None).await.unwrap_err();
        assert!(
            matches!(&error, AgentError::Invalid { message, .. } if message.contains("no change")),
            "{error}"
        );
        for number in 0..20 {
            let change = BlockChange { value: Some(number.to_string()), ..BlockChange::default() };
            agents.change_block(&scope(), &id, None, change, Default::default()).await.unwrap();
        }
        let past_values = past(&agents, &id).await;
        assert_eq!((past_values.len(), &*past_values[0], &*past_values[15]), (16, "18", "3"));
        agents.delete_block(&scope(), &id, None).await.unwrap();
        assert!(matches!(agents.past_of_block_by_id(&scope(), &id).await, Err(AgentError::NotFound { .. })));
    });
}

#[test]
fn a_block_that_is_shared_later_keeps_what_it_said_before() {
    let world = World::new(23);
    world.sim.block_on(async {
        let agents = world.start().await;
        let agent = create(&agents, "a").await.id;
        let id = agents.block(&scope(), &agent, "human").await.unwrap().id;
        for value in ["one", &"x".repeat(70_000), "two", "three"] {
            let change =
                BlockChange { value: Some(value.into()), limit: Some(100_000), ..BlockChange::default() };
            agents.update_block(&scope(), &agent, "human", None, change).await.unwrap();
        }
        assert_eq!(past(&agents, &id).await.len(), 4, "by its id, too");
        let undone = agents.undo_block_by_id(&scope(), &id, None).await.unwrap();
        assert_eq!(undone.block.value, "two");
        let other = create(&agents, "b").await.id;
        agents.remove_block(&scope(), &other, "human", None).await.unwrap();
        agents.attach_block(&scope(), &other, None, &id).await.unwrap();
        assert_eq!(past(&agents, &id).await, [""; 0], "too long for a shared block, and what is older");
        let change = BlockChange { value: Some("four".into()), ..BlockChange::default() };
        agents.update_block(&scope(), &other, "human", None, change).await.unwrap();
        assert_eq!(agents.undo_block(&scope(), &agent, "human", None).await.unwrap().value, "two");
        let persona = agents.block(&scope(), &agent, "persona").await.unwrap().id;
        let change = BlockChange { value: Some("new".into()), ..BlockChange::default() };
        agents.update_block(&scope(), &agent, "persona", None, change).await.unwrap();
        agents.detach_block(&scope(), &agent, None, &persona).await.unwrap();
        assert_eq!(past(&agents, &persona).await, ["I am a test."]);
        assert_eq!(
            agents.undo_block_by_id(&scope(), &persona, None).await.unwrap().block.value,
            "I am a test."
        );
    });
}

/// Agents append to one block while people take changes back, and nodes die: the changes are a
/// stack, whatever met whatever.
fn stack(seed: u64, kills: bool) {
    const UNDOS: usize = 3;
    let world = World::new(seed);
    world.sim.block_on(async {
        let chance = world.sim.node("chance").env();
        // A commit that takes its time is what others can come between.
        let mut agents = if kills { world.start().await } else { world.start_on_a_disk().await };
        let (id, ids) = team(&agents).await;
        let appended = async |agents: &Agents, who: usize, number: usize| {
            let name = key(format!("{who}.{number}"));
            let text = append(&format!("<{who}.{number}>"));
            until_done(async || {
                agents.send(&scope(), &ids[who], Some(&name), say(&text), SendOptions::default()).await
            })
            .await;
        };
        let undone = async |agents: &Agents, number: usize| {
            let name = key(format!("undo {number}"));
            until_done(async || agents.undo_block_by_id(&scope(), &id, Some(&name)).await).await;
        };
        // So that there is something to take back.
        for number in 0..UNDOS {
            appended(&agents, 0, number).await;
        }
        let done = async |agents: &Agents| {
            let appends = async |who: usize| {
                for number in UNDOS..EDITS {
                    appended(agents, who, number).await;
                }
            };
            let undos = async {
                for number in 0..UNDOS {
                    undone(agents, number).await;
                }
            };
            futures::join!(appends(0), appends(1), undos);
        };
        for _ in 0..if kills { 6 } else { 0 } {
            let life = Duration::from_millis(chance.random_u64() % 700);
            let ended = chance.timeout(life, Box::pin(done(&agents))).await.is_ok();
            agents = world.restart().await;
            if ended {
                break;
            }
        }
        Box::pin(done(&agents)).await;
        let value = agents.block_by_id(&scope(), &id).await.unwrap().block.value;
        let left = 2 * EDITS - UNDOS - UNDOS;
        let mut all = past(&agents, &id).await;
        all.reverse();
        all.push(value.clone());
        assert_eq!(all.len(), left + 1, "seed {seed}: each change is one that can be taken back: {all:#?}");
        for (number, value) in all.iter().enumerate() {
            assert_eq!(value.lines().count(), number + 1, "seed {seed}: one change, one line: {all:#?}");
            let before = all.get(number.wrapping_sub(1)).map_or("", String::as_str);
            assert!(value.starts_with(before), "seed {seed}: an edit was lost: {all:#?}");
        }
        let each: std::collections::BTreeSet<&str> = value.lines().collect();
        assert_eq!(each.len(), left + 1, "seed {seed}: none is doubled: {value}");
    });
    assert!(world.sim.take_panics().is_empty(), "seed {seed}");
}

#[test]
fn edits_and_undos_of_a_shared_block_at_once_lose_and_double_nothing() {
    for seed in 0..6 {
        stack(seed, false);
    }
}

#[test]
fn kills_at_any_moment_leave_a_shared_block_s_changes_whole() {
    for seed in 0..12 {
        stack(seed, true);
    }
}

#[cfg(feature = "mutants")]
#[test]
fn a_change_of_a_shared_block_that_is_not_counted_is_caught() {
    let words = crate::crash::mutants::caught("shared_change_not_counted", || stack(0, false));
    assert!(words.contains("no change to take back"), "{words}");
}

#[cfg(feature = "mutants")]
#[test]
fn a_shared_block_that_a_commit_does_not_compare_is_caught() {
    let caught = crate::crash::mutants::caught;
    let words = caught("shared_block_not_compared", || stack(0, false));
    assert!(words.contains("each change is one"), "{words}");
    let words = caught("shared_block_not_compared", || appends(0));
    assert!(words.contains("an edit was lost or doubled"), "{words}");
}
