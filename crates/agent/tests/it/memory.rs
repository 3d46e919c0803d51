//! Memory belongs to its agent, and what is added to it stays.

use std::fmt::Write;

use kelpie_agent::query::{Scope, SendOptions};
use kelpie_agent::record::{AgentType, CreateAgent};
use kelpie_agent::service::Agents;
use kelpie_core::run::StopReason;
use kelpie_memory::block::NewBlock;
use proptest::prelude::*;

use crate::world::{World, block, create, key, lines, say, scope, send};

fn append(fact: &str) -> String {
    format!("core_memory_append {{\"label\":\"human\",\"content\":\"{fact}\"}}")
}

fn replace(old: &str, new: &str) -> String {
    format!("core_memory_replace {{\"label\":\"human\",\"old_content\":\"{old}\",\"new_content\":\"{new}\"}}")
}

fn keep(passage: &str) -> String {
    format!("archival_memory_insert {{\"content\":\"passage {passage}\"}}")
}

/// Clients that talk to one agent at once. Each message makes so many edits in one answer:
/// it adds facts, changes its first one, and puts passages aside.
fn edit_at_once(seed: u64, clients: &[Vec<usize>]) {
    let world = World::new(seed);
    world.sim.block_on(async {
        let agents = world.start().await;
        let agent = create(&agents, "a").await.id;
        let sends = clients.iter().enumerate().map(|(client, messages)| {
            let (agents, agent, env) = (agents.clone(), agent.clone(), world.node.env());
            async move {
                for (number, edits) in messages.iter().enumerate() {
                    env.sleep(std::time::Duration::from_millis(env.random_u64() % 300)).await;
                    let name = format!("<{client}.{number}");
                    let facts = (0..*edits).map(|fact| append(&format!("{name}.{fact}>")));
                    let passages = (0..*edits).map(|fact| keep(&format!("{name}.{fact}>")));
                    let change = replace(&format!("{name}.0>"), &format!("{name}.new>"));
                    let calls: Vec<String> = facts.chain([change]).chain(passages).collect();
                    send(&agents, &agent, &name, &format!("call {}\nsay kept", calls.join(" and "))).await;
                }
            }
        });
        futures::future::join_all(sends).await;
        let human = agents.block(&scope(), &agent, "human").await.unwrap().value;
        let found = search(&agents, &scope(), &agent, "archival_memory_search", "passage").await;
        let mut told = String::new();
        for (client, messages) in clients.iter().enumerate() {
            for (number, edits) in messages.iter().enumerate() {
                for fact in 0..*edits {
                    let name = format!("<{client}.{number}.{fact}>");
                    let stands = if fact == 0 { format!("<{client}.{number}.new>") } else { name.clone() };
                    for (place, text, fact) in [("the block", &human, stands), ("the archive", &found, name)]
                    {
                        let times = text.matches(&fact).count();
                        if times != 1 {
                            writeln!(told, "{fact} is {times} times in {place}").unwrap();
                        }
                    }
                }
            }
        }
        assert!(told.is_empty(), "seed {seed}: lost or doubled edits:\n{told}{human}");
    });
}

/// What a search tool gives this agent.
async fn search(agents: &Agents, scope: &Scope, agent: &str, tool: &str, query: &str) -> String {
    let text = format!("call {tool} {{\"query\":\"{query}\",\"limit\":50,\"top_k\":50}}\nsay seen");
    let result = agents.send(scope, agent, None, say(&text), SendOptions::default()).await.unwrap();
    let lines = lines(&result.messages);
    lines.into_iter().find(|line| line.starts_with(&format!("{tool} Success"))).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn memory_tools_called_at_once_lose_no_edit(
        seed: u64,
        clients in prop::collection::vec(prop::collection::vec(1..4_usize, 1..3), 1..4),
    ) {
        edit_at_once(seed, &clients);
    }
}

