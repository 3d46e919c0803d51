//! Archival memory is found by words and by meaning, by the agent's own tool and by people alike.

use std::sync::Arc;
use std::time::Duration;

use kelpie_agent::archive::{NewArchive, NewPassage};
use kelpie_agent::error::AgentError;
use kelpie_agent::service::Agents;
use kelpie_memory::archival::{Passage, PassageQuery};
use kelpie_memory::embedding::Embeddings;
use kelpie_memory::layout;
use kelpie_memory::scan::PassageScan;
use kelpie_runtime::RecordRange;

use crate::tiny;
use crate::world::{World, create, history, scope, send};

const DRINKS: &[&str] = &["tea", "coffee", "drink"];
const ANIMALS: &[&str] = &["cat", "dog", "animal"];

fn model(rows: &[&[&str]]) -> Option<Arc<Embeddings>> {
    let (tokenizer, table) = tiny::files(rows);
    Some(Arc::new(Embeddings::read(&tokenizer, &table).unwrap()))
}

fn passage(text: &str) -> NewPassage {
    NewPassage { text: text.to_owned(), tags: vec![], created_ms: None, supersedes: None }
}

fn text(text: &str) -> PassageQuery {
    PassageQuery { text: text.to_owned(), limit: 50, ..PassageQuery::default() }
}

async fn keep(agents: &Agents, agent: &str, new: NewPassage) -> Passage {
    agents.insert_passage(&scope(), agent, None, new).await.unwrap()
}

async fn found(agents: &Agents, agent: &str, query: PassageQuery) -> Vec<String> {
    let hits = agents.find_passages(&scope(), agent, &query).await.unwrap();
    hits.into_iter().map(|hit| hit.passage.text).collect()
}

/// The texts that the agent's own tool finds.
async fn found_by_tool(agents: &Agents, agent: &str, number: usize, arguments: &str) -> Vec<String> {
    let call = format!("call archival_memory_search {arguments}\nsay seen");
    send(agents, agent, &format!("search {number}"), &call).await;
    let lines = history(agents, agent).await;
    let last = lines.iter().rev().find_map(|line| line.strip_prefix("archival_memory_search Success: "));
    let text = |line: &str| line.split_once(") ").map_or(line, |(_, text)| text).to_owned();
    last.unwrap().lines().map(text).collect()
}

/// The rows for searches of an agent or an archive: first positions.
async fn rows(agents: &Agents, id: &str) -> Vec<u64> {
    let actor = kelpie_core::id::ActorId::new(&scope().tenant, "agent", id).unwrap();
    let rows = agents.runtime().view(&actor).range(RecordRange::prefix(layout::SEGMENTS)).await.unwrap();
    rows.iter().map(|(key, _)| layout::position(layout::SEGMENTS, key).unwrap()).collect()
}

/// The positions that the rows for searches alone give for a question.
async fn in_rows(agents: &Agents, id: &str, query: &PassageQuery, end: u64) -> Vec<u64> {
    let actor = kelpie_core::id::ActorId::new(&scope().tenant, "agent", id).unwrap();
    let range = RecordRange::prefix(layout::SEGMENTS).reversed();
    let mut scan = PassageScan::new(query, None, end);
    for (key, row) in agents.runtime().view(&actor).range(range).await.unwrap() {
        scan.add(layout::position(layout::SEGMENTS, &key).unwrap(), &row).unwrap();
    }
    scan.finish(true).candidates.iter().map(|candidate| candidate.position).collect()
}

