//! Messages that come later: each time once, whatever happens meanwhile.

use std::time::Duration;

use kelpie_agent::conversation::NewConversation;
use kelpie_agent::error::AgentError;
use kelpie_agent::message::NewMessage;
use kelpie_agent::query::{Order, PAGE_MAX, Page, SendOptions};
use kelpie_agent::record::{AgentRecord, CreateAgent};
use kelpie_agent::schedule::{NewSchedule, SCHEDULES_MAX, TEXT_BYTES_MAX, When};
use kelpie_agent::service::Agents;
use kelpie_core::id::ActorId;
use kelpie_core::row;
use kelpie_storage::{RangeQuery, Store};

use crate::world::{World, create, history, key, lines, say, scope};

const MINUTE: Duration = Duration::from_secs(60);

/// An agent with the tools for schedules.
async fn planning(agents: &Agents, name: &str) -> AgentRecord {
    let tools = ["schedule_message", "scheduled_messages", "cancel_scheduled_message"].map(str::to_owned);
    let create = CreateAgent { name: Some(name.into()), tools: tools.to_vec(), ..CreateAgent::default() };
    agents.create(&scope(), Some(&key(format!("create {name}"))), create).await.unwrap()
}

async fn told(agents: &Agents, agent: &str, call: &str) -> String {
    let text = format!("call {call}\nsay ok");
    let run = agents.send(&scope(), agent, None, say(&text), SendOptions::default()).await.unwrap();
    let said =
        lines(&run.messages).into_iter().find(|line| line.contains("schedule") && !line.starts_with("calls"));
    said.expect("the tool answers")
}

async fn add(agents: &Agents, agent: &str, text: &str, when: When) -> Result<String, AgentError> {
    let new = NewSchedule { messages: say(text), when, max_steps: None, conversation: 0 };
    agents.add_schedule(&scope(), agent, None, new).await.map(|kept| kept.id)
}

fn cron(expression: &str) -> When {
    When::Recurring { cron: expression.to_owned() }
}

async fn runs(agents: &Agents, agent: &str) -> usize {
    let page = Page { limit: PAGE_MAX, order: Order::Ascending, ..Page::default() };
    agents.runs(&scope(), agent, &page).await.unwrap().len()
}

/// The reminders that an agent has in the store.
async fn reminders(world: &World, agent: &str) -> usize {
    let prefix = row::dues(&ActorId::new("default", "agent", agent).unwrap());
    let store = Store::from_backend(world.backend.clone(), world.node.env());
    let all = RangeQuery::new(prefix.clone(), row::after(&prefix));
    store.begin().get_range(all).await.unwrap().rows.iter().count()
}

