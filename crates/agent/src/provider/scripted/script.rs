//! The script: from what a person wants and what was done about it to the next line.

use serde_json::Value;

use super::blocks::{block, name_line, person_name};
use super::wish::Wish;
use crate::provider::{ModelRequest, PromptMessage};

/// The tool that an agent talks with, where it has one.
pub(super) const SEND_MESSAGE: &str = "send_message";
const CORE_APPEND: &str = "core_memory_append";
const CORE_REPLACE: &str = "core_memory_replace";
/// What agents with the newer tools have instead.
const MEMORY_INSERT: &str = "memory_insert";
const MEMORY_REPLACE: &str = "memory_replace";
const CONVERSATION_SEARCH: &str = "conversation_search";
const ARCHIVAL_INSERT: &str = "archival_memory_insert";
const ARCHIVAL_SEARCH: &str = "archival_memory_search";
/// The core memory block about the person.
const HUMAN: &str = "human";
/// The longest piece of somebody else's text that it repeats.
const QUOTE_CHARS_MAX: usize = 400;

const INTRODUCTION: &str = "I am offline/scripted: a small script that follows fixed rules, not a language model. \
     For a real one start me with ANTHROPIC_API_KEY or OPENAI_API_KEY set, or with OPENAI_BASE_URL for a local \
     server (Ollama: http://127.0.0.1:11434/v1). ";
const CAN: &str = "I can remember (\"remember that …\", \"my name is …\"), recall (\"what is my name\", \"what do \
     you remember\"), search (\"search the archive for …\"), archive (\"insert into the archive: …\") and call a \
     tool (\"call the tool NAME with {…}\").";

/// What the script does next, and by which of its rules.
pub(super) struct Line {
    pub(super) rule: &'static str,
    pub(super) act: Act,
}

/// One thing to do.
pub(super) enum Act {
    /// Talk to the person.
    Say(String),
    /// Call a tool.
    Call { tool: String, arguments: String },
    /// The message is answered already.
    Nothing,
}

/// The script's next line.
pub(super) fn next(request: &ModelRequest) -> Line {
    let scene = Scene::of(&request.messages);
    if scene.answered {
        return Line { rule: "the message is answered", act: Act::Nothing };
    }
    let wish = Wish::of(scene.text, |name| has_tool(request, name));
    let human = block(&request.system, HUMAN).unwrap_or_default();
    let (rule, act) = act_on(&wish, request, human, &scene.results);
    let act = match act {
        Act::Say(text) if scene.opening => Act::Say(format!("{INTRODUCTION}{text}")),
        Act::Call { tool, arguments } => {
            let arguments = with_heartbeat(request, &tool, arguments);
            Act::Call { tool, arguments }
        }
        act @ (Act::Say(_) | Act::Nothing) => act,
    };
    Line { rule, act }
}

/// Whether the request offers a tool.
pub(super) fn has_tool(request: &ModelRequest, name: &str) -> bool {
    request.tools.iter().any(|tool| tool.name == name)
}

/// JSON text of an object of strings, in the order given.
pub(super) fn json(members: &[(&str, &str)]) -> String {
    let quote = |text: &str| Value::from(text).to_string();
    let members: Vec<_> =
        members.iter().map(|(key, value)| format!("{}: {}", quote(key), quote(value))).collect();
    format!("{{{}}}", members.join(", "))
}

/// The last message of the person and what happened since.
struct Scene<'a> {
    text: &'a str,
    results: Vec<Outcome<'a>>,
    /// Whether the person got an answer to it.
    answered: bool,
    /// Whether the person never got any answer before.
    opening: bool,
}

/// How a call ended.
struct Outcome<'a> {
    text: &'a str,
    is_error: bool,
}

