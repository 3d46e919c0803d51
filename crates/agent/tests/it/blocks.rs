//! Blocks that several agents share: no edit is lost, whoever makes it.

use futures::future::join_all;
use kelpie_agent::error::AgentError;
use kelpie_agent::query::SendOptions;
use kelpie_agent::record::CreateAgent;
use kelpie_agent::service::Agents;
use kelpie_core::run::StopReason;

use crate::world::{World, block, key, say, scope};

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
