//! What a run may do and when it ends: rules about tools, types of agents, the form of answers,
//! settings for one message.

use kelpie_agent::provider::ModelRequest;
use kelpie_agent::query::{Overrides, SendOptions};
use kelpie_agent::record::{AgentType, CreateAgent, UpdateAgent};
use kelpie_agent::service::Agents;
use kelpie_core::run::StopReason;
use serde_json::{Value, json};

use crate::world::{World, create, history, key, say, scope, send};

/// An agent with these rules is told this; how the run ended, what was said, what the model saw.
fn told(rules: &Value, text: &str) -> (StopReason, Vec<String>, Vec<ModelRequest>) {
    let world = World::new(1);
    world.sim.block_on(async {
        let agents = world.start().await;
        let agent = create(&agents, "a").await.id;
        let rules = Some(serde_json::from_value(rules.clone()).unwrap());
        let change = UpdateAgent { rules, ..UpdateAgent::default() };
        agents.update(&scope(), &agent, None, change).await.unwrap();
        let result = send(&agents, &agent, "1", text).await;
        let mut lines = history(&agents, &agent).await;
        lines.remove(0);
        (result.stop_reason, lines, world.asked.requests.lock().clone())
    })
}

fn names(request: &ModelRequest) -> Vec<&str> {
    request.tools.iter().map(|tool| tool.name.as_str()).collect()
}

#[test]
fn a_tool_that_comes_first_is_forced_and_all_others_are_hidden_until_then() {
    let rules = json!([{ "type": "run_first", "tool_name": "note" }]);
    let (reason, lines, asked) = told(&rules, "call book {\"room\":1}\ncall note {}\nsay done");
    assert_eq!(reason, StopReason::EndTurn);
    assert_eq!((names(&asked[0]), asked[0].require_tool), (vec!["note"], true));
    assert!(names(&asked[2]).len() > 5 && !asked[2].require_tool);
    assert!(lines[1].contains("the first call of a run has to be one of note"), "{lines:#?}");
    assert!(lines[3].starts_with("note Success"), "{lines:#?}");
}

