//! Where actors of a program with wishes go: three processes of it on one database.
//!
//! `kelpie serve` has agents alone, which have no wish. So each node is a process of this very test
//! binary, which runs the one test that is the program.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use kelpie::{Result, Turn, actor, handlers};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::io::AsyncReadExt;
use tokio::process::{Child, ChildStdin, Command};

use super::fresh;
use crate::process::{client, free_address, get, post, run, text};

/// Tells the program what it is to be.
const SEAT: &str = "KELPIE_TEST_SEAT";
/// How long a node may take to start, on a loaded machine.
const LIMIT: Duration = Duration::from_secs(60);

/// Wants a node with a label, and is busy for as long as it is told.
#[actor(name = "painter", version = 1, label = "gpu")]
#[derive(Default, Serialize, Deserialize)]
struct Painter {
    painted: u32,
}

#[handlers]
impl Painter {
    pub async fn paint(&mut self, cx: &mut Turn, millis: u64) -> Result<u32> {
        cx.env().sleep(Duration::from_millis(millis)).await;
        self.painted += 1;
        Ok(self.painted)
    }
}

#[derive(Serialize, Deserialize)]
struct Seat {
    node: String,
    store: String,
    listen: SocketAddr,
    labels: Vec<String>,
    capacity: u64,
}

/// The program, where it is told to be one; it ends when its standard input does.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_program() {
    let Ok(seat) = std::env::var(SEAT) else { return };
    let seat: Seat = serde_json::from_str(&seat).expect("a seat");
    let builder = kelpie::open(seat.store).actor::<Painter>().node(seat.node).advertise("127.0.0.1:0");
    let builder = seat.labels.into_iter().fold(builder, kelpie::Builder::label);
    let cluster = builder.capacity(seat.capacity).start().await.expect("it starts");
    let _http = cluster.serve_http(seat.listen.to_string()).start().await.expect("a free port");
    tokio::io::stdin().read_to_end(&mut Vec::new()).await.expect("a pipe");
}

struct Program {
    url: String,
    _child: Child,
    _stdin: Option<ChildStdin>,
}

impl Program {
    async fn start(dir: &Path, store: &str, node: &str, labels: &[&str], capacity: u64) -> Self {
        let listen = free_address().await;
        let labels = labels.iter().map(|label| (*label).to_owned()).collect();
        let seat = Seat { node: node.to_owned(), store: store.to_owned(), listen, labels, capacity };
        let log = std::fs::File::create(dir.join(node)).expect("a log file");
        let mut command = Command::new(std::env::current_exe().expect("this binary"));
        command.args(["--exact", "postgres::placed::the_program", "--nocapture"]);
        command.env(SEAT, json!(seat).to_string()).stdin(Stdio::piped()).kill_on_drop(true);
        command.stdout(log.try_clone().expect("a log file")).stderr(log);
        let mut child = command.spawn().expect("this binary starts");
        let (url, stdin) = (format!("http://{listen}"), child.stdin.take());
        let ready = async {
            while !client()
                .get(format!("{url}/ready"))
                .send()
                .await
                .is_ok_and(|answer| answer.status() == 200)
            {
                assert_eq!(child.try_wait().expect("a child"), None, "{node} ended: see {dir:?}");
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(LIMIT, ready).await.expect("ready in time");
        Self { url, _child: child, _stdin: stdin }
    }

    async fn why(&self, painter: &str) -> Value {
        get(&client(), &format!("{}/v1/actors/painter/{painter}/why", self.url)).await
    }

    /// Waits until a painter is at work; says where.
    async fn busy(&self, painter: &str) -> String {
        let busy = async {
            loop {
                let why = self.why(painter).await;
                let begun = |turns: &Vec<Value>| turns.iter().any(|turn| turn["begun"] == true);
                if why["turns"].as_array().is_some_and(begun) {
                    return why["owner"].as_str().expect("an owner").to_owned();
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(LIMIT, busy).await.expect("it begins")
    }

    async fn told(&self, painter: &str) -> String {
        let told = run(&["actor", "why", "painter", painter, "--server", &self.url]).await;
        assert_eq!(told.status.code(), Some(0), "{}", text(&told.stderr));
        text(&told.stdout)
    }
}

/// Has a painter paint for so long; the answer.
async fn paint(url: String, painter: &'static str, millis: u64) -> (u16, String) {
    let url = format!("{url}/v1/actors/painter/{painter}/paint");
    let answer = post(&client(), &url, painter, &json!([millis])).await;
    let (status, body) = answer.expect("an answer");
    (status, text(&body))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_actor_goes_where_its_label_is_and_elsewhere_when_there_is_no_room() {
    let dir = tempfile::tempdir().expect("a directory");
    let store = fresh();
    let _two = Program::start(dir.path(), &store, "n2", &["gpu", "zone=a"], 1).await;
    let _three = Program::start(dir.path(), &store, "n3", &["gpu"], 1).await;
    // Whoever comes last knows all from the beginning.
    let plain = Program::start(dir.path(), &store, "n1", &[], 100).await;
    let (nodes, painted) = (format!("{}/v1/cluster/nodes", plain.url), 30_000);
    let list = get(&client(), &nodes).await;
    let labels: Vec<&Value> =
        list["nodes"].as_array().expect("a list").iter().map(|n| &n["labels"]).collect();
    assert_eq!(labels, [&json!([]), &json!(["gpu", "zone=a"]), &json!(["gpu"])]);

    // All are asked of the node without the label, which takes none while another one has room.
    let first = tokio::spawn(paint(plain.url.clone(), "first", painted));
    let on = plain.busy("first").await;
    assert_ne!(on, "n1");
    let told = plain.told("first").await;
    assert!(told.contains(&on) && told.contains("label gpu, and there"), "{told}");
    let second = tokio::spawn(paint(plain.url.clone(), "second", painted));
    let other = plain.busy("second").await;
    assert!(other != "n1" && other != on, "{on} holds one already, as many as it may: {other}");
    assert_eq!(plain.why("second").await["placement"]["reason"], "label");
    // Now both are full, and a wish holds up no call.
    assert_eq!(paint(plain.url.clone(), "third", 1).await, (200, "1".to_owned()));
    let why = plain.why("third").await;
    assert_eq!(why["owner"], "n1", "{why}");
    let told = plain.told("third").await;
    assert!(told.contains("no node with the label gpu had room"), "{told}");
    for node in ["n2", "n3"] {
        let actors = get(&client(), &format!("{nodes}/{node}/actors")).await;
        assert_eq!(actors["actors"].as_array().map(Vec::len), Some(1), "{node}: {actors}");
        assert_eq!(actors["actors"][0]["placement"]["reason"], "label", "{actors}");
    }
    assert!(!first.is_finished() && !second.is_finished(), "they were at work all the time");
    first.abort();
    second.abort();
}
