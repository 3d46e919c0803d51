use serde_json::{Value, json};

use super::*;
use crate::provider::openai::Chat;
use crate::provider::{ToolSpec, Usage};

fn tool(name: &str) -> ToolSpec {
    let parameters =
        json!({ "type": "object", "properties": { "text": { "type": "string" } }, "required": ["text"] });
    ToolSpec { name: name.into(), description: "Keeps a text.".into(), parameters }
}

fn wire() -> JsonSchema<Chat> {
    JsonSchema(Chat { key: None, own_service: false })
}

fn request() -> ModelRequest {
    let call = ToolCall { id: "call_0".into(), name: "note".into(), arguments: "{\"text\":\"tea\"}".into() };
    let answered = PromptMessage::Assistant {
        text: None,
        reasoning: Some("hm".into()),
        tool_calls: vec![call],
        raw: None,
    };
    ModelRequest {
        system: "Be kind.".into(),
        messages: vec![
            PromptMessage::user("I like tea."),
            answered,
            PromptMessage::tool_result("call_0", "kept"),
        ],
        tools: vec![tool("note")],
        ..ModelRequest::default()
    }
}

#[test]
fn tools_become_the_form_of_the_answer() {
    let body: Value = serde_json::from_str(&wire().body("small", &request())).expect("JSON");
    assert!(body.get("tools").is_none() && body.get("tool_choice").is_none(), "{body}");
    let messages = serde_json::to_string_pretty(&body["messages"]).expect("JSON");
    insta::assert_snapshot!(messages, @r#"
    [
      {
        "content": "Be kind.\n\nAnswer with one JSON object and nothing else. To call a tool: {\"call\": NAME, \"with\": ARGUMENTS}. To say something: {\"say\": TEXT}. The tools:\nnote: Keeps a text. Arguments: {\"properties\":{\"text\":{\"type\":\"string\"}},\"required\":[\"text\"],\"type\":\"object\"}",
        "role": "system"
      },
      {
        "content": "I like tea.",
        "role": "user"
      },
      {
        "content": "{\"call\":\"note\",\"with\":{\"text\":\"tea\"}}",
        "role": "assistant"
      },
      {
        "content": "<tool note> returned: kept",
        "role": "user"
      }
    ]
    "#);
    let forms = body["response_format"]["json_schema"]["schema"]["anyOf"].as_array().expect("forms").clone();
    assert_eq!(forms.len(), 2, "{forms:?}");
    assert_eq!(forms[0]["properties"]["call"], json!({ "const": "note" }));
    assert_eq!(forms[0]["required"], json!(["call", "with"]));
    assert_eq!(forms[1]["properties"]["say"], json!({ "type": "string" }));
}

#[test]
fn a_tool_that_must_be_called_leaves_no_other_answer() {
    let request = ModelRequest { require_tool: true, ..request() };
    let body: Value = serde_json::from_str(&wire().body("small", &request)).expect("JSON");
    assert_eq!(body["response_format"]["json_schema"]["schema"]["anyOf"].as_array().map(Vec::len), Some(1));
    let plain = ModelRequest { tools: Vec::new(), ..request };
    let body: Value = serde_json::from_str(&wire().body("small", &plain)).expect("JSON");
    assert!(body.get("response_format").is_none(), "nothing to call, nothing to hold it to: {body}");
}

/// The answer that comes in these parts, and the pieces that were told.
fn answered(parts: &[&str], reason: &str) -> (ModelAnswer, Vec<Delta>) {
    let mut reader = wire().reader("small", &request());
    let mut told = Vec::new();
    for part in parts {
        let chunk = json!({ "choices": [{ "delta": { "content": part } }] }).to_string();
        reader.event(&chunk, &mut |delta| told.push(delta)).expect("a chunk");
    }
    let end = json!({ "choices": [{ "delta": {}, "finish_reason": reason }],
        "usage": { "prompt_tokens": 5, "completion_tokens": 3 } });
    reader.event(&end.to_string(), &mut |delta| told.push(delta)).expect("the end");
    (reader.finish().expect("an answer"), told)
}

#[test]
fn the_answer_is_a_call_and_its_pieces_are_arguments() {
    let parts = ["{ \"ca", "ll\" : \"note\",\n\"with\":", " {\"text\":", " \"a } \\\" b\"", "} ", "}\n"];
    let (answer, told) = answered(&parts, "stop");
    let [call] = &answer.tool_calls[..] else { panic!("{answer:?}") };
    assert_eq!((call.name.as_str(), call.arguments.as_str()), ("note", r#"{"text": "a } \" b"}"#));
    assert!(!call.id.is_empty() && call.id != "call_0" && answer.text.is_none(), "{answer:?}");
    assert_eq!(
        (answer.stop, answer.usage),
        (Stop::ToolUse, Usage { input_tokens: 5, output_tokens: 3, ..Usage::default() })
    );
    let mut pieces = String::new();
    for (place, delta) in told.iter().enumerate() {
        let Delta::ToolCall { index: 0, id, name, arguments_part } = delta else { panic!("{delta:?}") };
        assert_eq!((id == &call.id, name == "note"), (place == 0, place == 0), "{told:?}");
        pieces.push_str(arguments_part);
    }
    assert_eq!(pieces, call.arguments);
    assert!(told.len() > 2, "it comes in pieces: {told:?}");
}

#[test]
fn the_answer_is_a_text_and_escapes_are_not_told_in_halves() {
    let parts = ["{\"say\": \"caf\\u00", "e9 \\ud83d", "\\ude00 \\", "n end\"}"];
    let (answer, told) = answered(&parts, "stop");
    assert_eq!((answer.text.as_deref(), answer.tool_calls.len()), (Some("caf\u{e9} \u{1F600} \n end"), 0));
    let piece = |delta: &Delta| {
        let Delta::Text(part) = delta else { panic!("{delta:?}") };
        part.clone()
    };
    let pieces: String = told.iter().map(piece).collect();
    assert_eq!(Some(pieces.as_str()), answer.text.as_deref());
}

#[test]
fn a_call_that_is_cut_off_is_one_with_bad_arguments_and_other_text_stays_text() {
    let (answer, _) = answered(&["{\"call\":\"note\",\"with\":{\"text\":\"te"], "length");
    assert_eq!((answer.tool_calls[0].arguments.as_str(), answer.stop), ("{\"text\":\"te", Stop::MaxTokens));
    let (answer, told) = answered(&["Sure! ", "Tea it is."], "stop");
    assert_eq!((answer.text.as_deref(), answer.tool_calls.len()), (Some("Sure! Tea it is."), 0));
    assert!(told.is_empty(), "{told:?}");
}
