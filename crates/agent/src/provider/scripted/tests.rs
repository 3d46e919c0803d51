use serde_json::json;

use super::Scripted;
use crate::provider::{ModelAnswer, ModelRequest, PromptMessage, ToolSpec};

fn tool(name: &str, properties: &[&str]) -> ToolSpec {
    let properties: serde_json::Map<_, _> =
        properties.iter().map(|name| ((*name).to_owned(), json!({ "type": "string" }))).collect();
    let parameters = json!({ "type": "object", "properties": properties });
    ToolSpec { name: name.to_owned(), description: String::new(), parameters }
}

fn memgpt(human: &str) -> ModelRequest {
    ModelRequest {
        model: Scripted::HANDLE.to_owned(),
        system: format!("You have <human> in memory.\n<human>\n<value>\n{human}\n</value>\n</human>\n"),
        tools: vec![
            tool("send_message", &["message"]),
            tool("core_memory_append", &["label", "content"]),
            tool("core_memory_replace", &["label", "old_content", "new_content"]),
            tool("conversation_search", &["query"]),
            tool("archival_memory_insert", &["content"]),
            tool("archival_memory_search", &["query"]),
            tool("slow_count", &["n", "request_heartbeat"]),
        ],
        ..ModelRequest::default()
    }
}

/// Talks until the person is answered; each tool but `send_message` answers "ok".
fn talk(request: &mut ModelRequest, text: &str) -> String {
    request.messages.push(PromptMessage::user(text));
    let mut log = String::new();
    loop {
        let answer = Scripted::answer(request);
        request.messages.push(answer.to_message());
        for call in &answer.tool_calls {
            log.push_str(&format!("{}({})\n", call.name, call.arguments));
            request.messages.push(PromptMessage::tool_result(&call.id, "ok"));
        }
        if let Some(text) = &answer.text {
            log.push_str(&format!("text: {text}\n"));
        }
        if answer.tool_calls.is_empty() || answer.tool_calls.iter().any(|call| call.name == "send_message") {
            return log;
        }
    }
}

/// A memgpt agent that has already said hello.
fn met(human: &str) -> ModelRequest {
    let mut request = memgpt(human);
    talk(&mut request, "hello");
    request
}

