use super::*;

fn say(seq_id: u64, kind: impl FnOnce(Message) -> RunEventKind, text: &str) -> RunEvent {
    let message = Message {
        id: "message-1".to_owned(),
        date_ms: 0,
        run_id: "run-1".to_owned(),
        step_id: None,
        otid: Some("otid-1".to_owned()),
        name: None,
        body: MessageBody::Assistant { text: text.to_owned() },
    };
    RunEvent { run_id: "run-1".to_owned(), seq_id, kind: kind(message) }
}

fn trace(script: Vec<RunEvent>) -> Vec<String> {
    let mut shown = Shown::new(Wanted { filter: Filter::default(), pings: false });
    let events = script.into_iter().flat_map(|event| shown.take(event));
    events.map(|event| String::from_utf8(line(&event).to_vec()).unwrap()).collect()
}

fn ids_and_words(lines: &[String]) -> Vec<(String, String, String)> {
    let part = |line: &String, name: &str| {
        let json: serde_json::Value = serde_json::from_str(line.trim_start_matches("data: ")).unwrap();
        json[name].as_str().unwrap().to_owned()
    };
    lines.iter().map(|line| (part(line, "id"), part(line, "otid"), part(line, "content"))).collect()
}

fn row(id: &str, otid: &str, content: &str) -> (String, String, String) {
    (id.to_owned(), otid.to_owned(), content.to_owned())
}

#[test]
fn the_whole_message_does_not_follow_its_pieces() {
    use RunEventKind::{Message as Whole, Piece};
    let lines = trace(vec![say(1, Piece, "a"), say(2, Piece, "b"), say(3, Whole, "ab")]);
    let expected = [row("message-1", "otid-1", "a"), row("message-1", "otid-1", "b")];
    assert_eq!(ids_and_words(&lines), expected);
}

#[test]
fn a_new_attempt_does_not_continue_what_was_sent_in_vain() {
    use RunEventKind::{Message as Whole, Piece, Void};
    let void = RunEvent { run_id: "run-1".to_owned(), seq_id: 2, kind: Void };
    let lines = trace(vec![say(1, Piece, "a"), void.clone(), say(3, Piece, "b"), say(4, Whole, "b")]);
    let expected = [row("message-1", "otid-1", "a"), row("message-1-again1", "otid-1-again1", "b")];
    assert_eq!(ids_and_words(&lines), expected);

    let lines = trace(vec![say(1, Piece, "a"), void, say(3, Whole, "b")]);
    assert_eq!(ids_and_words(&lines), expected);
}
