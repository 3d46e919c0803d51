//! Blocks that several agents share: no edit is lost, whoever makes it; and edits taken back.

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
        let agents = world.start().await;
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
