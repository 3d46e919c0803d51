//! Working memory: what has expired does not count, whatever the clocks did; what was answered is kept.

use std::collections::BTreeMap;
use std::time::Duration;

use kelpie_agent::error::{AgentError, Thing};
use kelpie_agent::query::{Scope, SendOptions};
use kelpie_agent::record::{AgentRecord, CreateAgent};
use kelpie_agent::service::Agents;
use kelpie_memory::working::{NewWorkingEntry, VALUE_BYTES_MAX, WorkingEntry};
use proptest::prelude::*;

use crate::world::{World, key, lines, say, scope, send};

const MINUTE_MS: i64 = 60_000;

/// An agent with the tools of working memory.
async fn noting(agents: &Agents, scope: &Scope, name: &str) -> AgentRecord {
    let tools = ["set", "get", "list", "delete"].map(|verb| format!("working_memory_{verb}"));
    let create = CreateAgent {
        name: Some(name.into()),
        tools: tools.into_iter().chain(["note".to_owned()]).collect(),
        ..CreateAgent::default()
    };
    agents.create(scope, Some(&key(format!("create {name}"))), create).await.unwrap()
}

fn set(name: &str, value: &str, ttl_minutes: Option<u64>) -> String {
    let ttl = ttl_minutes.map(|minutes| format!(",\"ttl_minutes\":{minutes}")).unwrap_or_default();
    format!("working_memory_set {{\"key\":\"{name}\",\"value\":\"{value}\"{ttl}}}")
}

fn of(verb: &str, name: &str) -> String {
    format!("working_memory_{verb} {{\"key\":\"{name}\"}}")
}

/// What the tools say, called in this order in one answer.
async fn told(agents: &Agents, agent: &str, calls: &[String]) -> Vec<String> {
    let text = format!("call {}\nsay ok", calls.join(" and "));
    let run = agents.send(&scope(), agent, None, say(&text), SendOptions::default()).await.unwrap();
    lines(&run.messages).into_iter().filter(|line| line.starts_with("working")).collect()
}

fn new(name: &str, value: &str, ttl_minutes: Option<u64>) -> NewWorkingEntry {
    NewWorkingEntry { key: name.into(), value: value.into(), ttl_minutes }
}

async fn keys(agents: &Agents, agent: &str) -> Vec<String> {
    let entries = agents.working_memory(&scope(), agent).await.unwrap();
    entries.into_iter().map(|entry| entry.key).collect()
}

fn tools_at_work() {
    let world = World::new(31);
    world.sim.block_on(async {
        let agents = world.start().await;
        let agent = noting(&agents, &scope(), "a").await.id;
        let calls = [
            set("door", "4711", Some(5)),
            set("plan", "tea", None),
            set("plan", "rum", None),
            of("get", "plan"),
            of("get", "none"),
            of("delete", "none"),
            "working_memory_list {}".to_owned(),
        ];
        let got = told(&agents, &agent, &calls).await;
        let until = |line: &str| line.split("until").next().unwrap().to_owned();
        let said: Vec<String> = got.iter().map(|line| until(line)).collect();
        let expected = [
            "working_memory_set Success: Noted down under 'door', ",
            "working_memory_set Success: Noted down under 'plan', ",
            "working_memory_set Success: Noted down under 'plan', ",
            "working_memory_get Success: rum",
            "working_memory_get Success: There is nothing under 'none'.",
            "working_memory_delete Success: There is nothing under 'none'.",
            "working_memory_list Success: door: 4 bytes, ",
        ];
        assert_eq!(said, expected, "each sees what the one before has made");
        assert!(got[6].ends_with("\nplan: 3 bytes, until it is deleted"), "{}", got[6]);

        world.node.jump_wall(5 * MINUTE_MS);
        let got = told(&agents, &agent, &[of("get", "door"), "working_memory_list {}".to_owned()]).await;
        assert_eq!(got[0], "working_memory_get Success: There is nothing under 'door'.", "it has expired");
        assert_eq!(got[1], "working_memory_list Success: plan: 3 bytes, until it is deleted");
        world.node.jump_wall(-5 * MINUTE_MS);
        assert_eq!(keys(&agents, &agent).await, ["plan"], "what a turn found expired stays away");

        let context = agents
            .context(
                &scope(),
                &kelpie_agent::conversation::ConversationName { agent_id: agent.clone(), number: 0 },
            )
            .await
            .unwrap();
        assert!(!context.core_memory.contains("rum"), "it is read by tools, and stands in no prompt");
        let asked = world.asked.requests.lock().last().unwrap().clone();
        assert!(!asked.system.contains("rum"), "{}", asked.system);
        let got = told(&agents, &agent, &[of("delete", "plan"), "working_memory_list {}".to_owned()]).await;
        let expected = [
            "working_memory_delete Success: Deleted what was under 'plan'.",
            "working_memory_list Success: Nothing is noted down.",
        ];
        assert_eq!(got, expected);
    });
}