/// The newer tools, each after the other in one answer, and what the model reads when it is wrong.
fn newer_tools() {
    let world = World::new(13);
    world.sim.block_on(async {
        let agents = world.start().await;
        for (agent_type, talks_by_tool) in [(AgentType::MemgptV2, true), (AgentType::LettaV1, false)] {
            let create = CreateAgent {
                name: Some("newer".into()),
                agent_type,
                blocks: vec![block("human", "Name: ?"), NewBlock { read_only: true, ..block("law", "Be kind.") }],
                ..CreateAgent::default()
            };
            let agent = agents.create(&scope(), None, create).await.unwrap();
            let has = |name: &str| agent.tools.iter().any(|tool| tool == name);
            assert!(!has("core_memory_append") && has("send_message") == talks_by_tool, "{:?}", agent.tools);
            let told = async |line: &str| {
                let text = format!("call {line}\n{} ok", if talks_by_tool { "say" } else { "text" });
                let run = agents.send(&scope(), &agent.id, None, say(&text), SendOptions::default()).await.unwrap();
                assert_eq!(run.stop_reason, StopReason::EndTurn);
                let lines: Vec<String> = lines(&run.messages).into_iter().filter(|line| !line.starts_with("calls")).collect();
                lines[..lines.len() - 1].join("|")
            };
            let reads = async || agents.block(&scope(), &agent.id, "human").await.unwrap().value;
            let insert = |line: &str| format!("memory_insert {{\"label\":\"human\",\"new_string\":\"tea\"{line}}}");
            let replace = |old: &str| format!("memory_replace {{\"label\":\"human\",\"old_string\":\"{old}\",\"new_string\":\"Kai\"}}");
            let all = [insert(""), insert(",\"insert_line\":0"), replace("?"), replace("tea"), insert(",\"insert_line\":9")];
            let got = told(&all.join(" and ")).await;
            let expected = [
                "memory_insert Success: Inserted into block 'human'.",
                "memory_insert Success: Inserted into block 'human'.",
                "memory_replace Success: Replaced in block 'human'.",
                "memory_replace Error: No replacement was performed. Multiple occurrences of old_string `tea` in lines \
                 [1, 3]. Please ensure it is unique.",
                "memory_insert Error: Invalid `insert_line` parameter: 9. It should be within the range of lines of the \
                 memory block: [0, 3], or -1 to append to the end of the memory block.",
            ];
            assert_eq!(got, expected.join("|"));
            assert_eq!(reads().await, "tea\nName: Kai\ntea", "each sees what the one before has made");
            let rethink = |label: &str| format!("memory_rethink {{\"label\":\"{label}\",\"new_memory\":\"Kai, tea\"}}");
            let got = told(&["human", "law", "none"].map(rethink).join(" and ")).await;
            let expected = [
                "memory_rethink Success: Block 'human' is written anew.",
                "memory_rethink Error: This block is read-only and cannot be edited.",
                "memory_rethink Error: Block field none does not exist (available sections = human, law)",
            ];
            assert_eq!(got, expected.join("|"));
            assert_eq!(reads().await, "Kai, tea");
            let undone = agents.undo_block(&scope(), &agent.id, "human", None).await.unwrap();
            assert_eq!(undone.value, "tea\nName: Kai\ntea");
        }
    });
}

#[test]
fn the_newer_tools_edit_in_their_order_and_tell_what_is_wrong() {
    newer_tools();
}

/// Agents of two tenants, each with a secret; what each of them finds.
fn search_among_agents() {
    let world = World::new(12);
    world.sim.block_on(async {
        let agents = world.start().await;
        let other = Scope { tenant: "other".into(), ..scope() };
        let mut all = Vec::new();
        for (name, scope) in [("ada", scope()), ("bob", scope()), ("cyd", other)] {
            let create = CreateAgent { name: Some(name.into()), ..Default::default() };
            let agent = agents.create(&scope, Some(&key(name)), create).await.unwrap().id;
            let text =
                format!("call {}\nsay the word is {name}-said", keep(&format!("the word is {name}-kept")));
            agents.send(&scope, &agent, None, say(&text), SendOptions::default()).await.unwrap();
            all.push((name, scope, agent));
        }
        for (name, scope, agent) in &all {
            for (tool, own) in [("archival_memory_search", "kept"), ("conversation_search", "said")] {
                let found = search(&agents, scope, agent, tool, "word").await;
                for (other, ..) in all.iter().filter(|(other, ..)| other != name) {
                    assert!(!found.contains(other), "{name}'s {tool} finds what is {other}'s: {found}");
                }
                assert!(found.contains(&format!("{name}-{own}")), "{name} does not find its own: {found}");
            }
        }
    });
}

#[test]
fn sim_a_search_finds_its_agents_own_alone() {
    search_among_agents();
}

#[cfg(feature = "mutants")]
mod mutants {
    use super::*;
    use crate::crash::mutants::caught;

    #[test]
    fn sim_a_search_among_all_agents_is_caught() {
        let words = caught("range_of_every_actor", search_among_agents);
        assert!(words.contains("finds what is"), "{words}");
    }

    #[test]
    fn an_edit_that_the_next_one_does_not_see_is_caught() {
        let words = caught("block_edit_not_seen_by_the_next", || edit_at_once(1, &[vec![3]]));
        assert!(words.contains("lost or doubled edits"), "{words}");
        let words = caught("block_edit_not_seen_by_the_next", newer_tools);
        assert!(words.contains("memory_replace Error"), "{words}");
    }
}
