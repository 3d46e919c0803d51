//! Typed actors for programs that know no Rust: over a real socket.

use std::sync::Arc;

use kelpie::{Cluster, Http, Schedule, Turn, View, actor, handlers, me};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::sync::Notify;

use crate::actors::Account;

/// Waits for a test in a step, and owes things.
#[actor(name = "clerk", version = 1)]
#[derive(Default, Serialize, Deserialize)]
struct Clerk {
    filed: Vec<String>,
}

/// Lets a clerk's step end.
#[derive(Default, Clone)]
struct Bell(Arc<Notify>);

#[handlers]
impl Clerk {
    pub async fn file(&mut self, cx: &mut Turn, paper: String) -> kelpie::Result<u32> {
        let bell = cx.given::<Bell>()?;
        cx.step("stamp", || async { Ok(()) }).await?;
        cx.step("wait for the bell", || async {
            bell.0.notified().await;
            Ok(())
        })
        .await?;
        cx.send(kelpie::to::<Account>("nobody's").freeze())?;
        cx.kv().set("paper", &paper)?;
        let yearly = Schedule::Cron("0 0 1 1 *".to_owned());
        cx.remind("shred", yearly, me::<Self>().shred()).await?;
        self.filed.push(paper);
        Ok(u32::try_from(self.filed.len()).unwrap_or(u32::MAX))
    }

    pub async fn shred(&mut self, _: &mut Turn) -> kelpie::Result<()> {
        self.filed.clear();
        Ok(())
    }

    /// Its name is also one of the words that `GET` knows.
    pub async fn state(&self, _: &View) -> kelpie::Result<String> {
        Ok("my own".to_owned())
    }
}

struct Served {
    cluster: Cluster,
    http: Http,
    client: reqwest::Client,
    bell: Bell,
}

struct Answer {
    status: u16,
    headers: reqwest::header::HeaderMap,
    text: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    /// Status, code and advice of an error.
    fn error(&self) -> (u16, String, String) {
        let body = self.json();
        let word = |name: &str| body[name].as_str().unwrap_or_default().to_owned();
        assert!(!body["detail"].is_null(), "{body}");
        (self.status, word("code"), word("advice"))
    }
}

impl Served {
    async fn new() -> Self {
        let bell = Bell::default();
        let builder = crate::with_all(kelpie::open("memory:")).actor::<Clerk>().with(bell.clone());
        let cluster = builder.start().await.expect("a store in memory");
        let http = cluster.serve_http("127.0.0.1:0").start().await.expect("a free port");
        let base = http.url().parse().expect("a URL");
        let client = kelpie_agent::http_client::for_server(&base).build().expect("a client");
        Self { cluster, http, client, bell }
    }

    async fn send(&self, request: reqwest::RequestBuilder) -> Answer {
        let answer = request.send().await.expect("an answer");
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        Answer { status, headers, text: answer.text().await.expect("a whole answer") }
    }

    fn request(&self, path: &str, body: &str) -> reqwest::RequestBuilder {
        let request = self.client.post(format!("{}/v1/actors/{path}", self.http.url()));
        request.header("content-type", "application/json").body(body.to_owned())
    }

    async fn post(&self, path: &str, body: &str) -> Answer {
        self.send(self.request(path, body)).await
    }

    async fn get(&self, path: &str) -> Answer {
        self.send(self.client.get(format!("{}/v1/actors/{path}", self.http.url()))).await
    }
}

fn is(status: u16, code: &str, advice: &str) -> (u16, String, String) {
    (status, code.to_owned(), advice.to_owned())
}