#[test]
fn an_agent_notes_down_for_a_while_what_it_needs() {
    tools_at_work();
}

#[test]
fn limits_of_working_memory_are_told_and_nothing_changes() {
    let world = World::new(32);
    world.sim.block_on(async {
        let agents = world.start().await;
        let agent = noting(&agents, &scope(), "a").await.id;
        let got = told(&agents, &agent, &[set("", "x", None), set("k", "x", Some(0))]).await;
        assert_eq!(
            got[0],
            "working_memory_set Error: A key of working memory must have 1 to 128 bytes and no control characters"
        );
        assert!(got[1].contains("0 is less than the minimum of 1"), "{}", got[1]);
        let refused = async |new: NewWorkingEntry| {
            let error = agents.set_working(&scope(), &agent, None, new).await.unwrap_err();
            let AgentError::Invalid { field, message } = error else { panic!("{error:?}") };
            (field, message)
        };
        let (field, message) = refused(new("k", &"x".repeat(VALUE_BYTES_MAX + 1), None)).await;
        assert_eq!((field.as_str(), message.contains("at most 16384 bytes")), ("value", true), "{message}");
        assert_eq!(refused(new("k", "x", Some(525_601))).await.0, "ttl_minutes");
        let large = "x".repeat(VALUE_BYTES_MAX);
        for number in 0..15 {
            let new = new(&format!("k{number}"), &large, (number < 3).then_some(1));
            agents.set_working(&scope(), &agent, None, new).await.unwrap();
        }
        let (field, message) = refused(new("last", &large, None)).await;
        assert_eq!((field.as_str(), message.contains("delete something")), ("value", true), "{message}");
        assert_eq!(keys(&agents, &agent).await.len(), 15);
        world.node.jump_wall(MINUTE_MS);
        agents.set_working(&scope(), &agent, None, new("last", &large, None)).await.unwrap();
        assert_eq!(keys(&agents, &agent).await.len(), 13, "what has expired takes no room");
    });
}

#[test]
fn people_and_programs_set_and_delete_what_an_agent_has_noted_down() {
    let world = World::new(33);
    world.sim.block_on(async {
        let agents = world.start().await;
        let agent = noting(&agents, &scope(), "a").await.id;
        let set =
            agents.set_working(&scope(), &agent, Some(&key("1")), new("k/1", "v", Some(1))).await.unwrap();
        assert_eq!(agents.working_entry(&scope(), &agent, "k/1").await.unwrap(), set);
        assert_eq!(set.expires_ms, Some(set.set_ms + 60_000));
        let agents = world.restart().await;
        world.node.env().sleep(Duration::from_secs(61)).await;
        let again = agents.set_working(&scope(), &agent, Some(&key("1")), new("k/1", "v", Some(1))).await;
        assert_eq!(again.unwrap(), set, "the same key, the same answer");
        let gone = |outcome: Result<(), AgentError>| {
            matches!(outcome, Err(AgentError::NotFound { thing: Thing::Entry, .. }))
        };
        let read = agents.working_entry(&scope(), &agent, "k/1").await;
        assert!(gone(read.map(drop)), "an answer given again sets nothing again");
        assert!(gone(agents.delete_working(&scope(), &agent, None, "k/1").await));
        agents.set_working(&scope(), &agent, None, new("k/1", "v", None)).await.unwrap();
        agents.delete_working(&scope(), &agent, Some(&key("2")), "k/1").await.unwrap();
        agents.delete_working(&scope(), &agent, Some(&key("2")), "k/1").await.unwrap();
        assert_eq!(keys(&agents, &agent).await, [""; 0]);
        agents.set_working(&scope(), &agent, None, new("k", "v", None)).await.unwrap();
        agents.delete(&scope(), &agent, None).await.unwrap();
        let read = agents.working_memory(&scope(), &agent).await;
        assert!(matches!(read, Err(AgentError::NotFound { thing: Thing::Agent, .. })), "{read:?}");
    });
}

/// Agents of two tenants, each with a note under the same name.
fn among_agents() {
    let world = World::new(34);
    world.sim.block_on(async {
        let agents = world.start().await;
        let other = Scope { tenant: "other".into(), ..scope() };
        let mut all = Vec::new();
        for (name, scope) in [("ada", scope()), ("bob", scope()), ("cyd", other)] {
            let agent = noting(&agents, &scope, name).await.id;
            agents.set_working(&scope, &agent, None, new("who", name, None)).await.unwrap();
            agents.set_working(&scope, &agent, None, new(&format!("of {name}"), name, None)).await.unwrap();
            all.push((name, scope, agent));
        }
        for (name, scope, agent) in &all {
            let own = agents.working_entry(scope, agent, "who").await.unwrap().value;
            assert_eq!(own, *name, "an agent has its own notes");
            let seen: Vec<String> = agents
                .working_memory(scope, agent)
                .await
                .unwrap()
                .into_iter()
                .map(|entry| entry.value)
                .collect();
            assert_eq!(seen, [*name, *name], "an agent has its own notes and no others'");
        }
    });
}