impl<'a> Scene<'a> {
    fn of(messages: &'a [PromptMessage]) -> Self {
        let (mut text, mut start) = ("", 0);
        for (at, message) in messages.iter().enumerate() {
            if let PromptMessage::User { text: said } = message
                && !is_heartbeat(said)
            {
                (text, start) = (said.as_str(), at + 1);
            }
        }
        let (before, since) = messages.split_at(start);
        let results = since.iter().filter_map(|message| match message {
            PromptMessage::ToolResult { text, is_error, .. } => Some(Outcome { text, is_error: *is_error }),
            PromptMessage::User { .. } | PromptMessage::Assistant { .. } => None,
        });
        Self {
            text,
            results: results.collect(),
            answered: since.iter().any(talks),
            opening: !before.iter().any(talks),
        }
    }
}

/// Whether this message is something said to the person.
fn talks(message: &PromptMessage) -> bool {
    match message {
        PromptMessage::Assistant { text, tool_calls, .. } => {
            text.as_ref().is_some_and(|text| !text.is_empty())
                || tool_calls.iter().any(|call| call.name == SEND_MESSAGE)
        }
        PromptMessage::User { .. } | PromptMessage::ToolResult { .. } => false,
    }
}

/// Whether the runtime says this to let the model go on, and no person.
fn is_heartbeat(text: &str) -> bool {
    text.starts_with('{')
        && serde_json::from_str::<Value>(text).is_ok_and(|value| value["type"] == "heartbeat")
}