#[test]
fn children_follow_their_parents_and_calls_are_counted_also_within_an_answer() {
    let rules = json!([
        { "type": "constrain_child_tools", "tool_name": "note", "children": ["book"] },
        { "type": "max_count_per_step", "tool_name": "book", "max_count_limit": 1 },
    ]);
    let text = "call note {}\ncall broken {}\ncall book {} and book {}\nsay done";
    let (reason, lines, asked) = told(&rules, text);
    assert_eq!(reason, StopReason::EndTurn);
    assert_eq!(names(&asked[1]), ["book"]);
    assert!(!names(&asked[3]).contains(&"book"));
    insta::assert_snapshot!(lines.join("\n"), @r#"
    calls note {}
    note Success: note did {}
    calls broken {}
    broken Error: the tool "broken" was not called: after note comes one of book
    calls book {}
    calls book {}
    book Error: the tool "book" was not called: it may be called at most 1 times in a run
    book Success: book did {}
    agent: done
    "#);
}

#[test]
fn what_comes_next_depends_on_a_result() {
    let rules = json!([{
        "type": "conditional", "tool_name": "note", "child_output_mapping": { "note did {}": "broken" }, "default_child": "book",
    }]);
    assert_eq!(names(&told(&rules, "call note {}\ncall broken {}\nsay done").2[1]), ["broken"]);
    assert_eq!(names(&told(&rules, "call note {\"room\":2}\ncall book {}\nsay done").2[1]), ["book"]);
}

#[test]
fn a_tool_ends_the_run_inside_and_outside_and_a_failure_does_not() {
    for tool in ["core_memory_append {\"label\":\"human\",\"content\":\"x\"}", "note {}"] {
        let name = tool.split(' ').next().unwrap();
        let rules = json!([{ "type": "exit_loop", "tool_name": name }]);
        let (reason, lines, asked) = told(&rules, &format!("call {tool}\nsay never"));
        assert_eq!((reason, asked.len()), (StopReason::ToolRule, 1), "{lines:#?}");
    }
    let rules = json!([{ "type": "exit_loop", "tool_name": "broken" }]);
    let (reason, lines, _) = told(&rules, "call broken {}\nsay it is broken");
    assert_eq!((reason, lines.last().unwrap().as_str()), (StopReason::EndTurn, "agent: it is broken"));
}

#[test]
fn a_tool_keeps_the_run_going_and_another_has_to_come_before_its_end() {
    let rules = json!([{ "type": "continue_loop", "tool_name": "send_message" }]);
    let (reason, lines, _) = told(&rules, "say one\nplain");
    assert_eq!((reason, lines), (StopReason::EndTurn, vec!["agent: one".into(), "agent: echo plain".into()]));
    for text in ["say early\ncall note {}\nsay done", "early\ncall note {}\nsay done"] {
        let rules = json!([{ "type": "required_before_exit", "tool_name": "note" }]);
        let (reason, lines, _) = told(&rules, text);
        assert_eq!((reason, lines[1].as_str()), (StopReason::EndTurn, "system: Before you end, call note."));
        assert_eq!(lines.last().unwrap(), "agent: done");
    }
    let rules = json!([
        { "type": "required_before_exit", "tool_name": "note" }, { "type": "exit_loop", "tool_name": "book" },
    ]);
    let (reason, lines, _) = told(&rules, "call book {}\ncall note {}\nsay never");
    assert_eq!(reason, StopReason::ToolRule);
    assert!(lines.contains(&"system: Before you end, call note.".to_owned()), "{lines:#?}");
}

async fn plain(agents: &Agents, agent_type: AgentType, extra: Value) -> String {
    let create = CreateAgent {
        agent_type,
        tools: vec!["note".into()],
        extra: serde_json::from_value(extra).unwrap(),
        ..CreateAgent::default()
    };
    agents.create(&scope(), None, create).await.unwrap().id
}

#[test]
fn agents_that_talk_in_plain_text_are_done_when_they_call_nothing() {
    let world = World::new(2);
    world.sim.block_on(async {
        let agents = world.start().await;
        let letta = plain(&agents, AgentType::LettaV1, json!({})).await;
        let append =
            "call archival_memory_insert {\"content\":\"x\"} and send_message {\"message\":\"x\"}\nhello";
        let result = send(&agents, &letta, "1", append).await;
        assert_eq!((result.stop_reason, result.usage.steps), (StopReason::EndTurn, 2));
        let lines = history(&agents, &letta).await;
        assert_eq!(lines.last().unwrap(), "agent: echo hello");
        assert!(
            lines.iter().any(|line| line.contains("\"send_message\" was not called: it is not granted")),
            "{lines:#?}"
        );
        let react = plain(&agents, AgentType::React, json!({})).await;
        assert_eq!(agents.get(&scope(), &react).await.unwrap().tools, ["note"]);
        assert_eq!(send(&agents, &react, "2", "call note {}\nhello").await.usage.steps, 2);
        let requests = world.asked.requests.lock();
        assert!(
            requests[0].system.contains("without calling a tool is your answer"),
            "{}",
            requests[0].system
        );
    });
}

#[test]
fn text_that_does_not_have_the_form_is_sent_back() {
    let world = World::new(3);
    world.sim.block_on(async {
        let agents = world.start().await;
        let schema =
            json!({ "type": "object", "properties": { "n": { "type": "integer" } }, "required": ["n"] });
        let format = json!({ "type": "json_schema", "json_schema": { "name": "n", "schema": schema } });
        let agent = plain(&agents, AgentType::LettaV1, json!({ "response_format": format })).await;
        let result = send(&agents, &agent, "1", "three\ntext {\"n\": \"3\"}\ntext {\"n\": 3}").await;
        assert_eq!((result.stop_reason, result.usage.steps), (StopReason::EndTurn, 3));
        let lines = history(&agents, &agent).await;
        assert_eq!(lines.last().unwrap(), "agent: {\"n\": 3}");
        assert!(lines[2].contains("it is no JSON") && lines[4].contains("at /n"), "{lines:#?}");
        let requests = world.asked.requests.lock();
        assert_eq!(serde_json::to_value(&requests[0].response_format).unwrap(), format);
    });
}

#[test]
fn settings_for_one_message_leave_the_agent_as_it_is() {
    let world = World::new(4);
    world.sim.block_on(async {
        let agents = world.start().await;
        let agent = create(&agents, "a").await.id;
        let overrides = Overrides { model: Some("puppet/other".into()), system: Some("Be brief.".into()) };
        let options = SendOptions { overrides, ..SendOptions::default() };
        let text = say("call note {}\nsay done");
        agents.send(&scope(), &agent, Some(&key("1")), text, options).await.unwrap();
        send(&agents, &agent, "2", "say done").await;
        let requests = world.asked.requests.lock();
        let seen: Vec<(&str, bool)> = requests
            .iter()
            .map(|request| (request.model.as_str(), request.system.starts_with("Be brief.\n\n")))
            .collect();
        assert_eq!(seen, [("puppet/other", true), ("puppet/other", true), ("puppet/lines", false)]);
    });
}

/// A tool that a rule keeps from being called is called all the same by the model.
fn a_forbidden_call() {
    let world = World::new(6);
    world.sim.block_on(async {
        let agents = world.start().await;
        let agent = create(&agents, "a").await.id;
        let rules = json!([{ "type": "max_count_per_step", "tool_name": "book", "max_count_limit": 1 }]);
        let rules = Some(serde_json::from_value(rules).unwrap());
        agents.update(&scope(), &agent, None, UpdateAgent { rules, ..UpdateAgent::default() }).await.unwrap();
        send(&agents, &agent, "1", "call book {}\ncall book {}\nsay done").await;
        let booked = world.effects.arrived.lock().len();
        assert_eq!(booked, 1, "a call that a rule forbids was made");
    });
}

#[test]
fn a_rule_does_not_only_hide_a_tool() {
    a_forbidden_call();
}

#[cfg(feature = "mutants")]
mod mutants {
    use super::*;
    use crate::crash::mutants::caught;

    #[test]
    fn a_rule_that_only_hides_a_tool_is_caught() {
        assert!(caught("tool_rule_only_hides", a_forbidden_call).contains("a rule forbids"));
    }
}
