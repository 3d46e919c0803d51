use super::*;

fn heard(text: &str) -> Said {
    Said::Heard { by: Speaker::User, text: text.into(), name: None, otid: None }
}

fn answered(call: &str) -> Said {
    let call =
        CallMade { id: call.into(), name: "now".into(), arguments: "{}".into(), says: None, asks: false };
    Said::Answer { text: None, reasoning: None, calls: vec![call], raw: None }
}

fn result(call_id: &str, text: &str) -> Said {
    Said::Result {
        call_id: call_id.into(),
        name: "now".into(),
        text: text.into(),
        is_error: false,
        of_speech: false,
    }
}

fn log(said: Vec<Said>) -> Vec<(u64, Entry)> {
    let entry = |said| Entry { run_id: "run-1".into(), step: 0, date_ms: 0, said };
    (10..).zip(said.into_iter().map(entry)).collect()
}

#[test]
fn the_oldest_whole_exchanges_leave_and_the_last_one_never_does() {
    let long = "x".repeat(100);
    let entries = log(vec![
        heard(&long),
        answered("a"),
        result("a", &long),
        heard(&long),
        answered("b"),
        result("b", &long),
        heard("short"),
    ]);
    assert_eq!(start(&entries, 10, 1_000), 10, "all fits");
    assert_eq!(start(&entries, 10, 500), 13, "one exchange leaves, with its call and result");
    assert_eq!(start(&entries, 10, 200), 16);
    assert_eq!(start(&entries, 10, 1), 16, "what the model is asked about stays");
    assert_eq!(start(&entries[..3], 10, 1), 10);
}