fn act_on(
    wish: &Wish<'_>,
    request: &ModelRequest,
    human: &str,
    results: &[Outcome<'_>],
) -> (&'static str, Act) {
    match *wish {
        Wish::Call { tool, arguments } => {
            ("call a tool when told to", call(request, tool, arguments, results))
        }
        Wish::Name { name } => ("remember a name", name_act(request, human, name, results)),
        Wish::Remember { fact } => {
            let done = format!("I will remember that {fact}");
            ("remember a fact", append_then_say(request, fact, done, results))
        }
        Wish::Replace { old, new } => {
            let done = format!("In my memory “{new}” now stands for “{old}”.");
            ("change memory", replace_then_say(request, (old, new), done, results))
        }
        Wish::Archive { content } => {
            let done = format!("I put this into the archive: {content}");
            let arguments = json(&[("content", content)]);
            ("insert into the archive", tool_then_say(request, ARCHIVAL_INSERT, arguments, done, results))
        }
        Wish::SearchArchive { query } => ("search", search(request, &[ARCHIVAL_SEARCH], query, results)),
        Wish::SearchConversation { query } => {
            ("search", search(request, &[CONVERSATION_SEARCH], query, results))
        }
        Wish::SearchAll { query } => {
            ("search", search(request, &[ARCHIVAL_SEARCH, CONVERSATION_SEARCH], query, results))
        }
        Wish::RecallName => ("recall a name", recall_name(human)),
        Wish::RecallAll => ("recall all", recall_all(human)),
        Wish::Talk if results.is_empty() => ("just talk", Act::Say(CAN.to_owned())),
        Wish::Talk => ("just talk", Act::Say(report("The tool", &results[results.len() - 1]))),
    }
}

fn call(request: &ModelRequest, tool: &str, arguments: &str, results: &[Outcome<'_>]) -> Act {
    match results.last() {
        Some(outcome) => Act::Say(report(tool, outcome)),
        None if has_tool(request, tool) => {
            Act::Call { tool: tool.to_owned(), arguments: arguments.to_owned() }
        }
        None => Act::Say(missing(request, tool)),
    }
}

fn name_act(request: &ModelRequest, human: &str, name: &str, results: &[Outcome<'_>]) -> Act {
    let new = format!("Name: {name}");
    let done = format!("Nice to meet you, {name}. I will remember your name.");
    match name_line(human) {
        // Only before the call: afterwards this very line is in memory.
        Some(line) if line == new && results.is_empty() => Act::Say(format!("I know, {name}.")),
        Some(line) if line != new => replace_then_say(request, (line, &new), done, results),
        Some(_) | None => append_then_say(request, &new, done, results),
    }
}

/// Adds to memory with the tool that there is for it.
fn append_then_say(request: &ModelRequest, text: &str, done: String, results: &[Outcome<'_>]) -> Act {
    let (tool, name) = if has_tool(request, MEMORY_INSERT) && !has_tool(request, CORE_APPEND) {
        (MEMORY_INSERT, "new_string")
    } else {
        (CORE_APPEND, "content")
    };
    tool_then_say(request, tool, json(&[("label", HUMAN), (name, text)]), done, results)
}

/// Changes memory with the tool that there is for it.
fn replace_then_say(
    request: &ModelRequest,
    (old, new): (&str, &str),
    done: String,
    results: &[Outcome<'_>],
) -> Act {
    let (tool, [from, to]) = if has_tool(request, MEMORY_REPLACE) && !has_tool(request, CORE_REPLACE) {
        (MEMORY_REPLACE, ["old_string", "new_string"])
    } else {
        (CORE_REPLACE, ["old_content", "new_content"])
    };
    tool_then_say(request, tool, json(&[("label", HUMAN), (from, old), (to, new)]), done, results)
}

/// Calls a tool, then says `done`, or what went wrong.
fn tool_then_say(
    request: &ModelRequest,
    tool: &str,
    arguments: String,
    done: String,
    results: &[Outcome<'_>],
) -> Act {
    match results.last() {
        Some(outcome) if outcome.is_error => Act::Say(report(tool, outcome)),
        Some(_) => Act::Say(done),
        None if has_tool(request, tool) => Act::Call { tool: tool.to_owned(), arguments },
        None => Act::Say(missing(request, tool)),
    }
}

/// Searches with one tool after the other, then tells what they found.
fn search(request: &ModelRequest, tools: &[&str], query: &str, results: &[Outcome<'_>]) -> Act {
    let mut usable = tools.iter().filter(|tool| has_tool(request, tool));
    if let Some(tool) = usable.clone().nth(results.len()) {
        return Act::Call { tool: (*tool).to_owned(), arguments: json(&[("query", query)]) };
    }
    if results.is_empty() {
        return Act::Say(missing(request, tools[0]));
    }
    let found: Vec<_> =
        results.iter().map(|outcome| report(usable.next().unwrap_or(&"The tool"), outcome)).collect();
    Act::Say(format!("I searched for “{query}”. {}", found.join(" ")))
}

fn recall_name(human: &str) -> Act {
    Act::Say(match person_name(human) {
        Some(name) => format!("Your name is {name}."),
        None => "I do not know your name yet. Tell me: \"my name is …\".".to_owned(),
    })
}

fn recall_all(human: &str) -> Act {
    Act::Say(match human {
        "" => "I remember nothing about you yet.".to_owned(),
        human => format!("I remember: {human}"),
    })
}

fn report(tool: &str, outcome: &Outcome<'_>) -> String {
    let verb = if outcome.is_error { "failed" } else { "answered" };
    let mut quote: String = outcome.text.chars().take(QUOTE_CHARS_MAX).collect();
    if quote.len() < outcome.text.len() {
        quote.push('…');
    }
    format!("{tool} {verb}: {quote}")
}

fn missing(request: &ModelRequest, tool: &str) -> String {
    let names: Vec<_> =
        request.tools.iter().map(|tool| tool.name.as_str()).filter(|name| *name != SEND_MESSAGE).collect();
    match names.as_slice() {
        [] => format!("I have no tool {tool}, and no other either."),
        names => format!("I have no tool {tool}. I have: {}.", names.join(", ")),
    }
}

/// An agent that ends its turn after a call goes on when the call asks for it.
fn with_heartbeat(request: &ModelRequest, tool: &str, arguments: String) -> String {
    const HEARTBEAT: &str = "request_heartbeat";
    let asks = request
        .tools
        .iter()
        .any(|spec| spec.name == tool && spec.parameters["properties"].get(HEARTBEAT).is_some());
    match serde_json::from_str::<Value>(&arguments) {
        Ok(Value::Object(members)) if asks && !members.contains_key(HEARTBEAT) => {
            let comma = if members.is_empty() { "" } else { ", " };
            let open = arguments.trim_end();
            let open = open.strip_suffix('}').expect("an object ends with its brace").trim_end();
            format!("{open}{comma}\"{HEARTBEAT}\": true}}")
        }
        Ok(_) | Err(_) => arguments,
    }
}
