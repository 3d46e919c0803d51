//! Agents and blocks: create, change, delete, with keys and errors.

use kelpie_agent::error::{AgentError, Thing};
use kelpie_agent::query::SendOptions;
use kelpie_agent::record::{CreateAgent, UpdateAgent};
use kelpie_memory::block::BlockChange;

use crate::world::{World, block, create, key, say, scope};

#[test]
fn a_creation_with_a_key_happens_once_and_also_after_the_agent_is_gone_says_what_it_said() {
    let world = World::new(1);
    world.sim.block_on(async {
        let agents = world.start().await;
        let first = create(&agents, "a").await;
        assert_eq!(create(&agents, "a").await, first);
        assert_eq!(agents.get(&scope(), &first.id).await.unwrap(), first);
        let other = CreateAgent { name: Some("b".into()), ..CreateAgent::default() };
        let reused = agents.create(&scope(), Some(&key("create a")), other).await;
        assert_eq!(reused, Err(AgentError::KeyReused));
        for _ in 0..2 {
            agents.delete(&scope(), &first.id, Some(&key("delete"))).await.unwrap();
        }
        let gone = AgentError::NotFound { thing: Thing::Agent, id: first.id.clone() };
        assert_eq!(agents.get(&scope(), &first.id).await, Err(gone.clone()));
        assert_eq!(agents.delete(&scope(), &first.id, None).await, Err(gone.clone()));
        let sent = agents.send(&scope(), &first.id, None, say("x"), SendOptions::default()).await;
        assert_eq!(sent, Err(gone));
        assert_eq!(create(&agents, "a").await, first);
    });
}

#[test]
fn fields_that_cannot_be_used_are_named() {
    let world = World::new(2);
    world.sim.block_on(async {
        let agents = world.start().await;
        let field = |create: CreateAgent| {
            let agents = agents.clone();
            async move {
                match agents.create(&scope(), None, create).await {
                    Err(AgentError::Invalid { field, .. }) => field,
                    other => panic!("{other:?}"),
                }
            }
        };
        let new = CreateAgent::default;
        assert_eq!(field(CreateAgent { model: Some("nobody/x".into()), ..new() }).await, "model");
        assert_eq!(field(CreateAgent { tools: vec!["nothing".into()], ..new() }).await, "tools");
        assert_eq!(field(CreateAgent { name: Some("a\u{0}b".into()), ..new() }).await, "name");
        assert_eq!(field(CreateAgent { max_steps: Some(0), ..new() }).await, "max_steps");
        assert_eq!(field(CreateAgent { tags: vec!["".into()], ..new() }).await, "tags");
        assert_eq!(
            field(CreateAgent { blocks: vec![block("a", ""), block("a", "")], ..new() }).await,
            "label"
        );
        let long = block("a", &"x".repeat(20_001));
        assert_eq!(field(CreateAgent { blocks: vec![long], ..new() }).await, "value");
    });
}

#[test]
fn an_update_changes_what_it_names_and_leaves_the_rest() {
    let world = World::new(3);
    world.sim.block_on(async {
        let agents = world.start().await;
        let before = create(&agents, "a").await;
        let change =
            UpdateAgent { name: Some("b".into()), tags: Some(vec!["t".into()]), ..UpdateAgent::default() };
        let after = agents.update(&scope(), &before.id, None, change).await.unwrap();
        assert_eq!((after.name.as_str(), after.tags.clone()), ("b", vec!["t".to_owned()]));
        assert_eq!(
            (&after.system, &after.blocks, &after.tools),
            (&before.system, &before.blocks, &before.tools)
        );
        assert_eq!(agents.get(&scope(), &before.id).await.unwrap(), after);
        let unknown = agents.update(&scope(), "agent-nobody", None, UpdateAgent::default()).await;
        assert!(matches!(unknown, Err(AgentError::NotFound { .. })), "{unknown:?}");
    });
}

#[test]
fn blocks_are_read_added_changed_and_removed() {
    let world = World::new(4);
    world.sim.block_on(async {
        let agents = world.start().await;
        let agent = create(&agents, "a").await.id;
        let labels = async || {
            let blocks = agents.blocks(&scope(), &agent).await.unwrap();
            blocks.into_iter().map(|block| block.label).collect::<Vec<_>>().join(" ")
        };
        agents.add_block(&scope(), &agent, None, block("mood", "calm")).await.unwrap();
        assert_eq!(labels().await, "persona human mood");
        let change = BlockChange { value: Some("merry".into()), ..BlockChange::default() };
        let changed = agents.update_block(&scope(), &agent, "mood", None, change.clone()).await.unwrap();
        assert_eq!(agents.block(&scope(), &agent, "mood").await.unwrap(), changed);
        assert_eq!(changed.value, "merry");
        agents.remove_block(&scope(), &agent, "persona", None).await.unwrap();
        assert_eq!(labels().await, "human mood");
        let gone = agents.update_block(&scope(), &agent, "persona", None, change).await;
        assert!(matches!(gone, Err(AgentError::NotFound { thing: Thing::Block, .. })), "{gone:?}");
    });
}
