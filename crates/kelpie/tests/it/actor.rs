//! `kelpie actor` against a program of somebody else, and against `kelpie serve`.

use std::time::Duration;

use futures::future::{Either, select};
use kelpie::{Cluster, Http, Result, Schedule, Turn, actor, handlers, me, refuse, to};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::process::{Plan, client, create_agent, run, text};

/// A door that is opened slowly.
#[actor(name = "door", version = 1)]
#[derive(Default, Serialize, Deserialize)]
struct Door {
    opened: u32,
}

#[handlers]
impl Door {
    pub async fn open(&mut self, cx: &mut Turn, by: String, slowly: bool) -> Result<u32> {
        if by.is_empty() {
            return Err(refuse("door.nobody", "say who you are"));
        }
        cx.step("knock", || async { Ok(()) }).await?;
        if slowly {
            cx.step("creak", || async {
                cx.env().sleep(Duration::from_secs(60)).await;
                Ok(())
            })
            .await?;
        }
        self.opened += 1;
        cx.send(to::<Door>("next").open(by, false))?;
        cx.remind("oil", Schedule::Every(Duration::from_secs(86_400)), me::<Self>().oil()).await?;
        Ok(self.opened)
    }

    pub async fn open_another(&mut self, cx: &mut Turn, key: String) -> Result<u32> {
        Ok(cx.call(to::<Door>(&key).open("ann".to_owned(), true)).await?)
    }

    pub async fn creak(&mut self, cx: &mut Turn) -> Result<u32> {
        for inch in 0..1_000_usize {
            cx.step(("inch", inch), || async {
                cx.env().sleep(Duration::from_millis(20)).await;
                Ok(())
            })
            .await?;
        }
        Ok(self.opened)
    }

    pub async fn oil(&mut self, _: &mut Turn) -> Result<()> {
        Ok(())
    }
}

async fn doors() -> (Cluster, Http) {
    let cluster = kelpie::open("memory:").actor::<Door>().start().await.expect("a store in memory");
    let http = cluster.serve_http("127.0.0.1:0").start().await.expect("a free port");
    (cluster, http)
}

/// Runs `kelpie actor …`; gives its exit code and what it said.
async fn asked(server: &str, args: &[&str]) -> (Option<i32>, String) {
    let mut words = vec!["actor", "--server", server];
    words.extend(args);
    let output = run(&words).await;
    (output.status.code(), text(&output.stdout) + &text(&output.stderr))
}

async fn done(server: &str, args: &[&str]) -> String {
    let (code, said) = asked(server, args).await;
    assert_eq!(code, Some(0), "{args:?}: {said}");
    said
}

fn json_of(said: &str) -> Value {
    serde_json::from_str(said).unwrap_or_else(|error| panic!("{error}: {said}"))
}

#[tokio::test]
async fn an_actor_is_called_and_looked_at() {
    let (cluster, http) = doors().await;
    let url = http.url();
    let fast = r#"{"by": "ann", "slowly": false}"#;
    assert!(done(&url, &["list", "door"]).await.contains("no actor of type door was ever called"));
    assert!(done(&url, &["why", "door", "a/b"]).await.contains("it was never called"));
    assert_eq!(done(&url, &["call", "door", "a/b", "open", fast, "--key", "k"]).await, "1\n");
    assert_eq!(done(&url, &["call", "door", "a/b", "open", fast, "--key", "k"]).await, "1\n");
    assert_eq!(done(&url, &["call", "door", "a/b", "open", "[\"bob\", false]", "--json"]).await, "2\n");
    assert_eq!(json_of(&done(&url, &["get", "door", "a/b"]).await), json!({ "opened": 2 }));
    let listed = json_of(&done(&url, &["list", "door", "--json", "--limit", "1"]).await);
    assert_eq!(listed, json!([{ "key": "a/b", "owner": "node-1", "epoch": 1 }]));
    let listed = done(&url, &["list", "door"]).await;
    assert!(
        listed.starts_with("key") && listed.contains("\na/b ") && listed.contains(" node-1, 1\n"),
        "{listed}"
    );
    let why = done(&url, &["why", "door", "a/b"]).await;
    assert!(why.contains("owner         node-1, epoch 1") && why.contains("0 calls waiting"), "{why}");
    assert!(why.contains("there since   it was called there, and nobody had it"), "{why}");
    let history = done(&url, &["history", "door", "a/b"]).await;
    for part in ["state  ", "done, 1 B, forgotten in 24 h", "oil  oil, every 86400000 ms, due in 23 h"] {
        assert!(history.contains(part), "{part}: {history}");
    }
    let kept = json_of(&done(&url, &["history", "door", "a/b", "--json", "--limit", "1"]).await);
    assert_eq!((&kept["cut"], kept["replies"].as_array().map(Vec::len)), (&json!(["replies"]), Some(1)));
    cluster.close().await.expect("it closes");
}