#[tokio::test]
async fn a_program_in_another_language_calls_an_actor_by_json() {
    let served = Served::new().await;
    let added = served.post("account/ann/deposit", r#"{"amount": 7}"#).await;
    assert_eq!((added.status, added.text.as_str()), (200, "7"));
    assert_eq!(added.headers["content-type"], "application/json");
    // In their order, and none at all.
    assert_eq!(served.post("account/ann/deposit", "[3]").await.text, "10");
    assert_eq!(served.post("account/ann/balance", "").await.text, "10");
    assert_eq!(served.get("account/ann/state").await.json(), json!({ "balance": 10 }));
    // A slash at the end, a key with one inside, a name with a space.
    let key = "account/a%2Fb%20%F0%9F%90%95";
    assert_eq!(served.post(&format!("{key}/deposit/"), "[4]").await.text, "4");
    assert_eq!(served.cluster.actor::<Account>("a/b 🐕").balance().await.unwrap(), 4);
    assert_eq!(served.post("desk/d/odd%20names", "[1, 2, 3, 4, 5]").await.text, "[1,2,3,4,5]");
    // Methods tell a handler from what is looked at.
    assert_eq!(served.post("clerk/c/state", "").await.text, r#""my own""#);
    assert_eq!(served.get("clerk/c/state").await.json(), json!({ "filed": [] }));
    // Rust callers see the same.
    assert_eq!(served.cluster.actor::<Account>("ann").balance().await.unwrap(), 10);
    assert!(served.http.stop().await);
    served.cluster.close().await.unwrap();
}

#[tokio::test]
async fn a_key_has_its_effect_once_and_names_one_request() {
    let served = Served::new().await;
    let keyed = |body: &str| served.request("account/ann/deposit", body).header("Idempotency-Key", "once");
    assert_eq!(served.send(keyed("[5]")).await.text, "5");
    assert_eq!(served.post("account/ann/deposit", "[1]").await.text, "6");
    assert_eq!(served.send(keyed("[5]")).await.text, "5");
    assert_eq!(served.send(keyed("[6]")).await.error(), is(409, "call.key_reused", "fix"));
    // A refusal is recorded too, though there would be enough by then.
    let spend = || served.request("account/ann/withdraw", "[50]").header("Idempotency-Key", "spend");
    let refused = served.send(spend()).await;
    assert_eq!(refused.error(), is(409, "NotEnough", "app"));
    assert_eq!(refused.json()["error"], json!({ "NotEnough": { "balance": 6 } }));
    assert_eq!(refused.json()["detail"], "there are only 6");
    assert_eq!(refused.headers["x-should-retry"], "false");
    served.post("account/ann/deposit", "[94]").await;
    assert_eq!(served.send(spend()).await.text, refused.text);
    assert_eq!(served.get("account/ann/state").await.json(), json!({ "balance": 100 }));
}

#[tokio::test]
async fn what_is_wrong_with_a_call_is_named() {
    let served = Served::new().await;
    let problem = |answer: &Answer| {
        assert_eq!(answer.error(), is(422, "call.arguments", "fix"));
        let issue = answer.json()["detail"][0].clone();
        format!("{}: {}", issue["loc"], issue["msg"].as_str().unwrap_or_default())
    };
    for (body, expected) in [
        (r#"{"amount": -7}"#, r#"["body","amount"]: invalid value: integer `-7`, expected u64"#),
        (r#"{"amount": "7"}"#, r#"["body","amount"]: invalid type: string "7", expected u64"#),
        ("{}", r#"["body","amount"]: it is missing"#),
        ("", r#"["body","amount"]: it is missing"#),
        (r#"["x"]"#, r#"["body","[0]"]: invalid type: string "x", expected u64"#),
    ] {
        assert_eq!(problem(&served.post("account/ann/deposit", body).await), expected, "{body}");
    }
    for (body, kind) in
        [("{", "json_invalid"), ("7", "dict_type"), ("null", "dict_type"), ("[1] 2", "json_invalid")]
    {
        let answer = served.post("account/ann/deposit", body).await;
        assert_eq!(answer.error(), is(422, "request.invalid", "fix"));
        assert_eq!(answer.json()["detail"][0]["type"], kind, "{body}");
    }
    let plain =
        served.client.post(format!("{}/v1/actors/account/ann/deposit", served.http.url())).body("[1]");
    assert_eq!(served.send(plain).await.error(), is(415, "request.not_json", "fix"));
    let large = format!("[1{}]", " ".repeat(1 << 20));
    assert_eq!(served.post("account/ann/deposit", &large).await.error(), is(413, "request.too_large", "fix"));

    let unknown = served.post("acount/ann/deposit", "[1]").await;
    assert_eq!(unknown.error(), is(404, "call.no_such_type", "fix"));
    assert!(unknown.text.contains("account, clerk, desk"), "{}", unknown.text);
    let helper = served.post("account/ann/_helper", "").await;
    assert_eq!(helper.error(), is(404, "call.no_handler", "fix"));
    assert_eq!(helper.json()["detail"], "actors of type `account` have no handler `_helper`");
    assert_eq!(served.get("account/ann/balance").await.error(), is(404, "route.unknown", "fix"));
    let long = "k".repeat(257);
    assert_eq!(
        served.post(&format!("account/{long}/balance"), "").await.error(),
        is(422, "request.invalid", "fix")
    );
    assert_eq!(served.get("account?after=%01").await.error(), is(422, "request.invalid", "fix"));
    // Nothing of all that has left anything.
    assert_eq!(served.get("account/ann/why").await.json()["commits"], 0);
}

#[tokio::test]
async fn each_error_says_what_to_do() {
    let served = Served::new().await;
    assert_eq!(served.post("desk/d/panics", "").await.error(), is(500, "call.panicked", "fix"));
    assert_eq!(served.post("desk/d/given", "").await.error(), is(500, "node.not_given", "fix"));
    // A call that would wait for itself is one that the actor makes, and not the one from here.
    assert_eq!(served.post("desk/d/ask_itself", "").await.error(), is(500, "call.nested", "fix"));
    let frozen = served.post("account/ann/freeze", "").await;
    assert_eq!(frozen.error(), is(409, "account.frozen", "app"));
    assert_eq!(frozen.json()["detail"], "ask the bank");

    let bad =
        |deadline: &str| served.request("account/ann/balance", "").header("Kelpie-Deadline-Ms", deadline);
    for deadline in ["0", "-1", "soon", "3600001", "99999999999999999999", ""] {
        let answer = served.send(bad(deadline)).await;
        assert_eq!(answer.error(), is(422, "request.invalid", "fix"), "{deadline}");
        assert!(answer.text.contains("Kelpie-Deadline-Ms"), "{}", answer.text);
    }
    // It ran out while the call waited for its step: it may have happened.
    let slow = served.request("clerk/c/file", r#"["a"]"#).header("Idempotency-Key", "k");
    let late = served.send(slow.header("Kelpie-Deadline-Ms", "200")).await;
    assert_eq!(late.error(), is(504, "call.unknown", "unknown"));
    assert_eq!(late.headers["x-should-retry"], "true");
    served.bell.0.notify_one();
    let again = served.request("clerk/c/file", r#"["a"]"#).header("Idempotency-Key", "k");
    assert_eq!(served.send(again).await.text, "1");

    served.cluster.runtime().drain(std::time::Duration::from_secs(5)).await;
    let closed = served.post("account/ann/balance", "").await;
    assert_eq!(closed.error(), is(503, "node.shutting_down", "not_run"));
    assert_eq!(closed.headers["retry-after"], "1");
    let agents = served.send(served.client.get(format!("{}/v1/agents", served.http.url()))).await;
    assert_eq!(agents.error(), is(404, "route.not_built", "fix"));
}

#[tokio::test]
async fn actors_are_listed_page_by_page() {
    let served = Served::new().await;
    for key in ["b", "a%2F", "c", "a", "%C3%A9"] {
        served.post(&format!("account/{key}/deposit"), "[1]").await;
    }
    served.cluster.tenant("acme").actor::<Account>("theirs").deposit(1).await.unwrap();
    let (mut seen, mut next) = (Vec::new(), Some(String::new()));
    while let Some(after) = next {
        let page = served.get(&format!("account?limit=2&after={after}")).await.json();
        let keys = page["actors"].as_array().unwrap().iter();
        seen.extend(keys.map(|actor| actor["key"].as_str().unwrap().to_owned()));
        assert_eq!(page["actors"][0]["owner"], "node-1");
        next = page["next"].as_str().map(|next| next.replace('/', "%2F"));
    }
    assert_eq!(seen, ["a", "a/", "b", "c", "é"]);
    // A page that ends with the list has no next one.
    assert_eq!(served.get("account?limit=5").await.json()["next"], Value::Null);
    assert_eq!(served.get("account?limit=0").await.error(), is(422, "request.invalid", "fix"));
    // Looking at an actor is no call.
    served.get("account/looked-at/state").await;
    served.get("account/looked-at/why").await;
    assert_eq!(served.get("account?after=looked").await.json()["actors"][0]["key"], "é");
    // Of a tenant there are its own.
    let theirs = served.cluster.tenant("acme").serve_http("127.0.0.1:0").start().await.unwrap();
    let listed = served.send(served.client.get(format!("{}/v1/actors/account", theirs.url()))).await;
    assert_eq!(listed.json()["actors"][0]["key"], "theirs");
}

/// What is said of an actor that nobody has called.
fn of_nobody(actor: &str) -> Value {
    json!({ "actor": actor, "owner_lives": false, "epoch": 0, "commits": 0, "messages": 0 })
}

#[tokio::test]
async fn why_an_actor_waits_and_what_is_kept_of_it_can_be_seen() {
    let served = Served::new().await;
    assert_eq!(served.get("clerk/c/why").await.json(), of_nobody("default/clerk/c"));
    let look = async {
        loop {
            let why = served.get("clerk/c/why").await.json();
            if why["turns"].as_array().is_some_and(|turns| turns.len() == 2 && turns[0]["steps"] != json!([]))
            {
                break why;
            }
            served.cluster.runtime().env().sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    let beside = async {
        let why = look.await;
        let history = served.get("clerk/c/history").await.json();
        // One for each turn: the second is kept until somebody waits.
        served.bell.0.notify_one();
        served.bell.0.notify_one();
        (why, history)
    };
    let first = served.request("clerk/c/file", r#"{"paper": "p"}"#).header("Idempotency-Key", "k").send();
    let second = async {
        while served.get("clerk/c/why").await.json()["turns"][0]["steps"] != json!(["wait for the bell"]) {
            served.cluster.runtime().env().sleep(std::time::Duration::from_millis(5)).await;
        }
        served.post("clerk/c/file", r#"{"paper": "q"}"#).await
    };
    let (first, second, (why, history)) = futures::join!(first, second, beside);
    assert_eq!((first.unwrap().text().await.unwrap().as_str(), second.text.as_str()), ("1", "2"));

    assert_eq!((why["owner"].as_str(), why["epoch"].as_u64()), (Some("node-1"), Some(1)));
    let [running, waiting] = &why["turns"].as_array().unwrap()[..] else { panic!("{why}") };
    assert_eq!((&running["operation"], &running["begun"]), (&json!("file"), &json!(true)));
    assert_eq!(
        (&running["steps"], &running["caller"]),
        (&json!(["wait for the bell"]), &json!("anonymous of default"))
    );
    assert_eq!(waiting["begun"], false);
    assert_eq!(
        (&why["unfinished"]["turn"], &why["unfinished"]["recorded"]),
        (&running["turn"], &json!(["stamp"]))
    );
    assert_eq!(history["running"]["turn"], running["turn"]);
    assert_eq!(history["running"]["steps"][0]["step"], "stamp");
    assert_eq!(history["running"]["operation"], "file");

    let after = served.get("clerk/c/history").await.json();
    let names: Vec<&str> =
        after["records"].as_array().unwrap().iter().filter_map(|record| record["name"].as_str()).collect();
    assert_eq!(names.len(), 2, "{after}");
    assert!(names.contains(&"state"), "{after}");
    // Two calls under their keys, and none of them was refused.
    assert_eq!(after["replies"].as_array().unwrap().len(), 2, "{after}");
    assert!(
        after["replies"][0]["refusal"].is_null() && after["replies"][0]["expires_ms"].is_u64(),
        "{after}"
    );
    let reminder = &after["reminders"][0];
    assert_eq!((&reminder["name"], &reminder["repeat"]), (&json!("shred"), &json!("0 0 1 1 *")));
    assert_eq!((&after["running"], &after["cut"]), (&Value::Null, &json!([])));
    let short = served.get("clerk/c/history?limit=1").await.json();
    assert_eq!(
        (short["replies"].as_array().unwrap().len(), &short["cut"]),
        (1, &json!(["records", "replies"]))
    );

    // The other side of its messages.
    loop {
        let account = served.get("account/nobody%27s/history").await.json();
        if account["inbox"][0]["had"] == json!(2) {
            assert_eq!(account["inbox"][0]["sender"], "default/clerk/c", "{account}");
            break;
        }
        served.cluster.runtime().env().sleep(std::time::Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn nobody_else_gets_in() {
    let cluster = crate::cluster().await;
    let everywhere = cluster.serve_http("0.0.0.0:0").start().await.err().unwrap();
    assert!(everywhere.to_string().contains("without a token"), "{everywhere}");
    let nowhere = cluster.serve_http("localhost").start().await.err().unwrap();
    assert!(nowhere.to_string().contains("no address to listen at"), "{nowhere}");
    let http = cluster.serve_http("127.0.0.1:0").token("s3cret").start().await.unwrap();
    let taken = cluster.serve_http(http.address().to_string()).start().await.err().unwrap();
    assert!(taken.to_string().contains("cannot listen at"), "{taken}");
    let client = kelpie_agent::http_client::for_server(&http.url().parse().unwrap()).build().unwrap();
    let state = || client.get(format!("{}/v1/actors/account/ann/state", http.url()));
    assert_eq!(state().send().await.unwrap().status().as_u16(), 401);
    assert_eq!(state().bearer_auth("s3cret").send().await.unwrap().status().as_u16(), 200);
}

#[tokio::test]
async fn a_program_shows_its_measurements_unless_it_gathers_them_itself() {
    let served = Served::new().await;
    for _ in 0..2 {
        let deposit = served.request("account/ann/deposit", r#"{"amount": 7}"#);
        assert_eq!(served.send(deposit.header("idempotency-key", "once")).await.text, "7");
    }
    let metrics = || served.send(served.client.get(format!("{}/metrics", served.http.url())));
    let shown = metrics().await.text;
    for measured in ["kelpie_http_requests_total", "kelpie_dedup_hits_total"] {
        assert!(shown.contains(measured), "{measured}: {shown}");
    }
    let panics = |shown: &str| {
        let of_desks =
            |line: &str| line.strip_prefix(r#"kelpie_turn_panics_total{type="desk"} "#)?.parse().ok();
        shown.lines().find_map(of_desks).unwrap_or(0_u64)
    };
    let before = panics(&shown);
    assert_eq!(served.post("desk/front/panics", "").await.error(), is(500, "call.panicked", "fix"));
    let after = metrics().await.text;
    assert!(panics(&after) > before, "{after}");
    served.cluster.close().await.unwrap();
}
