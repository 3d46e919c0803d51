//! What the model does: what the last message of a person says, line by line.
//!
//! ```text
//!   w0.3 | call book {"what":"w0.3"} and note {"what":"w0.3"} | say both w0.3
//!   word   first answer: calls of these tools                   second answer
//! ```
//!
//! The word stands for the message in the whole run: what follows from it carries it.

use std::collections::BTreeSet;

use kelpie_agent::provider::{ModelAnswer, ModelRequest, PromptMessage, Stop, ToolCall, Usage};

/// Between the lines of a message.
const LINES: &str = " | ";
/// Between the calls of a line.
const CALLS: &str = " and ";
/// What stands before an agent's name in its memory.
const I_AM: &str = "I am ";

/// What an agent of this name knows of itself.
pub(super) fn persona(name: &str) -> String {
    format!("{I_AM}{name}!")
}

/// The agent whose memory the request shows.
pub(super) fn reader(request: &ModelRequest) -> String {
    let name = request.system.split_once(I_AM).and_then(|(_, rest)| rest.split_once('!'));
    name.map_or("nobody", |(name, _)| name).to_owned()
}

/// Whether a summary is asked for. That request shows no agent's memory: what becomes of the summary
/// is seen where its agent reads it.
pub(super) fn is_for_a_summary(request: &ModelRequest) -> bool {
    request.system.contains("Write a summary of the part below")
}

/// The word of a message.
pub(crate) fn word_of(payload: &str) -> &str {
    payload.split(LINES).next().unwrap_or_default()
}

/// All words of messages in a text.
pub(crate) fn words_in(text: &str) -> BTreeSet<String> {
    let tokens = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '.');
    let word = |token: &str| {
        let token = token.trim_end_matches('.');
        let (client, call) = token.strip_prefix('w')?.split_once('.')?;
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        (digits(client) && digits(call)).then(|| token.to_owned())
    };
    tokens.filter_map(word).collect()
}

/// All words that a model is given to read.
pub(super) fn words_of(request: &ModelRequest) -> BTreeSet<String> {
    let mut words = words_in(&request.system);
    for message in &request.messages {
        match message {
            PromptMessage::User { text } | PromptMessage::ToolResult { text, .. } => {
                words.extend(words_in(text));
            }
            PromptMessage::Assistant { text, tool_calls, .. } => {
                words.extend(words_in(text.as_deref().unwrap_or_default()));
                words.extend(tool_calls.iter().flat_map(|call| words_in(&call.arguments)));
            }
        }
    }
    words
}

/// What every provider demands: each call is followed by its one result before anybody speaks
/// again, and nothing else is a result.
pub(super) fn check(request: &ModelRequest) -> Result<(), String> {
    let mut open: Vec<&str> = Vec::new();
    for message in &request.messages {
        match message {
            PromptMessage::ToolResult { call_id, .. } => {
                let found = open.iter().position(|id| id == call_id);
                let found = found.ok_or_else(|| {
                    format!("the model of {} is shown a result of {call_id}, not called", reader(request))
                })?;
                open.swap_remove(found);
            }
            PromptMessage::User { .. } | PromptMessage::Assistant { .. } if !open.is_empty() => {
                let reader = reader(request);
                return Err(format!("the model of {reader} is shown calls without a result: {open:?}"));
            }
            PromptMessage::User { .. } => {}
            PromptMessage::Assistant { tool_calls, .. } => {
                open.extend(tool_calls.iter().map(|call| call.id.as_str()));
            }
        }
    }
    if open.is_empty() {
        return Ok(());
    }
    Err(format!("the model of {} is asked before the results of {open:?}", reader(request)))
}

