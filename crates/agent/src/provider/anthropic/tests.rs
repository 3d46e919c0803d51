use proptest::prelude::*;

use super::Messages;
use crate::provider::secret::Secret;
use crate::provider::wire::Wire;
use crate::provider::wire::tests::{answer, check_chunking, lines, read, request};
use crate::provider::{ModelRequest, PromptMessage};

fn wire() -> Messages {
    Messages { key: Secret::new("sk-secret".to_owned()) }
}

const STREAM: &str = concat!(
    "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"msg_1\",\"model\":\"claude-x\",\"usage\":{\"input_tokens\":10,\"cache_read_input_tokens\":5,\"cache_creation_input_tokens\":2,\"output_tokens\":1}}}\n\n",
    "event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"thinking\",\"thinking\":\"\",\"signature\":\"\"}}\n\n",
    "event: ping\ndata: {\"type\":\"ping\"}\n\n",
    "data: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"thinking_delta\",\"thinking\":\"h\u{e9} \\\"m\\\"\"}}\n\n",
    "data: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"signature_delta\",\"signature\":\"c2lnbmF0dXJl==\"}}\n\n",
    "data: {\"type\":\"content_block_stop\",\"index\":0}\n\n",
    "data: {\"type\":\"content_block_start\",\"index\":1,\"content_block\":{\"type\":\"redacted_thinking\", \"data\":\"x y\"}}\n\n",
    "data: {\"type\":\"content_block_start\",\"index\":2,\"content_block\":{\"type\":\"text\",\"text\":\"\"}}\n\n",
    "data: {\"type\":\"content_block_delta\",\"index\":2,\"delta\":{\"type\":\"text_delta\",\"text\":\"Hel\"}}\n\n",
    "data: {\"type\":\"content_block_delta\",\"index\":2,\"delta\":{\"type\":\"text_delta\",\"text\":\"lo\"}}\n\n",
    "data: {\"type\":\"content_block_start\",\"index\":3,\"content_block\":{\"type\":\"tool_use\",\"id\":\"toolu_1\",\"name\":\"say\",\"input\":{}}}\n\n",
    "data: {\"type\":\"content_block_delta\",\"index\":3,\"delta\":{\"type\":\"input_json_delta\",\"partial_json\":\"{\\\"z\\\": 1.0,\"}}\n\n",
    "data: {\"type\":\"content_block_delta\",\"index\":3,\"delta\":{\"type\":\"input_json_delta\",\"partial_json\":\" \\\"a\\\": 2}\"}}\n\n",
    "data: {\"type\":\"content_block_start\",\"index\":4,\"content_block\":{\"type\":\"tool_use\",\"id\":\"toolu_1\",\"name\":\"stop\",\"input\":{}}}\n\n",
    "data: {\"type\":\"from_the_future\",\"delta\":7}\n\n",
    "data: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"tool_use\"},\"usage\":{\"output_tokens\":42}}\n\n",
    "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n",
);