#[tokio::test]
async fn a_turn_that_waits_is_shown_with_what_it_waits_for() {
    let (cluster, http) = doors().await;
    let url = http.url();
    let door = cluster.actor::<Door>("d");
    let slow = cluster
        .runtime()
        .env()
        .timeout(Duration::from_secs(30), door.open("ann".to_owned(), true).into_future());
    let look = async {
        loop {
            let why = done(&url, &["why", "door", "d"]).await;
            if why.contains("creak") {
                break (why, done(&url, &["history", "door", "d"]).await);
            }
        }
    };
    let (look, slow) = (std::pin::pin!(look), std::pin::pin!(slow));
    let Either::Left(((why, history), _)) = select(look, slow).await else {
        panic!("it creaks for a minute")
    };
    for part in [
        "running       open, called by anonymous of default, since",
        "waits for its step \"creak\"",
        "steps \"knock\"",
    ] {
        assert!(why.contains(part), "{part}: {why}");
    }
    for part in
        ["turn that has not ended", "open, called by anonymous", "step \"knock\": its result", "attempt 1"]
    {
        assert!(history.contains(part), "{part}: {history}");
    }
}

/// What was said, with `…` for turns and times.
fn without_times(said: &str) -> Vec<String> {
    let timeless = |line: &str| match (line.split_once(", since "), line.split_once(" ago: ")) {
        (Some((before, _)), _) => format!("{before}, since …"),
        (_, Some((_, after))) => format!("  last error    …: {after}"),
        (None, None) if line.starts_with("                turn ") => "                turn …".to_owned(),
        (None, None) => line.to_owned(),
    };
    said.lines().map(timeless).collect()
}

#[tokio::test]
async fn why_says_who_waits_for_whom_and_what_went_wrong_before() {
    let (cluster, http) = doors().await;
    let url = http.url();
    let first = cluster.actor::<Door>("first");
    first.open(String::new(), false).await.expect_err("nobody opens it");
    let calls = async {
        // Whoever calls first runs first; the other one waits behind it.
        let another = first.open_another("second".to_owned()).into_future();
        futures::join!(another, first.open("bob".to_owned(), false).into_future())
    };
    let look = async {
        loop {
            let (first, second) =
                (done(&url, &["why", "door", "first"]).await, done(&url, &["why", "door", "second"]).await);
            if first.contains("waiting       open") && second.contains("creak") {
                break (first, second);
            }
        }
    };
    let (look, calls) = (std::pin::pin!(look), std::pin::pin!(calls));
    let Either::Left(((first, second), _)) = select(look, calls).await else {
        panic!("it creaks for a minute")
    };
    assert_eq!(
        without_times(&first),
        [
            "default/door/first",
            "  owner         node-1, epoch 1",
            "  commits       0",
            "  there since   it was called there, and nobody had it",
            "  owes          nothing; 0 messages in the outbox",
            "  queue         1 call waiting",
            "  running       open_another, called by anonymous of default, since …",
            "                turn …",
            "                waits for a reply of default/door/second",
            "  waiting       open, called by anonymous of default, since …",
            "                turn …",
            "  last error    …: door.nobody: say who you are",
        ],
        "{first}"
    );
    let mut second = without_times(&second);
    // When a turn with a recorded step is looked at again.
    let owes = second.remove(4);
    assert!(
        owes.starts_with("  owes          woken ") && owes.ends_with("; 0 messages in the outbox"),
        "{owes}"
    );
    // The look at all that is owed when a node starts may have found it, too.
    let woken = second
        .iter()
        .position(|line| line.starts_with("  waiting       what it owes, called by the runtime"));
    let waiting = woken.map_or("0 calls", |at| {
        second.drain(at..at + 2);
        "1 call"
    });
    assert_eq!(
        second,
        [
            "default/door/second",
            "  owner         node-1, epoch 1",
            "  commits       1",
            "  there since   it was called there, and nobody had it",
            &format!("  queue         {waiting} waiting"),
            "  running       open, called by default/door/first, since …",
            "                turn …",
            "                call chain default/door/first",
            "                waits for its step \"creak\"",
            "  recorded      steps \"knock\"",
        ]
    );
}