#[test]
fn sim_notes_are_their_agents_own() {
    among_agents();
}

#[test]
fn a_fork_takes_over_what_has_not_expired() {
    let world = World::new(35);
    world.sim.block_on(async {
        let agents = world.start().await;
        let agent = noting(&agents, &scope(), "a").await.id;
        for (name, ttl) in [("short", Some(1)), ("long", Some(60)), ("ever", None)] {
            agents.set_working(&scope(), &agent, None, new(name, name, ttl)).await.unwrap();
        }
        world.node.jump_wall(MINUTE_MS);
        let fork = agents.fork(&scope(), &agent, None, None, None).await.unwrap().id;
        assert_eq!(keys(&agents, &fork).await, ["ever", "long"]);
        world.node.jump_wall(-MINUTE_MS);
        assert_eq!(keys(&agents, &fork).await, ["ever", "long"], "the expired one was not copied");
        let long = agents.working_entry(&scope(), &fork, "long").await.unwrap();
        assert_eq!(long, agents.working_entry(&scope(), &agent, "long").await.unwrap(), "with its time");
        agents.delete_working(&scope(), &fork, None, "ever").await.unwrap();
        assert!(agents.working_entry(&scope(), &agent, "ever").await.is_ok(), "the source stays as it was");
    });
}

/// One thing that is done, after the wall clock has jumped.
#[derive(Debug, Clone)]
struct Deed {
    jump_s: i64,
    what: What,
}

#[derive(Debug, Clone)]
enum What {
    Set {
        name: u8,
        ttl_minutes: Option<u64>,
    },
    Delete {
        name: u8,
    },
    /// As people see it.
    Look,
    /// As the agent sees it.
    List,
    Restart,
}

fn deeds() -> impl Strategy<Value = Vec<Deed>> {
    let what = prop_oneof![
        3 => (0..6_u8, prop::option::of(1..4_u64)).prop_map(|(name, ttl_minutes)| What::Set { name, ttl_minutes }),
        1 => (0..6_u8).prop_map(|name| What::Delete { name }),
        2 => Just(What::Look),
        1 => Just(What::List),
        1 => Just(What::Restart),
    ];
    let jump = prop_oneof![2 => Just(0), 1 => -150..150_i64];
    prop::collection::vec((jump, what).prop_map(|(jump_s, what)| Deed { jump_s, what }), 1..25)
}

/// What there is, as far as its clock tells: an entry that expired while a turn ran that forgets
/// what has expired may be gone for good.
#[derive(Default)]
struct Model(BTreeMap<String, (WorkingEntry, bool)>);

impl Model {
    /// Between two readings of the wall clock these are seen.
    fn compare(&self, seen: &[String], from_ms: u64, to_ms: u64) {
        let until = |entry: &WorkingEntry| entry.expires_ms.unwrap_or(u64::MAX);
        for name in seen {
            let live = self.0.get(name).is_some_and(|(entry, _)| from_ms < until(entry));
            assert!(live, "{name} is seen at {from_ms} although it is {:?}", self.0.get(name));
        }
        for (entry, sure) in self.0.values().filter(|(entry, _)| to_ms < until(entry)) {
            assert!(!sure || seen.contains(&entry.key), "{entry:?} is not seen at {to_ms}: {seen:?}");
        }
    }

    /// A turn between two readings of the wall clock forgets what has expired.
    fn forget(&mut self, from_ms: u64, to_ms: u64) {
        let until = |entry: &WorkingEntry| entry.expires_ms.unwrap_or(u64::MAX);
        self.0.retain(|_, (entry, _)| from_ms < until(entry));
        for (entry, sure) in self.0.values_mut() {
            *sure &= to_ms < until(entry);
        }
    }
}