#[test]
fn the_tool_and_people_find_the_same_in_the_same_order() {
    let world = World { embeddings: model(&[DRINKS, ANIMALS]), ..World::new(21) };
    world.sim.block_on(async {
        let agents = world.start().await;
        let agent = create(&agents, "a").await.id;
        for text in ["a dog sleeps", "kai likes coffee", "the word drink", "nothing of it"] {
            keep(&agents, &agent, passage(text)).await;
        }
        let new = NewArchive { name: "shared".into(), ..NewArchive::default() };
        let archive = agents.create_archive(&scope(), None, new).await.unwrap().id;
        world.node.env().sleep(Duration::from_secs(1)).await;
        let shared = vec![passage("tea of the house"), passage("another animal")];
        agents.insert_in_archive(&scope(), &archive, None, shared).await.unwrap();
        agents.attach_archive(&scope(), &agent, None, &archive).await.unwrap();
        // Both ways find the drink, by meaning alone come tea and coffee.
        let expected = ["the word drink", "tea of the house", "kai likes coffee"];
        let mut people = found(&agents, &agent, text("drink")).await;
        assert_eq!(people, found_by_tool(&agents, &agent, 1, r#"{"query":"drink"}"#).await);
        assert_eq!(people[0], expected[0]);
        people.sort();
        assert_eq!(people, ["kai likes coffee", "tea of the house", "the word drink"]);
        assert_eq!(
            found_by_tool(&agents, &agent, 2, r#"{"query":"dog","top_k":1}"#).await,
            found(&agents, &agent, PassageQuery { limit: 1, ..text("dog") }).await,
        );
        // Of the archive alone.
        let hits = agents.find_in_archive(&scope(), &archive, &text("cat")).await.unwrap();
        assert_eq!(hits.iter().map(|hit| hit.passage.text.as_str()).collect::<Vec<_>>(), ["another animal"]);
        assert!(hits[0].words.is_none() && hits[0].meaning > Some(0.9), "{hits:?}");
        let newest = found_by_tool(&agents, &agent, 3, r#"{"query":"","top_k":2}"#).await;
        assert_eq!(newest, ["another animal", "tea of the house"], "the newest ones of all");
    });
}

#[test]
fn the_tool_takes_tags_and_times() {
    let world = World::new(22);
    world.sim.block_on(async {
        let agents = world.start().await;
        let agent = create(&agents, "a").await.id;
        for (text, tag, created_ms) in [("old tea", "drink", 86_400_000), ("new tea", "kai", 900_000_000_000)]
        {
            let tags = vec!["fact".to_owned(), tag.to_owned()];
            keep(&agents, &agent, NewPassage { tags, created_ms: Some(created_ms), ..passage(text) }).await;
        }
        let mut number = 0;
        for (arguments, expected) in [
            (r#""tags":["drink","kai"]"#, vec!["new tea", "old tea"]),
            (r#""tags":["drink","fact"],"tag_match_mode":"all""#, vec!["old tea"]),
            (r#""tags":["drink","kai"],"tag_match_mode":"all""#, vec!["No results found."]),
            (r#""end_datetime":"1980-01-01""#, vec!["old tea"]),
            (r#""start_datetime":"1980-01-01T00:00:00Z""#, vec!["new tea"]),
        ] {
            number += 1;
            let arguments = format!(r#"{{"query":"tea",{arguments}}}"#);
            assert_eq!(found_by_tool(&agents, &agent, number, &arguments).await, expected, "{arguments}");
        }
        send(
            &agents,
            &agent,
            "bad",
            "call archival_memory_search {\"query\":\"tea\",\"end_datetime\":\"soon\"}",
        )
        .await;
        let lines = history(&agents, &agent).await;
        assert!(lines.iter().any(|line| line.contains("`soon` is no time: write 2026-11-23")), "{lines:#?}");
    });
}

fn model_change() {
    let mut world = World { embeddings: model(&[ANIMALS, DRINKS]), ..World::new(23) };
    let (agent, archive) = world.sim.block_on(async {
        let agents = world.start().await;
        let agent = create(&agents, "a").await.id;
        let new = NewArchive { name: "shared".into(), ..NewArchive::default() };
        let archive = agents.create_archive(&scope(), None, new).await.unwrap().id;
        agents.attach_archive(&scope(), &agent, None, &archive).await.unwrap();
        // More than a window, so that several turns have to make them again.
        for number in 0..3 {
            let texts =
                (0..50).map(|text| passage(&format!("{} {number} {text}", ["dog", "coffee"][text % 2])));
            agents.insert_in_archive(&scope(), &archive, None, texts.collect()).await.unwrap();
        }
        keep(&agents, &agent, passage("my own dog")).await;
        (agent, archive)
    });
    // In the next life the model is another one: the first number means something else now.
    world.embeddings = model(&[DRINKS, ANIMALS]);
    world.sim.block_on(async {
        let agents = world.restart().await;
        let wrong = found(&agents, &agent, text("tea")).await;
        let wrong: Vec<&String> = wrong.iter().filter(|text| text.contains("dog")).collect();
        assert!(wrong.is_empty(), "vectors of two models were compared: {wrong:?}");
        world.node.env().sleep(Duration::from_secs(5)).await;
        for id in [&agent, &archive] {
            let hits = agents.find_passages(&scope(), &agent, &text("tea")).await.unwrap();
            assert!(!hits.is_empty(), "the vectors of {id} were not made again");
        }
        let hits = found(&agents, &agent, text("tea")).await;
        assert!(hits.len() == 50 && hits.iter().all(|text| text.contains("coffee")), "{hits:?}");
        assert!(found(&agents, &agent, text("cat")).await.contains(&"my own dog".to_owned()));
    });
}

#[test]
fn vectors_are_made_again_when_the_model_changes_and_never_compared_before() {
    model_change();
}

#[cfg(feature = "mutants")]
#[test]
fn sim_a_comparison_across_models_is_caught() {
    let words = crate::crash::mutants::caught("vectors_of_another_model", model_change);
    assert!(words.contains("vectors of two models were compared"), "{words}");
}

#[test]
fn rows_for_searches_are_packed_and_forget_what_is_deleted() {
    let world = World { embeddings: model(&[DRINKS, ANIMALS]), ..World::new(24) };
    world.sim.block_on(async {
        let agents = world.start().await;
        let new = NewArchive { name: "much".into(), ..NewArchive::default() };
        let archive = agents.create_archive(&scope(), None, new).await.unwrap().id;
        let mut kept = Vec::new();
        for number in 0..3 {
            let texts = (0..100).map(|text| passage(&format!("cat {}", number * 100 + text)));
            kept.extend(agents.insert_in_archive(&scope(), &archive, None, texts.collect()).await.unwrap());
        }
        let expected: Vec<u64> = [0, 128].into_iter().chain(256..300).collect();
        assert_eq!(rows(&agents, &archive).await, expected);
        // In a packed row, at its edge, and alone in its row.
        for position in [5_usize, 127, 128, 299] {
            agents.delete_in_archive(&scope(), &archive, None, &kept[position].id).await.unwrap();
            let query = text(&format!("{position}"));
            let hits = agents.find_in_archive(&scope(), &archive, &query).await.unwrap();
            assert!(hits.is_empty(), "{position} is found although it was deleted: {hits:?}");
            let left = in_rows(&agents, &archive, &query, 300).await;
            assert!(left.is_empty(), "a row for searches still has what was deleted: {left:?}");
        }
        for position in [4_usize, 126, 129, 298] {
            let query = text(&format!("{position}"));
            let hits = agents.find_in_archive(&scope(), &archive, &query).await.unwrap();
            assert_eq!(hits[0].passage, kept[position]);
        }
        let rows = rows(&agents, &archive).await;
        assert_eq!(rows, expected, "a deleted one keeps its place");
    });
}

#[test]
fn a_fact_is_superseded_and_its_history_stays() {
    let world = World { embeddings: model(&[DRINKS, ANIMALS]), ..World::new(25) };
    world.sim.block_on(async {
        let agents = world.start().await;
        let agent = create(&agents, "a").await.id;
        let berlin = keep(&agents, &agent, passage("Kai lives in Berlin")).await;
        let moved = format!(
            "call archival_memory_insert {{\"content\":\"Kai lives in Rome\",\"supersedes\":\"{}\"}}\nsay kept",
            berlin.id
        );
        send(&agents, &agent, "moved", &moved).await;
        assert_eq!(found(&agents, &agent, text("where does Kai live")).await, ["Kai lives in Rome"]);
        assert_eq!(found(&agents, &agent, text("")).await, ["Kai lives in Rome"]);
        // Before any passage is read: else old ones could crowd out the one that holds.
        assert_eq!(in_rows(&agents, &agent, &text("Kai lives"), 2).await, [1]);
        let history = PassageQuery { history: true, ..text("Kai lives") };
        let all = agents.find_passages(&scope(), &agent, &history).await.unwrap();
        let rome = all.iter().find(|hit| hit.passage.text.ends_with("Rome")).unwrap().passage.clone();
        let old = all.iter().find(|hit| hit.passage.id == berlin.id).unwrap().passage.clone();
        assert_eq!((old.superseded_by, old.superseded_ms), (Some(rome.id.clone()), Some(rome.created_ms)));
        let told = found_by_tool(&agents, &agent, 1, r#"{"query":"Kai","history":true}"#).await;
        assert_eq!(told.len(), 2, "{told:?}");

        // Of a fact there is one history, and of one's own alone.
        let supersede = |id: &str, created_ms| {
            let new = NewPassage { supersedes: Some(id.to_owned()), created_ms, ..passage("Kai lives in Oslo") };
            let (agents, agent) = (agents.clone(), agent.clone());
            async move { agents.insert_passage(&scope(), &agent, None, new).await }
        };
        let refused = |answer: Result<Passage, AgentError>| match answer {
            Err(AgentError::Invalid { field, message }) => (field, message),
            other => panic!("not refused: {other:?}"),
        };
        let (field, message) = refused(supersede(&berlin.id, None).await);
        assert_eq!(field, "supersedes");
        assert!(message.contains(&format!("was superseded by {} already", rome.id)), "{message}");
        let (_, message) = refused(supersede(&rome.id, Some(1)).await);
        assert!(message.contains("of a later time"), "{message}");
        let (_, message) = refused(supersede("passage-of-nobody", None).await);
        assert!(message.contains("no passage passage-of-nobody here"), "{message}");
        assert_eq!(found(&agents, &agent, text("Kai")).await, ["Kai lives in Rome"], "refused is not done");
        supersede(&rome.id, None).await.unwrap();
        assert_eq!(found(&agents, &agent, text("Kai")).await, ["Kai lives in Oslo"]);
    });
}

#[test]
fn passages_that_an_older_kelpie_kept_are_found_again() {
    let world = World::new(26);
    world.sim.block_on(async {
        let agents = world.start().await;
        let agent = create(&agents, "a").await.id;
        for number in 0..3 {
            keep(&agents, &agent, passage(&format!("tea {number}"))).await;
        }
        // That one had no rows for searches.
        let actor = kelpie_core::id::ActorId::new(&scope().tenant, "agent", &agent).unwrap();
        let store = agents.runtime().store();
        let mut tx = store.begin();
        for position in 0..3 {
            tx.clear(kelpie_core::row::state(&actor, &layout::segment(position)));
        }
        tx.commit().await.unwrap();
        assert_eq!(found(&agents, &agent, text("tea")).await, [""; 0]);
        world.node.env().sleep(Duration::from_secs(1)).await;
        assert_eq!(found(&agents, &agent, text("tea")).await.len(), 3);
        assert_eq!(rows(&agents, &agent).await, [0]);
        keep(&agents, &agent, passage("tea 3")).await;
        assert_eq!(found(&agents, &agent, text("tea")).await.len(), 4);
        assert_eq!(rows(&agents, &agent).await, [0, 3]);
    });
}
