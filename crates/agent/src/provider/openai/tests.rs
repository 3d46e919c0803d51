use proptest::prelude::*;

use super::Chat;
use crate::provider::wire::Wire;
use crate::provider::wire::tests::{answer, check_chunking, lines, read, request};
use crate::provider::{ModelAnswer, ToolCall};

fn wire() -> Chat {
    Chat { key: None, own_service: false }
}

const STREAM: &str = concat!(
    "data: {\"id\":\"c\",\"model\":\"gpt-x-1\",\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":null,\"reasoning_content\":\"h\u{e9}\",\"reasoning\":\"both\"},\"finish_reason\":null}]}\n\n",
    ": keep-alive\n\n",
    "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Hel\"}}]}\n\n",
    "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"lo\"}}]}\n\n",
    "data: {\"choices\":[{\"index\":0,\"delta\":{\"tool_calls\":[{\"index\":0,\"id\":\"call_x\",\"type\":\"function\",\"function\":{\"name\":\"say\",\"arguments\":\"\"}}]}}]}\n\n",
    "data: {\"choices\":[{\"index\":0,\"delta\":{\"tool_calls\":[{\"index\":0,\"function\":{\"arguments\":\"{\\\"a\\\":\"}},{\"index\":1,\"id\":\"call_y\",\"function\":{\"name\":\"stop\",\"arguments\":null}}]}}]}\n\n",
    "data: {\"choices\":[{\"index\":0,\"delta\":{\"tool_calls\":[{\"index\":0,\"function\":{\"arguments\":\" 1.0}\"}}]}}]}\n\n",
    "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"tool_calls\"}]}\n\n",
    "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":10,\"completion_tokens\":4,\"prompt_tokens_details\":{\"cached_tokens\":3},\"completion_tokens_details\":{\"reasoning_tokens\":2}}}\n\n",
    "data: [DONE]\n\n",
);

/// A stream of chunks with these deltas, which ends well.
fn deltas(deltas: &[&str]) -> ModelAnswer {
    let chunks: String =
        deltas.iter().map(|delta| format!("data: {{\"choices\":[{{\"delta\":{delta}}}]}}\n\n")).collect();
    answer(&wire(), &format!("{chunks}data: [DONE]\n\n")).unwrap()
}

fn calls(answer: &ModelAnswer) -> Vec<String> {
    let shown = |call: &ToolCall| format!("{} {}({})", call.id, call.name, call.arguments);
    answer.tool_calls.iter().map(shown).collect()
}