#[test]
fn what_an_agent_schedules_comes_once_also_after_restarts() {
    let world = World::new(1);
    world.sim.block_on(async {
        let agents = world.start().await;
        let agent = planning(&agents, "a").await.id;
        let now_ms = world.node.env().wall_ms();
        let said = told(&agents, &agent, r#"schedule_message {"message":"tea","in_minutes":10}"#).await;
        assert!(said.starts_with("schedule_message Success: Scheduled as schedule-1, once at 20"), "{said}");
        let kept = agents.schedule(&scope(), &agent, "schedule-1").await.unwrap();
        assert!((600_000..601_000).contains(&(kept.next_ms - now_ms)), "{}", kept.next_ms);
        let said = told(&agents, &agent, "scheduled_messages {}").await;
        assert!(said.contains("schedule-1: once at ") && said.ends_with(": tea"), "{said}");
        world.node.env().sleep(5 * MINUTE).await;
        let agents = world.restart().await;
        world.node.env().sleep(4 * MINUTE + MINUTE / 2).await;
        assert_eq!(runs(&agents, &agent).await, 2, "it came early");
        let agents = world.restart().await;
        world.node.env().sleep(MINUTE).await;
        let history = history(&agents, &agent).await;
        let heard: Vec<&String> = history.iter().filter(|line| line.starts_with("user: You have")).collect();
        assert_eq!(heard.len(), 1, "{history:#?}");
        assert!(heard[0].ends_with(": tea"), "{}", heard[0]);
        assert!(history.last().unwrap().starts_with("agent: echo You have scheduled"), "{history:#?}");
        assert!(agents.schedules(&scope(), &agent).await.unwrap().is_empty(), "it has come");
        world.node.env().sleep(30 * MINUTE).await;
        assert_eq!(runs(&agents, &agent).await, 3, "it came again");
    });
}

#[test]
fn kills_around_its_time_lose_no_message_and_double_none() {
    for kill in 0..30_u32 {
        let world = World::new(u64::from(kill));
        world.sim.block_on(async {
            let agents = world.start().await;
            let agent = create(&agents, "a").await.id;
            let at_ms = world.node.env().wall_ms() + 10_000;
            add(&agents, &agent, "say beat", When::Once { at_ms }).await.unwrap();
            let early = Duration::from_millis(9_800) + Duration::from_millis(20) * kill;
            world.node.env().sleep(early).await;
            let agents = world.restart().await;
            world.node.env().sleep(MINUTE).await;
            let history = history(&agents, &agent).await;
            let of = |start: &str| history.iter().filter(|line| line.starts_with(start)).count();
            assert_eq!((of("user: "), of("agent: beat")), (1, 1), "killed after {early:?}: {history:#?}");
        });
    }
}

#[test]
fn what_recurs_comes_each_time_until_it_is_cancelled_and_missed_times_count_as_one() {
    let world = World::new(2);
    world.sim.block_on(async {
        let agents = world.start().await;
        let agent = planning(&agents, "a").await.id;
        let id = add(&agents, &agent, "say beat", cron("*/10 * * * *")).await.unwrap();
        world.node.env().sleep(31 * MINUTE).await;
        assert_eq!(runs(&agents, &agent).await, 3);
        world.node.jump_wall(35 * 60_000);
        world.node.env().sleep(MINUTE).await;
        assert_eq!(runs(&agents, &agent).await, 4, "what was missed counts as one time");
        let next = agents.schedule(&scope(), &agent, &id).await.unwrap().next_ms;
        let now_ms = world.node.env().wall_ms();
        assert!(next > now_ms && next <= now_ms + 600_000 && next.is_multiple_of(600_000), "{next}");
        let said = told(&agents, &agent, &format!(r#"cancel_scheduled_message {{"id":"{id}"}}"#)).await;
        assert_eq!(said, format!("cancel_scheduled_message Success: Cancelled {id}."));
        let said = told(&agents, &agent, &format!(r#"cancel_scheduled_message {{"id":"{id}"}}"#)).await;
        assert_eq!(said, format!("cancel_scheduled_message Success: There is no schedule '{id}'."));
        assert_eq!(
            told(&agents, &agent, "scheduled_messages {}").await,
            "scheduled_messages Success: Nothing is scheduled."
        );
        world.node.env().sleep(60 * MINUTE).await;
        assert_eq!(runs(&agents, &agent).await, 7);
        let gone = agents.cancel_schedule(&scope(), &agent, None, &id).await.unwrap_err();
        assert!(matches!(gone, AgentError::NotFound { .. }), "{gone}");
    });
}

#[test]
fn a_conversation_that_stands_still_does_not_fill_with_the_same_words() {
    let mut world = World::new(3);
    world.thinks = 10 * MINUTE;
    world.sim.block_on(async {
        let agents = world.start().await;
        let agent = create(&agents, "a").await.id;
        add(&agents, &agent, "say beat", cron("* * * * *")).await.unwrap();
        world.node.env().sleep(9 * MINUTE).await;
        assert_eq!(runs(&agents, &agent).await, 2, "one goes on, and one waits");
        world.node.env().sleep(4 * MINUTE).await;
        assert_eq!(runs(&agents, &agent).await, 3, "there is room again");
    });
}

#[test]
fn a_message_that_comes_once_waits_until_there_is_room() {
    let mut world = World::new(4);
    world.thinks = 10 * MINUTE;
    world.sim.block_on(async {
        let agents = world.start().await;
        let agent = create(&agents, "a").await.id;
        let leave = async || {
            agents.send_and_leave(&scope(), &agent, None, say("say hello"), SendOptions::default()).await
        };
        while leave().await.is_ok() {}
        let full = runs(&agents, &agent).await;
        let at_ms = world.node.env().wall_ms() + 1_000;
        add(&agents, &agent, "say late", When::Once { at_ms }).await.unwrap();
        world.node.env().sleep(3 * MINUTE).await;
        assert_eq!(runs(&agents, &agent).await, full);
        assert_eq!(agents.schedules(&scope(), &agent).await.unwrap().len(), 1, "it is not lost");
        agents.cancel_all(&scope(), &agent, None).await.unwrap();
        world.node.env().sleep(2 * MINUTE).await;
        assert_eq!(runs(&agents, &agent).await, full + 1);
        assert!(agents.schedules(&scope(), &agent).await.unwrap().is_empty());
    });
}

#[test]
fn schedules_go_with_their_agent_and_their_conversation_and_not_into_a_fork() {
    let world = World::new(5);
    world.sim.block_on(async {
        let agents = world.start().await;
        let agent = create(&agents, "a").await.id;
        let begun =
            agents.begin_conversation(&scope(), &agent, None, NewConversation::default()).await.unwrap();
        let name = agents.conversation_name(&scope(), &begun.id).await.unwrap();
        let new = |conversation| NewSchedule {
            messages: say("say beat"),
            when: cron("* * * * *"),
            max_steps: Some(3),
            conversation,
        };
        let there = agents.add_schedule(&scope(), &agent, None, new(name.number)).await.unwrap();
        world.node.env().sleep(MINUTE).await;
        let heard = agents.conversation_messages(&scope(), &name, &Page::default()).await.unwrap();
        assert!(lines(&heard).contains(&"agent: beat".to_owned()), "it is said where it belongs");
        assert!(history(&agents, &agent).await.is_empty());
        let about = agents.conversation(&scope(), &name).await.unwrap();
        assert!(about.last_message_ms > Some(about.created_ms), "nobody sees that it was spoken to");
        let fork = agents.fork(&scope(), &agent, None, None, None).await.unwrap().id;
        assert!(agents.schedules(&scope(), &fork).await.unwrap().is_empty());
        agents.delete_conversation(&scope(), &name, None).await.unwrap();
        world.node.env().sleep(MINUTE).await;
        let gone = agents.schedule(&scope(), &agent, &there.id).await.unwrap_err();
        assert!(matches!(gone, AgentError::NotFound { .. }), "{gone}");
        agents.add_schedule(&scope(), &agent, None, new(0)).await.unwrap();
        assert_eq!(reminders(&world, &agent).await, 1);
        agents.delete(&scope(), &agent, None).await.unwrap();
        let asked = world.asked.requests.lock().len();
        world.node.env().sleep(10 * MINUTE).await;
        assert_eq!(world.asked.requests.lock().len(), asked, "it speaks to an agent that is gone");
        assert_eq!(reminders(&world, &agent).await, 0, "reminders outlive their agent");
    });
}

#[test]
fn what_cannot_be_scheduled_is_refused_with_the_field() {
    let world = World::new(6);
    world.sim.block_on(async {
        let agents = world.start().await;
        let agent = planning(&agents, "a").await.id;
        let refused = async |messages, when, max_steps| {
            let new = NewSchedule { messages, when, max_steps, conversation: 0 };
            match agents.add_schedule(&scope(), &agent, None, new).await {
                Err(AgentError::Invalid { field, message }) => format!("{field}: {message}"),
                other => panic!("{other:?}"),
            }
        };
        let now_ms = world.node.env().wall_ms();
        let later = || When::Once { at_ms: now_ms + 600_000 };
        let long = "x".repeat(TEXT_BYTES_MAX + 1);
        for (got, expected) in [
            (refused(Vec::new(), later(), None).await, "messages: there must be 1 to 64 messages".to_owned()),
            (
                refused(vec![NewMessage::default(); 65], later(), None).await,
                "messages: there must be 1 to 64 messages".to_owned(),
            ),
            (
                refused(say(&long), later(), None).await,
                format!("messages: {} bytes of text, of {TEXT_BYTES_MAX} allowed", long.len()),
            ),
            (
                refused(
                    vec![NewMessage { name: Some(long.clone()), ..NewMessage::default() }],
                    later(),
                    None,
                )
                .await,
                format!("messages: {} bytes of text, of {TEXT_BYTES_MAX} allowed", long.len()),
            ),
            (
                refused(say("x"), When::Once { at_ms: now_ms }, None).await,
                "schedule.scheduled_at: the time has passed already".to_owned(),
            ),
            (refused(say("x"), later(), Some(0)).await, "max_steps: must be between 1 and 1000".to_owned()),
        ] {
            assert_eq!(got, expected);
        }
        for expression in ["* * * * * *", "* * *", "soon please * * *", "0 0 31 2 *"] {
            let got = refused(say("x"), cron(expression), None).await;
            assert!(got.starts_with("schedule.cron_expression: `"), "{got}");
        }
        for arguments in [
            r#"{"message":"x"}"#,
            r#"{"message":"x","in_minutes":1,"cron":"* * * * *"}"#,
            r#"{"message":"x","at":"soon"}"#,
            r#"{"message":"x","at":"2020-01-01T00:00:00Z"}"#,
            r#"{"message":"x","in_minutes":0}"#,
        ] {
            let said = told(&agents, &agent, &format!("schedule_message {arguments}")).await;
            assert!(said.starts_with("schedule_message Error: "), "{said}");
        }
        for _ in 0..SCHEDULES_MAX {
            add(&agents, &agent, "say beat", later()).await.unwrap();
        }
        let got = refused(say("x"), later(), None).await;
        assert!(got.starts_with("schedule: the agent has 64 schedules already"), "{got}");
        assert_eq!(agents.schedules(&scope(), &agent).await.unwrap().len(), SCHEDULES_MAX);
    });
}

#[cfg(feature = "mutants")]
#[test]
fn seeded_bugs_of_schedules_are_noticed() {
    for (name, scenario) in [
        ("schedule_stays_when_it_has_come", what_an_agent_schedules_comes_once_also_after_restarts as fn()),
        ("scheduled_lost_behind_others", a_message_that_comes_once_waits_until_there_is_room),
        (
            "fork_takes_schedules_along",
            schedules_go_with_their_agent_and_their_conversation_and_not_into_a_fork,
        ),
    ] {
        crate::crash::mutants::caught(name, scenario);
    }
}