/// The line that is due: as many answers as there were since the person spoke. `number` gives
/// names to its calls.
pub(super) fn answer(request: &ModelRequest, mut number: impl FnMut() -> u64) -> ModelAnswer {
    let spoke = request.messages.iter().rposition(|message| matches!(message, PromptMessage::User { .. }));
    let (said, since) = match spoke.map(|spoke| (&request.messages[spoke], &request.messages[spoke + 1..])) {
        Some((PromptMessage::User { text }, since)) => (text.as_str(), since),
        Some((PromptMessage::Assistant { .. } | PromptMessage::ToolResult { .. }, _)) | None => ("", &[][..]),
    };
    let answers = since.iter().filter(|message| matches!(message, PromptMessage::Assistant { .. })).count();
    let line = said.split(LINES).nth(answers + 1).unwrap_or("say done");
    let mut call = |name: &str, arguments: &str| ToolCall {
        id: format!("call-{}", number()),
        name: name.to_owned(),
        arguments: arguments.to_owned(),
    };
    let (text, tool_calls) = match line.split_once(' ') {
        Some(("call", calls)) => {
            let calls = calls.split(CALLS).map(|made| made.split_once(' ').unwrap_or((made, "{}")));
            (None, calls.map(|(name, arguments)| call(name, arguments)).collect())
        }
        Some(("say", words)) => {
            let arguments = serde_json::json!({ "message": words }).to_string();
            (None, vec![call("send_message", &arguments)])
        }
        Some(_) | None => (Some(line.to_owned()), Vec::new()),
    };
    let stop = if tool_calls.is_empty() { Stop::EndTurn } else { Stop::ToolUse };
    let usage = Usage { input_tokens: 10, output_tokens: 2, ..Usage::default() };
    ModelAnswer { model: "lines".to_owned(), text, reasoning: None, tool_calls, stop, usage, raw: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(messages: Vec<PromptMessage>) -> ModelRequest {
        ModelRequest { system: persona("a0@t0"), messages, ..ModelRequest::default() }
    }

    fn calls(ids: &[&str]) -> PromptMessage {
        let call = |id: &&str| ToolCall { id: (*id).to_owned(), name: "book".into(), arguments: "{}".into() };
        let tool_calls = ids.iter().map(call).collect();
        PromptMessage::Assistant { text: None, reasoning: None, tool_calls, raw: None }
    }

    #[test]
    fn lines_are_answered_one_after_the_other() {
        let user = PromptMessage::user("w0.1 | call book {\"what\":\"w0.1\"} and note {} | say both");
        let mut count = 0;
        let mut number = || {
            count += 1;
            count
        };
        let first = answer(&asked(vec![user.clone()]), &mut number);
        let names: Vec<&str> = first.tool_calls.iter().map(|call| call.name.as_str()).collect();
        assert_eq!(names, ["book", "note"]);
        assert_eq!(first.tool_calls[0].arguments, "{\"what\":\"w0.1\"}");
        let second = answer(&asked(vec![user, first.to_message()]), &mut number);
        assert_eq!(second.tool_calls[0].arguments, "{\"message\":\"both\"}");
        assert_ne!(second.tool_calls[0].id, first.tool_calls[0].id);
    }

    #[test]
    fn words_are_found_whole() {
        let words: Vec<String> =
            words_in("fact w0.13. {\"what\":\"w2.4\"} www w1. w.3 xw0.1").into_iter().collect();
        assert_eq!(words, ["w0.13", "w2.4"]);
        assert_eq!(reader(&asked(vec![])), "a0@t0");
    }

    #[test]
    fn a_call_without_its_result_is_refused() {
        let result = |id: &str| PromptMessage::tool_result(id, "done");
        let user = || PromptMessage::user("w0.1 | say x");
        let fine = asked(vec![user(), calls(&["a", "b"]), result("b"), result("a"), user()]);
        assert_eq!(check(&fine), Ok(()));
        for bad in [
            vec![user(), calls(&["a"]), user()],
            vec![user(), calls(&["a"])],
            vec![user(), calls(&["a"]), result("a"), result("a")],
            vec![user(), result("a")],
        ] {
            check(&asked(bad)).unwrap_err();
        }
    }
}