#[test]
fn a_request_with_everything() {
    insta::assert_snapshot!(lines(&wire().body("m", &request())), @r#"
    {"model":"m","max_tokens":100,
    "tools":[{"name":"say","description":"Says it.","input_schema":{"properties":{"text":{"type":"string"}},"type":"object"}}],"tool_choice":{"type":"any"},"system":[{"type":"text","text":"Be kind.","cache_control":{"type":"ephemeral"}}],"messages":[
    {"role":"user","content":[{"type":"text","text":"hello"},{"type":"text","text":"are you there?"}]},
    {"role":"assistant","content":[{"type":"text","text":"yes"},{"type":"tool_use","id":"a","name":"say","input":{"text": "hi"}},{"type":"tool_use","id":"a2","name":"say","input":{"not_an_object":"{oops"}}]},
    {"role":"user","content":[{"type":"tool_result","tool_use_id":"a","content":"said"},{"type":"tool_result","tool_use_id":"a2","content":"no JSON","is_error":true},{"type":"text","text":"quick, before the second result"}]},
    {"role":"assistant","content":[{"type":"thinking","thinking":"hm \u00e9","signature":"c2ln"},{"type":"tool_use","id":"b","name":"look","input":{"z":1,"a":1.0}}]},
    {"role":"user","content":[{"type":"tool_result","tool_use_id":"b","content":"seen"},{"type":"text","text":"go on","cache_control":{"type":"ephemeral"}}]}],"temperature":0.7,"stream":true}
    "#);
}

#[test]
fn blocks_of_its_own_go_back_byte_for_byte() {
    let body = wire().body("m", &request());
    let blocks = r#"{"role":"assistant","content":[{"type":"thinking","thinking":"hm \u00e9","signature":"c2ln"},{"type":"tool_use","id":"b","name":"look","input":{"z":1,"a":1.0}}]}"#;
    assert!(body.contains(blocks), "{body}");
    let mut other = request();
    if let PromptMessage::Assistant { raw: Some(raw), .. } = &mut other.messages[6] {
        raw.provider = "gemini".to_owned();
    }
    assert!(!wire().body("m", &other).contains("thinking"));
}

#[test]
fn a_conversation_that_begins_with_an_answer_gets_an_opening() {
    let messages = request().messages.split_off(2);
    let body = wire().body("m", &ModelRequest { messages, ..ModelRequest::default() });
    assert!(body.contains(r#""messages":[{"role":"user","content":[{"type":"text","text":"(The"#), "{body}");
}

#[test]
fn a_whole_stream() {
    insta::assert_debug_snapshot!(answer(&wire(), STREAM).unwrap(), @r#"
    ModelAnswer {
        model: "claude-x",
        text: Some(
            "Hello",
        ),
        reasoning: Some(
            "hé \"m\"",
        ),
        tool_calls: [
            ToolCall {
                id: "toolu_1",
                name: "say",
                arguments: "{\"z\": 1.0, \"a\": 2}",
            },
            ToolCall {
                id: "toolu_1_10_1",
                name: "stop",
                arguments: "{}",
            },
        ],
        stop: ToolUse,
        usage: Usage {
            input_tokens: 17,
            output_tokens: 42,
            cached_tokens: 5,
            reasoning_tokens: 0,
        },
        raw: Some(
            RawTurn {
                provider: "anthropic",
                blocks: [
                    "{\"type\":\"thinking\",\"thinking\":\"hé \\\"m\\\"\",\"signature\":\"c2lnbmF0dXJl==\"}",
                    "{\"type\":\"redacted_thinking\", \"data\":\"x y\"}",
                    "{\"type\":\"text\",\"text\":\"Hello\"}",
                    "{\"type\":\"tool_use\",\"id\":\"toolu_1\",\"name\":\"say\",\"input\":{\"z\": 1.0, \"a\": 2}}",
                    "{\"type\":\"tool_use\",\"id\":\"toolu_1_10_1\",\"name\":\"stop\",\"input\":{}}",
                ],
            },
        ),
    }
    "#);
    let deltas: Vec<_> =
        read(&wire(), &[STREAM.as_bytes()]).0.iter().map(|delta| format!("{delta:?}")).collect();
    insta::assert_snapshot!(deltas.join("\n"), @r#"
    Reasoning("hé \"m\"")
    Text("Hel")
    Text("lo")
    ToolCall { index: 0, id: "toolu_1", name: "say", arguments_part: "" }
    ToolCall { index: 0, id: "", name: "", arguments_part: "{\"z\": 1.0," }
    ToolCall { index: 0, id: "", name: "", arguments_part: " \"a\": 2}" }
    ToolCall { index: 1, id: "toolu_1_10_1", name: "stop", arguments_part: "" }
    "#);
}

#[test]
fn its_answer_can_be_sent_back() {
    let answer = answer(&wire(), STREAM).unwrap();
    let mut request = request();
    request.messages.push(answer.to_message());
    let body = wire().body("m", &request);
    for block in answer.raw.unwrap().blocks {
        assert!(body.contains(&block), "{block} is not in {body}");
    }
}

#[test]
fn every_prefix_of_a_stream_is_cut() {
    let ends: Vec<_> = STREAM.match_indices("\n\n").map(|(at, _)| at + 2).collect();
    for end in &ends[..ends.len() - 1] {
        assert_eq!(answer(&wire(), &STREAM[..*end]).unwrap_err(), answer(&wire(), "").unwrap_err());
    }
    insta::assert_snapshot!(answer(&wire(), "").unwrap_err(), @"the model's answer was cut off: the stream ended before the answer did");
}

#[test]
fn what_goes_wrong_inside_of_a_stream() {
    let fails = |data: &str| answer(&wire(), &format!("data: {data}\n\n")).unwrap_err();
    insta::assert_snapshot!(fails(r#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}"#), @"the model provider is not available (HTTP 529): Overloaded");
    insta::assert_snapshot!(fails(r#"{"type":"content_block_delta","index":3,"delta":{"type":"text_delta","text":"x"}}"#), @"the model provider sent something that is no answer: a piece of content block 3, which never started");
    insta::assert_snapshot!(fails(r#"{"type":"message_start"}"#), @"the model provider sent something that is no answer: an event message_start without what belongs to it");
    insta::assert_snapshot!(fails("{"), @"the model provider sent something that is no answer: EOF while parsing an object at line 1 column 1");
}

proptest! {
    #[test]
    fn any_chunking_gives_the_same_answer(cuts in proptest::collection::vec(0usize..10_000, 0..30)) {
        check_chunking(&wire(), STREAM, &cuts)?;
        check_chunking(&wire(), &STREAM.replace('\n', "\r\n"), &cuts)?;
    }

    #[test]
    fn no_bytes_make_it_panic(body in proptest::collection::vec(any::<u8>(), 0..200)) {
        drop(read(&wire(), &[b"data: ", &body, b"\n\n"]));
    }

    #[test]
    fn no_damage_makes_it_panic(at in 0usize..10_000, byte: u8) {
        let mut body = STREAM.as_bytes().to_vec();
        let at = at % body.len();
        body[at] = byte;
        drop(read(&wire(), &[&body]));
    }
}