fn lived(seed: u64, deeds: &[Deed]) {
    let world = World::new(seed);
    world.sim.block_on(async {
        let mut agents = world.start().await;
        let agent = noting(&agents, &scope(), "a").await.id;
        let mut model = Model::default();
        for (number, Deed { jump_s, what }) in deeds.iter().enumerate() {
            world.node.jump_wall(jump_s * 1_000);
            let now = || world.node.env().wall_ms();
            let before = now();
            match what {
                What::Look => model.compare(&keys(&agents, &agent).await, before, now()),
                What::Restart => agents = world.restart().await,
                What::Set { name, ttl_minutes } => {
                    let new = new(&format!("k{name}"), &format!("v{number}"), *ttl_minutes);
                    let entry = agents.set_working(&scope(), &agent, None, new).await.unwrap();
                    model.forget(before, now());
                    model.0.insert(entry.key.clone(), (entry, true));
                }
                What::Delete { name } => {
                    let name = format!("k{name}");
                    // A refusal commits nothing, so nothing is forgotten.
                    if agents.delete_working(&scope(), &agent, None, &name).await.is_ok() {
                        assert!(model.0.contains_key(&name), "{name} was there to be deleted");
                        model.forget(before, now());
                        model.0.remove(&name);
                    } else {
                        let sees = agents.working_entry(&scope(), &agent, &name).await;
                        assert!(sees.is_err(), "{sees:?} could not be deleted");
                    }
                }
                What::List => {
                    let said = told(&agents, &agent, &["working_memory_list {}".to_owned()]).await.remove(0);
                    let said = said.strip_prefix("working_memory_list Success: ").expect("a success");
                    let name = |line: &str| Some(line.split_once(": ")?.0.to_owned());
                    let seen: Vec<String> = said.lines().filter_map(name).collect();
                    model.compare(&seen, before, now());
                    model.forget(before, now());
                }
            }
        }
    });
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn no_expired_note_is_seen_whatever_the_clock_does(seed: u64, deeds in deeds()) {
        lived(seed, &deeds);
    }
}

/// Notes are made while the node is killed again and again: a note is there exactly when the
/// conversation says so, and with what was answered.
fn kills(seed: u64) {
    let world = World::new(seed);
    world.sim.block_on(async {
        let chance = world.sim.node("chance").env();
        let mut agents = world.start().await;
        let agent = noting(&agents, &scope(), "a").await.id;
        let text = |number: u32| {
            format!("call {} and note {{}}\nsay kept {number}", set(&format!("k{number}"), "v", None))
        };
        let mut number = 0;
        let answered = async |agents: &Agents, number: u32| loop {
            let name = key(format!("message {number}"));
            match agents.send(&scope(), &agent, Some(&name), say(&text(number)), SendOptions::default()).await
            {
                Ok(_) => break,
                Err(AgentError::NotRun { .. } | AgentError::Unknown { .. } | AgentError::Busy { .. }) => {}
                Err(error) => panic!("message {number}: {error:?}"),
            }
        };
        for _ in 0..6 {
            let until = chance.now() + Duration::from_millis(chance.random_u64() % 1_200);
            while chance.now() < until {
                let left = until.saturating_sub(chance.now());
                if chance.timeout(left, answered(&agents, number)).await.is_err() {
                    break;
                }
                number += 1;
            }
            agents = world.restart().await;
            let said = crate::world::history(&agents, &agent).await;
            let says =
                |number: u32| said.iter().any(|line| line.contains(&format!("Noted down under 'k{number}'")));
            let there = keys(&agents, &agent).await;
            for number in 0..=number {
                let there = there.contains(&format!("k{number}"));
                assert_eq!(
                    there,
                    says(number),
                    "seed {seed}: note {number} and its result are one commit: {said:#?}"
                );
            }
            for number in 0..number {
                assert!(there.contains(&format!("k{number}")), "seed {seed}: note {number} was lost");
            }
        }
        answered(&agents, number).await;
        assert_eq!(keys(&agents, &agent).await.len(), number as usize + 1);
    });
    assert!(world.sim.take_panics().is_empty(), "seed {seed}");
}

#[test]
fn kills_at_any_moment_lose_no_note_and_make_none_up() {
    for seed in 0..20 {
        kills(seed);
    }
}

#[test]
fn an_agent_without_the_tools_has_none_of_them() {
    let world = World::new(36);
    world.sim.block_on(async {
        let agents = world.start().await;
        let agent = crate::world::create(&agents, "a").await;
        assert!(!agent.tools.iter().any(|tool| tool.starts_with("working")), "{:?}", agent.tools);
        let run = send(&agents, &agent.id, "1", &format!("call {}\nsay ok", set("k", "v", None))).await;
        let refused =
            lines(&run.messages).iter().any(|line| line.contains("it is not granted to this agent"));
        assert!(refused && keys(&agents, &agent.id).await.is_empty());
    });
}

#[cfg(feature = "mutants")]
mod mutants {
    use super::*;
    use crate::crash::mutants::caught;

    #[test]
    fn an_expired_note_that_counts_is_caught() {
        assert!(caught("working_expired_counts", tools_at_work).contains("it has expired"));
    }

    #[test]
    fn sim_notes_of_all_agents_are_caught() {
        assert!(caught("range_of_every_actor", among_agents).contains("its own notes"));
    }
}
