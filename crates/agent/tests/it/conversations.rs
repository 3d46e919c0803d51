//! Several conversations with one agent, and what leaves a prompt that grows too long.

use std::time::Duration;

use kelpie_agent::conversation::{ConversationName, NewConversation};
use kelpie_agent::error::AgentError;
use kelpie_agent::provider::PromptMessage;
use kelpie_agent::query::{Order, PAGE_MAX, Page, SendOptions};
use kelpie_agent::record::UpdateAgent;
use kelpie_agent::service::Agents;
use kelpie_core::run::StopReason;

use crate::world::{World, create, history, key, lines, say, scope, send};

async fn begin(agents: &Agents, agent: &str, name: &str) -> ConversationName {
    let about =
        agents.begin_conversation(&scope(), agent, Some(&key(name)), NewConversation::default()).await;
    agents.conversation_name(&scope(), &about.unwrap().id).await.unwrap()
}

fn within(name: &ConversationName) -> SendOptions {
    SendOptions { conversation: name.number, refuse_when_busy: true, ..SendOptions::default() }
}

async fn said(agents: &Agents, name: &ConversationName) -> Vec<String> {
    let page = Page { limit: PAGE_MAX, order: Order::Ascending, ..Page::default() };
    lines(&agents.conversation_messages(&scope(), name, &page).await.unwrap())
}

#[test]
fn conversations_go_on_side_by_side_and_each_refuses_a_second_run() {
    let world = World { thinks: Duration::from_secs(5), ..World::new(1) };
    world.sim.block_on(async {
        let agents = world.start().await;
        let agent = create(&agents, "a").await.id;
        let (one, two) = (begin(&agents, &agent, "one").await, begin(&agents, &agent, "two").await);
        let append = "call core_memory_append {\"label\":\"human\",\"content\":\"first.\"}\nsay one";
        let started = world.node.env().now();
        let first = agents.send_and_leave(&scope(), &agent, None, say(append), within(&one)).await.unwrap();
        let refused = agents.send_and_leave(&scope(), &agent, None, say("again"), within(&one)).await;
        assert!(
            matches!(&refused, Err(AgentError::InUse { run_id, pending_approval: false, .. }) if *run_id == first.id),
            "{refused:?}"
        );
        let append = "call core_memory_append {\"label\":\"human\",\"content\":\"second.\"}\nsay two";
        let second = agents.send_and_leave(&scope(), &agent, None, say(append), within(&two)).await.unwrap();
        for run in [&first, &second] {
            let ended = agents.run_to_end(&scope(), &agent, &run.id).await.unwrap();
            assert_eq!(ended.stop_reason, StopReason::EndTurn);
        }
        let took = world.node.env().now() - started;
        assert!(took < Duration::from_secs(18), "they did not run side by side: {took:?}");
        let human = agents.block(&scope(), &agent, "human").await.unwrap().value;
        assert!(human.contains("first.") && human.contains("second."), "memory is shared: {human}");
        assert_eq!(said(&agents, &one).await.last().unwrap(), "agent: one");
        assert_eq!(said(&agents, &two).await.last().unwrap(), "agent: two");
        assert!(history(&agents, &agent).await.is_empty(), "the default conversation has none of it");
    });
}

#[test]
fn after_a_crash_every_conversation_goes_on_by_itself() {
    let world = World::new(2);
    world.sim.block_on(async {
        let agents = world.start().await;
        let agent = create(&agents, "a").await.id;
        let (one, two) = (begin(&agents, &agent, "one").await, begin(&agents, &agent, "two").await);
        for name in [&one, &two] {
            let text = say("call note {}\nsay by itself");
            agents.send_and_leave(&scope(), &agent, None, text, within(name)).await.unwrap();
        }
        let agents = world.restart().await;
        world.node.env().sleep(Duration::from_secs(30)).await;
        for name in [&one, &two] {
            assert_eq!(said(&agents, name).await.last().unwrap(), "agent: by itself");
        }
    });
}

#[test]
fn a_fork_of_a_fork_has_everything_in_order_and_outlives_its_origin() {
    let world = World::new(3);
    world.sim.block_on(async {
        let agents = world.start().await;
        let agent = create(&agents, "a").await.id;
        let mut name = begin(&agents, &agent, "root").await;
        let mut expected = Vec::new();
        for text in ["say a", "say b", "say c"] {
            agents.send(&scope(), &agent, None, say(text), within(&name)).await.unwrap();
            expected.extend([format!("user: {text}"), format!("agent: {}", &text[4..])]);
            let about = agents.fork_conversation(&scope(), &name, None, None, false).await.unwrap();
            let fork = agents.conversation_name(&scope(), &about.id).await.unwrap();
            agents.send(&scope(), &agent, None, say("say lost"), within(&name)).await.unwrap();
            agents.delete_conversation(&scope(), &name, None).await.unwrap();
            name = fork;
            assert_eq!(said(&agents, &name).await, expected);
        }
        let page = Page { limit: 3, ..Page::default() };
        let newest = agents.conversation_messages(&scope(), &name, &page).await.unwrap();
        assert_eq!(lines(&newest), ["agent: c", "user: say c", "agent: b"]);
        let after = Page { after: Some(newest[2].id.clone()), ..page };
        let older = agents.conversation_messages(&scope(), &name, &after).await.unwrap();
        assert_eq!(lines(&older), ["user: say b", "agent: a", "user: say a"]);
    });
}

/// An agent whose model reads little is told much.
fn summarizes() {
    let world = World::new(4);
    world.sim.block_on(async {
        let agents = world.start().await;
        let agent = create(&agents, "a").await.id;
        let change = UpdateAgent { context_window: Some(3_000), ..UpdateAgent::default() };
        agents.update(&scope(), &agent, None, change).await.unwrap();
        for number in 0..12 {
            let text = format!("say fine {number}\n{}", "word ".repeat(200));
            let result = send(&agents, &agent, &format!("m{number}"), &text).await;
            assert_eq!(result.stop_reason, StopReason::EndTurn, "message {number}");
        }
        let history = history(&agents, &agent).await;
        let heard = history.iter().filter(|line| line.starts_with("user: ")).count();
        assert_eq!(heard, 12, "recall has every word");
        assert!(history.iter().any(|line| line.starts_with("summary: ")), "{history:#?}");
        let requests = world.asked.requests.lock().clone();
        let last = requests.last().unwrap();
        let starts =
            matches!(&last.messages[0], PromptMessage::User { text } if text.starts_with("<summary"));
        assert!(starts, "the summary has to stand in the prompt: {:?}", last.messages[0]);
        let summaries = requests.iter().filter(|request| request.tools.is_empty()).count();
        assert!((1..6).contains(&summaries), "{summaries} summaries for 12 messages");
        let search = "call conversation_search {\"query\": \"fine 0\"}\nsay found";
        let found = send(&agents, &agent, "search", search).await;
        assert!(lines(&found.messages).iter().any(|line| line.contains("fine 0")), "{found:?}");
    });
}

#[test]
fn what_no_longer_fits_is_summarized_and_stays_in_recall() {
    summarizes();
}

#[cfg(feature = "mutants")]
mod mutants {
    use super::*;
    use crate::crash::mutants::caught;

    #[test]
    fn a_summary_that_is_dropped_is_caught() {
        assert!(caught("summary_dropped", summarizes).contains("has to stand in the prompt"));
    }
}