#[test]
fn a_request_with_everything() {
    insta::assert_snapshot!(lines(&wire().body("m", &request())), @r#"
    {"model":"m","messages":[
    {"role":"system","content":"Be kind."},
    {"role":"user","content":"hello"},
    {"role":"user","content":"are you there?"},
    {"role":"assistant","content":"yes","tool_calls":[{"id":"a","type":"function","function":{"name":"say","arguments":"{\"text\": \"hi\"}"}},{"id":"a2","type":"function","function":{"name":"say","arguments":"{oops"}}]},
    {"role":"tool","tool_call_id":"a","content":"said"},
    {"role":"tool","tool_call_id":"a2","content":"Error: no JSON"},
    {"role":"user","content":"quick, before the second result"},
    {"role":"assistant","content":null,"tool_calls":[{"id":"b","type":"function","function":{"name":"look","arguments":"{\"z\":1,\"a\":1.0}"}}]},
    {"role":"tool","tool_call_id":"b","content":"seen"},
    {"role":"user","content":"go on"}],
    "tools":[{"type":"function","function":{"name":"say","description":"Says it.","parameters":{"properties":{"text":{"type":"string"}},"type":"object"}}}],"tool_choice":"required","max_tokens":100,"temperature":0.7,"stream":true,"stream_options":{"include_usage":true}}
    "#);
}

#[test]
fn the_own_service_has_another_name_for_the_longest_answer() {
    let body = Chat { key: None, own_service: true }.body("m", &request());
    assert!(body.contains("\"max_completion_tokens\":100") && !body.contains("\"max_tokens\""), "{body}");
}

#[test]
fn a_whole_stream() {
    insta::assert_debug_snapshot!(answer(&wire(), STREAM).unwrap(), @r#"
    ModelAnswer {
        model: "gpt-x-1",
        text: Some(
            "Hello",
        ),
        reasoning: Some(
            "hé",
        ),
        tool_calls: [
            ToolCall {
                id: "call_x",
                name: "say",
                arguments: "{\"a\": 1.0}",
            },
            ToolCall {
                id: "call_y",
                name: "stop",
                arguments: "{}",
            },
        ],
        stop: ToolUse,
        usage: Usage {
            input_tokens: 10,
            output_tokens: 4,
            cached_tokens: 3,
            reasoning_tokens: 2,
        },
        raw: None,
    }
    "#);
    let deltas: Vec<_> =
        read(&wire(), &[STREAM.as_bytes()]).0.iter().map(|delta| format!("{delta:?}")).collect();
    insta::assert_snapshot!(deltas.join("\n"), @r#"
    Reasoning("hé")
    Text("Hel")
    Text("lo")
    ToolCall { index: 0, id: "call_x", name: "say", arguments_part: "" }
    ToolCall { index: 0, id: "", name: "", arguments_part: "{\"a\":" }
    ToolCall { index: 1, id: "call_y", name: "stop", arguments_part: "" }
    ToolCall { index: 0, id: "", name: "", arguments_part: " 1.0}" }
    "#);
}

#[test]
fn without_a_reason_to_finish_it_is_cut() {
    let ends: Vec<_> = STREAM.match_indices("\n\n").map(|(at, _)| at + 2).collect();
    for end in &ends[..ends.len() - 3] {
        assert!(answer(&wire(), &STREAM[..*end]).unwrap_err().contains("cut off"), "at {end}");
    }
    for end in &ends[ends.len() - 3..] {
        assert!(answer(&wire(), &STREAM[..*end]).is_ok(), "at {end}");
    }
}

#[test]
fn servers_leave_out_what_they_like() {
    let no_index = deltas(&[
        r#"{"tool_calls":[{"id":"p","function":{"name":"f","arguments":"{}"}},{"id":"q","function":{"name":"g","arguments":"{\"n\":"}}]}"#,
        r#"{"tool_calls":[{"function":{"arguments":"1}"}}]}"#,
    ]);
    assert_eq!(calls(&no_index), ["p f({})", "q g({\"n\":1})"]);
    let all_zero = deltas(&[
        r#"{"tool_calls":[{"index":0,"id":"p","function":{"name":"f","arguments":"{\"n\": 1}"}}]}"#,
        r#"{"tool_calls":[{"index":0,"id":"q","function":{"name":"f","arguments":{"n": 2}}}]}"#,
    ]);
    assert_eq!(calls(&all_zero), ["p f({\"n\": 1})", "q f({\"n\": 2})"]);
    let no_ids = deltas(&[
        r#"{"tool_calls":[{"index":0,"function":{"name":"f"}},{"index":1,"function":{"name":"f","arguments":"{oops"}}]}"#,
    ]);
    assert_eq!(calls(&no_ids), ["call_10_0 f({})", "call_10_1 f({oops)"]);
    let taken = deltas(&[
        r#"{"tool_calls":[{"index":0,"id":"a","function":{"name":"f"}},{"index":1,"id":"new","function":{"name":"f"}},{"index":2,"id":"new","function":{"name":"f"}}]}"#,
    ]);
    assert_eq!(calls(&taken), ["a_10_0 f({})", "new f({})", "new_10_2 f({})"]);
}

#[test]
fn a_server_that_does_not_stream_is_understood() {
    let body = r#"{"model":"m1","choices":[{"message":{"role":"assistant","content":"hi","tool_calls":[{"id":"p","function":{"name":"f","arguments":"{}"}}]},"finish_reason":"stop"}],"usage":{"prompt_tokens":1,"completion_tokens":2}}"#;
    let answer = answer(&wire(), &format!("data: {body}\n\n")).unwrap();
    assert_eq!((answer.text.as_deref(), answer.stop), (Some("hi"), crate::provider::Stop::ToolUse));
    assert_eq!(answer.usage.output_tokens, 2);
}

#[test]
fn what_goes_wrong_inside_of_a_stream() {
    let fails = |data: &str| answer(&wire(), &format!("data: {data}\n\n")).unwrap_err();
    insta::assert_snapshot!(fails(r#"{"error":{"message":"slow down","code":429}}"#), @"rate limited by the model provider: slow down");
    insta::assert_snapshot!(fails(r#"{"error":"boom"}"#), @"the model provider is not available (HTTP 500): boom");
    insta::assert_snapshot!(fails("{"), @"the model provider sent something that is no answer: EOF while parsing an object at line 1 column 1");
    insta::assert_snapshot!(fails(r#"{"choices":[{"delta":{"tool_calls":[{"function":{"arguments":"x"}}]}}]}"#), @"the model provider sent something that is no answer: a tool call without a name");
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
