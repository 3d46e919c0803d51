//! What tests of both wires share: one request, and a reader that is fed chunk by chunk.

use proptest::prelude::*;
use serde_json::json;

use super::{Answering, Fault, Progress, Wire, models, results_first};
use crate::provider::{Delta, ModelAnswer, ModelRequest, PromptMessage, RawTurn, ToolCall, ToolSpec};

/// A conversation with all that can be in one.
pub(in crate::provider) fn request() -> ModelRequest {
    let call = |id: &str, name: &str, arguments: &str| ToolCall {
        id: id.to_owned(),
        name: name.to_owned(),
        arguments: arguments.to_owned(),
    };
    let assistant = |text: Option<&str>, tool_calls, raw| PromptMessage::Assistant {
        text: text.map(str::to_owned),
        reasoning: Some("never sent".to_owned()),
        tool_calls,
        raw,
    };
    let raw = RawTurn {
        provider: "anthropic".to_owned(),
        blocks: vec![
            r#"{"type":"thinking","thinking":"hm \u00e9","signature":"c2ln"}"#.to_owned(),
            r#"{"type":"tool_use","id":"b","name":"look","input":{"z":1,"a":1.0}}"#.to_owned(),
        ],
    };
    ModelRequest {
        model: "x/m".to_owned(),
        system: "Be kind.".to_owned(),
        messages: vec![
            PromptMessage::user("hello"),
            PromptMessage::user("are you there?"),
            assistant(
                Some("yes"),
                vec![call("a", "say", "{\"text\": \"hi\"}"), call("a2", "say", "{oops")],
                None,
            ),
            PromptMessage::tool_result("a", "said"),
            PromptMessage::user("quick, before the second result"),
            PromptMessage::ToolResult {
                call_id: "a2".to_owned(),
                text: "no JSON".to_owned(),
                is_error: true,
            },
            assistant(None, vec![call("b", "look", "{\"z\":1,\"a\":1.0}")], Some(raw)),
            PromptMessage::tool_result("b", "seen"),
            assistant(None, vec![], None),
            PromptMessage::user("go on"),
        ],
        tools: vec![ToolSpec {
            name: "say".to_owned(),
            description: "Says it.".to_owned(),
            parameters: json!({ "type": "object", "properties": { "text": { "type": "string" } } }),
        }],
        max_tokens: Some(100),
        temperature: Some(0.7),
        require_tool: true,
        response_format: None,
    }
}

/// A body with each message on its own line.
pub(in crate::provider) fn lines(body: &str) -> String {
    body.replace("{\"role\"", "\n{\"role\"").replace("\"tools\"", "\n\"tools\"")
}

/// Reads a stream that comes in these chunks.
pub(in crate::provider) fn read(
    wire: &dyn Wire,
    chunks: &[&[u8]],
) -> (Vec<Delta>, Result<ModelAnswer, Fault>) {
    let mut answering = Answering::new(wire.reader("m", &request()));
    let mut deltas = vec![];
    for chunk in chunks {
        match answering.push(chunk, &mut |delta| deltas.push(delta)) {
            Ok(Progress::More) => {}
            Ok(Progress::Done) => break,
            Err(fault) => return (deltas, Err(fault)),
        }
    }
    (deltas, answering.finish())
}

/// The answer of a whole stream, or what is wrong with it.
pub(in crate::provider) fn answer(wire: &dyn Wire, body: &str) -> Result<ModelAnswer, String> {
    read(wire, &[body.as_bytes()]).1.map_err(|fault| fault.into_error("x/m", None).to_string())
}

/// Cuts `body` at `cuts` and expects the same as from one chunk; a prefix of it is cut off.
pub(in crate::provider) fn check_chunking(
    wire: &dyn Wire,
    body: &str,
    cuts: &[usize],
) -> Result<(), TestCaseError> {
    let body = body.as_bytes();
    let mut cuts: Vec<_> = cuts.iter().map(|cut| cut % (body.len() + 1)).collect();
    cuts.extend([0, body.len()]);
    cuts.sort_unstable();
    let chunks: Vec<_> = cuts.windows(2).map(|pair| &body[pair[0]..pair[1]]).collect();
    let (whole_deltas, whole) = read(wire, &[body]);
    let (deltas, cut) = read(wire, &chunks);
    prop_assert_eq!(deltas, whole_deltas);
    prop_assert_eq!(cut.ok(), whole.ok());
    Ok(())
}

#[test]
fn results_stand_behind_their_calls() {
    let request = request();
    let kinds: Vec<_> = results_first(&request.messages)
        .into_iter()
        .map(|message| match message {
            PromptMessage::User { text } => text.as_str(),
            PromptMessage::Assistant { .. } => "-",
            PromptMessage::ToolResult { call_id, .. } => call_id.as_str(),
        })
        .collect();
    let late = "quick, before the second result";
    assert_eq!(kinds, ["hello", "are you there?", "-", "a", "a2", late, "-", "b", "-", "go on"]);
}

#[test]
fn lists_of_models_name_the_window_in_several_ways() {
    let list = r#"{"object":"list","data":[
        {"id":"a","context_length":8,"max_model_len":9},{"id":"org/b","max_model_len":9},{"id":"c"}]}"#;
    let list = models("openai", list).unwrap();
    let shown: Vec<_> = list.iter().map(|info| (info.handle.as_str(), info.context_window)).collect();
    assert_eq!(shown, [("openai/a", Some(8)), ("openai/org/b", Some(9)), ("openai/c", None)]);
    assert!(models("openai", "<html>").is_err());
}