#[tokio::test]
async fn a_call_takes_no_longer_than_its_deadline() {
    let (_cluster, http) = doors().await;
    let began = std::time::Instant::now();
    let slow = r#"{"by": "ann", "slowly": true}"#;
    let call = ["call", "door", "d", "open", slow, "--key", "k", "--deadline-ms", "400"];
    let (code, said) = asked(&http.url(), &call).await;
    assert_eq!(code, Some(1), "{said}");
    // Without one it has a minute for each of its repetitions.
    assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
}

#[tokio::test]
async fn what_went_wrong_is_said_and_has_an_exit_code() {
    let (_cluster, http) = doors().await;
    let url = http.url();
    for (args, code, said) in [
        (&["call", "door", "d", "open", r#"{"by": "", "slowly": false}"#][..], 1, "say who you are"),
        (
            &["call", "door", "d", "open", r#"{"by": 7, "slowly": false}"#],
            1,
            "body.by: invalid type: integer `7`",
        ),
        (&["call", "door", "d", "open"], 1, "body.by: it is missing"),
        (&["call", "door", "d", "open", "{"], 2, "EOF while parsing"),
        (&["call", "door", "d", "open", "7"], 2, "expected {\"name\": value}"),
        (&["call", "door", "d", "close", "{}"], 4, "have no handler `close`"),
        (&["call", "door", "d", "open", "{}", "--deadline-ms", "0"], 2, "0 is not in 1..=3600000"),
        (&["get", "window", "w"], 4, "no actor type `window`"),
        (&["get", "door", ".."], 2, "a URL cannot name it"),
        (&["why", "door", ""], 2, "an actor has a key"),
        (&["list", "window"], 4, "it has door"),
    ] {
        let (found, words) = asked(&url, args).await;
        assert!(found == Some(code) && words.contains(said), "{args:?}: {found:?} {words}");
    }
}

#[tokio::test]
async fn the_agents_of_a_server_are_actors_too() {
    let dir = tempfile::tempdir().expect("a directory");
    let plan = Plan::new(dir.path()).await.var("KELPIE_TOKEN", "s3cret");
    let server = plan.start().await;
    let url = plan.url();
    let (code, said) = asked(&url, &["list", "agent"]).await;
    assert!(code == Some(3) && said.contains("--token"), "{said}");
    server.kill().await;
    let plan = Plan::new(dir.path()).await;
    let server = plan.start().await;
    let url = plan.url();
    let agent = create_agent(&client(), &url, "ada", &[]).await;
    assert!(done(&url, &["list", "agent"]).await.contains(&agent));
    assert_eq!(json_of(&done(&url, &["get", "agent", &agent]).await)["name"], "ada");
    assert!(done(&url, &["why", "agent", &agent]).await.contains("node-1, epoch"));
    let (code, said) = asked(&url, &["call", "agent", &agent, "message", "{}"]).await;
    assert!(code == Some(4) && said.contains("/v1/agents"), "{said}");
    server.kill().await;
}

#[tokio::test]
async fn a_turn_is_stopped_and_an_actor_of_one_node_is_not_moved() {
    let (cluster, http) = doors().await;
    let url = http.url();
    let (code, said) = asked(&url, &["cancel", "door", "d"]).await;
    assert!(code == Some(4) && said.contains("No turn of the actor runs"), "{code:?} {said}");
    let slow = cluster.actor::<Door>("d").creak().into_future();
    let stop = async {
        while !done(&url, &["why", "door", "d"]).await.contains("inch") {}
        done(&url, &["cancel", "door", "d"]).await
    };
    let (slow, said) = futures::join!(slow, stop);
    assert!(said.starts_with("turn ") && said.contains(" is stopped: nothing of it is kept"), "{said}");
    assert!(slow.is_err(), "{slow:?}");
    let (code, said) = asked(&url, &["migrate", "door", "d", "--to", "n2"]).await;
    assert!(code == Some(1) && said.contains("this node serves alone"), "{code:?} {said}");
    let (code, said) = asked(&url, &["migrate", "door", "d"]).await;
    assert!(code == Some(2) && said.contains("--to"), "{code:?} {said}");
}
