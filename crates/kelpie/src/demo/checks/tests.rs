//! Each claim fails when what it claims is not so.

use serde_json::json;

use super::*;

struct World {
    before: Vec<Value>,
    after: Vec<Value>,
    blocks: Vec<Value>,
    requests: Vec<String>,
    charges: Vec<String>,
    again: Value,
}

fn call(id: &str) -> Value {
    json!({ "message_type": "tool_call_message", "tool_call": { "name": "charge", "tool_call_id": id } })
}

fn result(id: &str) -> Value {
    json!({ "message_type": "tool_return_message", "tool_call_id": id })
}

fn good() -> World {
    let question = json!({ "message_type": "user_message", "content": "charge it" });
    World {
        before: vec![question.clone(), call("c1")],
        after: vec![question, call("c1"), result("c1")],
        blocks: vec![json!({ "label": "human", "value": "likes Assam" })],
        requests: vec!["k".into(), "k".into()],
        charges: vec!["k".into()],
        again: json!({ "messages": [] }),
    }
}

/// The claims that do not hold, by position.
fn wrong(world: &World) -> Vec<usize> {
    let claims = judge(&Seen {
        tool: "charge",
        fact: "Assam",
        asked: "charge it",
        before: &world.before,
        after: &world.after,
        blocks: &world.blocks,
        requests: &world.requests,
        charges: &world.charges,
        reply: &json!({ "messages": [] }),
        again: &world.again,
    });
    claims.iter().enumerate().filter(|(_, claim)| claim.wrong.is_some()).map(|(at, _)| at).collect()
}

#[test]
fn a_good_world_passes_and_each_fault_is_named() {
    assert_eq!(wrong(&good()), Vec::<usize>::new());
    let other_call = World { after: vec![good().after[0].clone(), call("c2"), result("c2")], ..good() };
    assert_eq!(wrong(&other_call), [0]);
    assert_eq!(wrong(&World { requests: vec!["k".into(), "l".into()], ..good() }), [1]);
    assert_eq!(wrong(&World { charges: vec!["k".into(), "k".into()], ..good() }), [2]);
    let no_result = World { after: good().after[..2].to_vec(), ..good() };
    assert_eq!(wrong(&no_result), [3]);
    let twice = World { after: [&good().after[..1], &good().after[..]].concat(), ..good() };
    assert_eq!(wrong(&twice), [3]);
    assert_eq!(wrong(&World { blocks: vec![], ..good() }), [4]);
    assert_eq!(wrong(&World { again: json!({}), ..good() }), [5]);
}
