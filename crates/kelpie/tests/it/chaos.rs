//! What the bench `chaos` makes of what it has seen.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::fault::Fault;
use crate::load::{Door, Load};
use crate::process::{client, free_address};
use crate::report::Report;
use crate::round::{Facts, Round, Seen, Verdict};
use crate::table::table;

/// A round in which all was as it has to be.
fn fine(fault: Fault) -> Round {
    let seen = Seen { answered: 100, ..Seen::default() };
    let verdict = Verdict { seen, ..Verdict::default() };
    Round { fault, time: Duration::from_secs(9), facts: Facts::default(), verdict }
}

fn run(asked: &[Fault], rounds: Vec<Round>) -> Report {
    Report { asked: asked.to_vec(), rounds, stopped: None }
}

#[test]
fn a_run_holds_when_each_fault_was_carried_out_and_nothing_was_wrong() {
    let asked = [Fault::Kill, Fault::Drain];
    let report = run(&asked, asked.map(fine).into());
    assert!(report.held());
    assert!(report.summary().starts_with("held: 2 rounds, 200 calls, 0 lost"), "{}", report.summary());
    assert_eq!(report.json("here")["held"], true);
}

#[test]
fn a_fault_that_was_not_reached_or_not_run_is_named_and_the_run_does_not_hold() {
    let mut report = run(&[Fault::Kill, Fault::Drain, Fault::Clock], vec![fine(Fault::Kill)]);
    report.stopped = Some("Drain: it takes too long".to_owned());
    let said = report.summary();
    assert!(said.starts_with("BROKEN: 1 rounds, NOT REACHED: Drain, Clock, 100 calls"), "{said}");
    assert!(said.ends_with("; stopped: Drain: it takes too long"), "{said}");
    let json = report.json("here");
    assert_eq!(json["held"], false);
    assert_eq!(json["not_reached"], serde_json::json!(["Drain", "Clock"]));
    report.stopped = None;
    assert!(!report.held(), "two faults had no round");

    let clock = || {
        let mut clock = fine(Fault::Clock);
        clock.facts.not_run = Some("no library".to_owned());
        clock
    };
    assert_eq!(clock().lines(), ["Clock            NOT RUN: no library"]);
    let report = run(&[Fault::Kill, Fault::Clock], vec![fine(Fault::Kill), clock(), clock()]);
    let said = report.summary();
    assert!(said.starts_with("BROKEN: 3 rounds, NOT RUN: Clock, 300 calls"), "{said}");
    assert!(!report.held());
    assert_eq!(report.json("here")["not_run"], serde_json::json!(["Clock"]));

    let stopped =
        Report { stopped: Some("told to".to_owned()), ..run(&[Fault::Kill], vec![fine(Fault::Kill)]) };
    assert!(!stopped.held());
    assert!(!run(&[Fault::Kill], Vec::new()).held(), "nothing was shown");
}

#[test]
fn requests_that_were_taken_and_not_answered_break_planned_rounds_and_are_told_in_others() {
    let taken = |fault| {
        let mut round = fine(fault);
        round.verdict.seen.unanswered.insert("a node that leaves: reset".to_owned(), 3);
        round
    };
    for fault in [Fault::Rolling, Fault::Drain] {
        let round = taken(fault);
        assert_eq!(round.failed(), 3);
        assert!(round.problems()[0].contains("a node that leaves: reset"), "{:?}", round.problems());
        let report = run(&[fault], vec![round]);
        assert!(!report.held());
        let said = report.summary();
        assert!(said.contains("3 failed in drains and rolling restarts, 3 in all"), "{said}");
    }
    let round = taken(Fault::Kill);
    assert_eq!((round.failed(), round.problems()), (0, Vec::new()));
    assert!(round.lines()[0].contains("a node that leaves: reset"), "{:?}", round.lines());
}

#[test]
fn each_fault_has_a_row_of_its_rounds_in_the_table() {
    let mut first = fine(Fault::OneWay);
    first.facts.answered = [100, 300].map(Duration::from_millis).to_vec();
    first.verdict.seen.longest = Duration::from_millis(2_500);
    let mut second = fine(Fault::OneWay);
    second.facts.answered = vec![Duration::from_millis(200)];
    second.facts.drained = vec![Duration::from_millis(40)];
    let table = table(&[first, fine(Fault::Kill), second]);
    let rows: Vec<&str> = table.lines().filter(|line| line.starts_with("| `")).collect();
    assert_eq!(
        rows,
        [
            "| `one-way` | 2 | 200 | 2.50 s | 0 | 0, 0 | 0.20 s | 0.30 s | 0.04 s | 0.04 s |",
            "| `kill` | 1 | 100 | 0.00 s | 0 | 0, 0 | – | – | – | – |",
        ]
    );
}

/// A server that takes connections, reads what comes, and says `answer` if there is one.
async fn door(answer: Option<String>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("bound");
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = [0; 4096];
            let read = stream.read(&mut request).await;
            if let (Some(answer), Ok(_)) = (&answer, read) {
                drop(stream.write_all(answer.as_bytes()).await);
            }
        }
    });
    address
}

fn says(status: &str, body: &str) -> Option<String> {
    let length = body.len();
    Some(format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"))
}

/// What is seen when calls meet such a node, or one that answers.
async fn seen(node: SocketAddr, leaving: bool) -> Seen {
    let good = door(says("200 OK", "1")).await;
    let doors = [(node, leaving), (good, false)].map(|(address, leaving)| Door {
        url: format!("http://{address}"),
        leaving: AtomicBool::new(leaving),
    });
    let (env, doors) = (kelpie_env::real::env(), Arc::new(doors.into()));
    let load = Load::new(env, client(), "secret", doors, "r".to_owned());
    // Each begins at a random one.
    for _ in 0..32 {
        assert_eq!(load.add(0, "key", None).await, Some(1));
    }
    load.seen.lock().clone()
}

#[tokio::test]
async fn a_node_that_took_a_request_is_told_apart_from_one_that_is_not_there() {
    let gone = seen(free_address().await, true).await;
    assert!(gone.again > 0 && gone.refusals.is_empty() && gone.unanswered.is_empty(), "{gone:?}");
    let gone = seen(free_address().await, false).await;
    let (why, times) = gone.refusals.first_key_value().expect("a node that stays has to be there");
    assert!(why.contains("refused") && *times == gone.again && gone.unanswered.is_empty(), "{gone:?}");

    for (leaving, who) in [(true, "a node that leaves: "), (false, "a node that stays: ")] {
        let silent = seen(door(None).await, leaving).await;
        let (how, times) = silent.unanswered.first_key_value().expect("it took requests");
        assert!(how.starts_with(who) && *times > 0 && silent.refusals.is_empty(), "{silent:?}");
        assert_eq!(silent.unanswered.values().sum::<u64>(), silent.again);
        assert_eq!((silent.answered, silent.failed), (32, 0));
    }

    let not_run = || door(says("503 Busy", r#"{"code":"a.b","advice":"not_run"}"#));
    let leaves = seen(not_run().await, true).await;
    assert!(leaves.again > 0 && leaves.refusals.is_empty() && leaves.unanswered.is_empty(), "{leaves:?}");
    let stays = seen(not_run().await, false).await;
    assert_eq!(stays.refusals.get("503 a.b"), Some(&stays.again), "{stays:?}");
    let unknown = door(says("504 Late", r#"{"code":"a.b","advice":"unknown"}"#));
    let lost = seen(unknown.await, true).await;
    assert_eq!(lost.unanswered.get("a node that leaves: 504 a.b"), Some(&lost.again), "{lost:?}");
}