#[test]
fn the_first_reply_says_what_it_is_and_the_second_does_not() {
    let mut request = memgpt("");
    insta::assert_snapshot!(talk(&mut request, "hello"), @r#"send_message({"message": "I am offline/scripted: a small script that follows fixed rules, not a language model. For a real one start me with ANTHROPIC_API_KEY or OPENAI_API_KEY set, or with OPENAI_BASE_URL for a local server (Ollama: http://127.0.0.1:11434/v1). I can remember (\"remember that …\", \"my name is …\"), recall (\"what is my name\", \"what do you remember\"), search (\"search the archive for …\"), archive (\"insert into the archive: …\") and call a tool (\"call the tool NAME with {…}\")."})"#);
    assert!(!talk(&mut request, "hello again").contains("offline/scripted"));
}

#[test]
fn without_send_message_it_writes_text() {
    let mut request = met("");
    request.tools.clear();
    insta::assert_snapshot!(talk(&mut request, "What is my name?"), @r#"text: I do not know your name yet. Tell me: "my name is …"."#);
}

#[test]
fn it_remembers_through_the_memory_tools() {
    insta::assert_snapshot!(talk(&mut met(""), "Please remember that my dog is called \"Rex\""), @r#"
    core_memory_append({"label": "human", "content": "my dog is called \"Rex\""})
    send_message({"message": "I will remember that my dog is called \"Rex\""})
    "#);
    insta::assert_snapshot!(talk(&mut met(""), "Hi, my name is Ada Lovelace, nice to meet you"), @r#"
    core_memory_append({"label": "human", "content": "Name: Ada Lovelace"})
    send_message({"message": "Nice to meet you, Ada Lovelace. I will remember your name."})
    "#);
    insta::assert_snapshot!(talk(&mut met("Name: Bob"), "my name is Ada"), @r#"
    core_memory_replace({"label": "human", "old_content": "Name: Bob", "new_content": "Name: Ada"})
    send_message({"message": "Nice to meet you, Ada. I will remember your name."})
    "#);
    insta::assert_snapshot!(talk(&mut met("Name: Ada"), "my name is Ada"), @r#"send_message({"message": "I know, Ada."})"#);
    insta::assert_snapshot!(talk(&mut met("likes tea"), "In memory replace \"tea\" with \"coffee\""), @r#"
    core_memory_replace({"label": "human", "old_content": "tea", "new_content": "coffee"})
    send_message({"message": "In my memory “coffee” now stands for “tea”."})
    "#);
}

#[test]
fn it_remembers_with_the_newer_tools_where_it_has_only_those() {
    let newer = |human: &str| {
        let mut request = met(human);
        request.tools.retain(|tool| !tool.name.starts_with("core_memory"));
        request.tools.push(tool("memory_insert", &["label", "new_string"]));
        request.tools.push(tool("memory_replace", &["label", "old_string", "new_string"]));
        request
    };
    let first = |human: &str, text: &str| {
        let said = talk(&mut newer(human), text);
        said.lines().next().expect("a call").to_owned()
    };
    assert_eq!(
        first("", "remember that I like tea"),
        r#"memory_insert({"label": "human", "new_string": "I like tea"})"#
    );
    assert_eq!(
        first("Name: Bob", "my name is Ada"),
        r#"memory_replace({"label": "human", "old_string": "Name: Bob", "new_string": "Name: Ada"})"#
    );
}

#[test]
fn it_recalls_from_core_memory_in_the_prompt() {
    insta::assert_snapshot!(talk(&mut met("Likes tea.\nName: Ada"), "What is my name?"), @r#"send_message({"message": "Your name is Ada."})"#);
    insta::assert_snapshot!(talk(&mut met("The human's name is Ada."), "who am I"), @r#"send_message({"message": "Your name is Ada."})"#);
    insta::assert_snapshot!(talk(&mut met("Likes tea."), "What do you remember about me?"), @r#"send_message({"message": "I remember: Likes tea."})"#);
    insta::assert_snapshot!(talk(&mut met(""), "what do you remember"), @r#"send_message({"message": "I remember nothing about you yet."})"#);
}

#[test]
fn it_searches_and_archives() {
    insta::assert_snapshot!(talk(&mut met(""), "search the archive for green tea."), @r#"
    archival_memory_search({"query": "green tea"})
    send_message({"message": "I searched for “green tea”. archival_memory_search answered: ok"})
    "#);
    insta::assert_snapshot!(talk(&mut met(""), "Search our conversation for \"tea\""), @r#"
    conversation_search({"query": "tea"})
    send_message({"message": "I searched for “tea”. conversation_search answered: ok"})
    "#);
    insta::assert_snapshot!(talk(&mut met(""), "search for tea"), @r#"
    archival_memory_search({"query": "tea"})
    conversation_search({"query": "tea"})
    send_message({"message": "I searched for “tea”. archival_memory_search answered: ok conversation_search answered: ok"})
    "#);
    insta::assert_snapshot!(talk(&mut met(""), "insert into the archive: tea is green"), @r#"
    archival_memory_insert({"content": "tea is green"})
    send_message({"message": "I put this into the archive: tea is green"})
    "#);
}

#[test]
fn it_calls_a_tool_when_told_to() {
    insta::assert_snapshot!(talk(&mut met(""), "call the tool slow_count with {\"n\": {\"a\": 3}} please"), @r#"
    slow_count({"n": {"a": 3}, "request_heartbeat": true})
    send_message({"message": "slow_count answered: ok"})
    "#);
    insta::assert_snapshot!(talk(&mut met(""), "Use `slow_count`"), @r#"
    slow_count({"request_heartbeat": true})
    send_message({"message": "slow_count answered: ok"})
    "#);
    insta::assert_snapshot!(talk(&mut met(""), "call the tool slow_count with {\"n\": 3"), @r#"
    slow_count({"n": 3)
    send_message({"message": "slow_count answered: ok"})
    "#);
    insta::assert_snapshot!(talk(&mut met(""), "call the tool fly with {}"), @r#"send_message({"message": "I have no tool fly. I have: core_memory_append, core_memory_replace, conversation_search, archival_memory_insert, archival_memory_search, slow_count."})"#);
    insta::assert_snapshot!(talk(&mut met(""), "Do you use rust?"), @r#"send_message({"message": "I can remember (\"remember that …\", \"my name is …\"), recall (\"what is my name\", \"what do you remember\"), search (\"search the archive for …\"), archive (\"insert into the archive: …\") and call a tool (\"call the tool NAME with {…}\")."})"#);
}

#[test]
fn a_failed_tool_is_reported() {
    let mut request = met("");
    request.messages.push(PromptMessage::user("remember that x"));
    let answer = Scripted::answer(&request);
    request.messages.push(answer.to_message());
    request.messages.push(PromptMessage::ToolResult {
        call_id: answer.tool_calls[0].id.clone(),
        text: "the block is full".to_owned(),
        is_error: true,
    });
    let arguments = &Scripted::answer(&request).tool_calls[0].arguments;
    insta::assert_snapshot!(arguments, @r#"{"message": "core_memory_append failed: the block is full"}"#);
}

#[test]
fn an_answered_message_gets_no_second_answer() {
    let mut request = met("");
    let ModelAnswer { text, tool_calls, .. } = Scripted::answer(&request);
    assert_eq!((text, tool_calls), (None, vec![]));
    request.messages.push(PromptMessage::user("{\"type\": \"heartbeat\", \"reason\": \"go on\"}"));
    assert!(Scripted::answer(&request).tool_calls.is_empty());
}

#[test]
fn call_ids_differ_along_a_conversation_and_repeat_with_the_request() {
    let mut request = met("");
    let mut ids = std::collections::BTreeSet::new();
    for at in 0..20 {
        talk(&mut request, &format!("remember that {at}"));
        assert_eq!(Scripted::answer(&request), Scripted::answer(&request.clone()));
    }
    for message in &request.messages {
        if let PromptMessage::Assistant { tool_calls, .. } = message {
            for call in tool_calls {
                assert!(ids.insert(call.id.clone()), "{} twice", call.id);
            }
        }
    }
}

#[test]
fn deltas_add_up_to_the_answer() {
    use futures::FutureExt;

    use crate::provider::{Delta, Provider};
    let mut request = met("");
    request.messages.push(PromptMessage::user("remember that one two three four five six seven"));
    let mut parts = vec![];
    let mut sink = |delta| {
        if let Delta::ToolCall { arguments_part, .. } = delta {
            parts.push(arguments_part);
        }
    };
    let answer = Scripted.complete(&request, &mut sink).now_or_never().unwrap().unwrap();
    assert!(parts.len() > 3, "{parts:?}");
    assert_eq!(parts.concat(), answer.tool_calls[0].arguments);
}

mod properties {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn no_text_of_a_person_makes_it_fail(text in ".*", words in "(remember |call |the tool |search |for |archive |\\{|\"|my name is |é|ß){0,12}") {
            for text in [text, words] {
                let mut request = memgpt(&text);
                request.messages.push(PromptMessage::user(text));
                let answer = Scripted::answer(&request);
                prop_assert_eq!(answer.tool_calls.len(), 1);
            }
        }
    }
}
