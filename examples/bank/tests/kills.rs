//! `kill -9`, again and again, while money moves: by calls over HTTP, by messages, by reminders,
//! and out of the bank.
//!
//! ```text
//!   clients ──calls, each under its key, until they are answered──▶ bank ◀──SIGKILL
//!                                                                     └──▶ outside: files by key
//! ```
//!
//! After each kill, what it has hit is read off the files (a payment, a letter) and off the store
//! (messages on their way); kills go on until enough of them have hit each kind.
#![expect(clippy::disallowed_methods, reason = "this test stands in the real world, beside its seam")]

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bank::outside::Outside;
use kelpie_storage::{RangeQuery, Store, StoreConfig};
use serde_json::{Value, json};

const ACCOUNTS: [&str; 8] = ["ann", "bob", "cyd", "dan", "eve", "fay", "gus", "hal"];
const BEGIN: u64 = 100_000;
const CLIENTS: u64 = 4;
/// How long the bank lives after it was ready, in milliseconds.
const LIFE_MS: std::ops::Range<u64> = 30..200;
/// How long anything may take, on a loaded machine.
const LIMIT: Duration = Duration::from_secs(60);

/// Numbers that look like chance.
struct Chance(u64);

impl Chance {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }
}

/// An open bank. Dropped, it is killed: also when a test fails.
struct Bank(Child);

impl Drop for Bank {
    fn drop(&mut self) {
        self.0.kill().expect("a child of this process");
        self.0.wait().expect("a child of this process");
    }
}

/// Where everything is.
struct Plan {
    address: SocketAddr,
    store: String,
    outside: PathBuf,
}

impl Plan {
    fn new(folder: &Path) -> Self {
        let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
        let store = format!("embedded:{}", folder.join("data").display());
        Self { address: free.expect("a free port"), store, outside: folder.join("outside") }
    }

    /// Starts the bank and waits until it is open.
    fn open(&self) -> Bank {
        let mut bank = Command::new(env!("CARGO_BIN_EXE_bank"));
        bank.args(["serve", &self.store, &self.address.to_string()]).arg(&self.outside);
        let bank = bank.stdin(Stdio::null()).stdout(Stdio::null()).spawn().expect("the bank starts");
        let mut bank = Bank(bank);
        let began = Instant::now();
        while !matches!(self.ask("GET", "/ready", "", ""), Some((200, _))) {
            assert!(bank.0.try_wait().expect("a child").is_none(), "the bank ended as it opened");
            assert!(began.elapsed() < LIMIT, "the bank does not open");
            std::thread::sleep(Duration::from_millis(3));
        }
        bank
    }

    /// One request; nothing when there was no whole answer.
    fn ask(&self, method: &str, path: &str, key: &str, body: &str) -> Option<(u16, String)> {
        let mut stream = TcpStream::connect(self.address).ok()?;
        stream.set_read_timeout(Some(LIMIT)).ok()?;
        let key = if key.is_empty() { String::new() } else { format!("Idempotency-Key: {key}\r\n") };
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nContent-Type: application/json\r\n{key}",
            self.address
        );
        stream.write_all(format!("{head}Content-Length: {}\r\n\r\n{body}", body.len()).as_bytes()).ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        let head = head.to_ascii_lowercase();
        let length: usize = head.split_once("content-length: ")?.1.split("\r\n").next()?.parse().ok()?;
        let status = head.split(' ').nth(1)?.parse().ok()?;
        (body.len() == length).then(|| (status, body.to_owned()))
    }

    /// Calls a handler until it is answered: 200, or the account's own refusal.
    fn call(&self, account: &str, handler: &str, key: &str, arguments: &Value) -> (u16, String) {
        let (path, body) = (format!("/v1/actors/account/{account}/{handler}"), arguments.to_string());
        let began = Instant::now();
        loop {
            match self.ask("POST", &path, key, &body) {
                Some((200, reply)) => return (200, reply),
                Some((409, reply)) if reply.contains("\"NotEnough\"") => return (409, reply),
                None | Some((429 | 503 | 504, _)) => std::thread::sleep(Duration::from_millis(10)),
                Some((status, reply)) => panic!("{handler} of {account} under {key}: {status} {reply}"),
            }
            // It is killed over and over, but not for ever.
            assert!(began.elapsed() < 4 * LIMIT, "{handler} of {account} under {key} has no answer");
        }
    }

    fn look(&self, account: &str, what: &str) -> Value {
        let path = format!("/v1/actors/account/{account}/{what}");
        match self.ask("GET", &path, "", "") {
            Some((200, body)) => serde_json::from_str(&body).expect("JSON"),
            other => panic!("{path}: {other:?}"),
        }
    }

    /// Payments and letters by file, each with its lines.
    fn outside(&self) -> BTreeMap<String, Vec<String>> {
        Outside::new(&self.outside).and_then(|outside| outside.lines()).expect("its folder is read")
    }
}

/// What clients were answered.
#[derive(Default)]
struct Answers {
    transfers: AtomicU64,
    paid_out: AtomicU64,
    again: AtomicU64,
}

/// A call that was answered.
struct Asked {
    account: &'static str,
    handler: &'static str,
    key: String,
    arguments: Value,
    answer: (u16, String),
}

fn client(number: u64, plan: &Plan, stop: &AtomicBool, answers: &Answers) {
    let mut chance = Chance(number + u64::from(std::process::id()));
    let mut last: Option<Asked> = None;
    for n in 0.. {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        // Now and then once more what was answered: the answer stays.
        if let Some(asked) = last.take_if(|_| chance.below(5) == 0) {
            let Asked { account, handler, key, arguments, answer } = asked;
            assert_eq!(plan.call(account, handler, &key, &arguments), answer, "{key} was answered anew");
            answers.again.fetch_add(1, Ordering::Relaxed);
        }
        let at = usize::try_from(chance.below(8)).expect("small");
        let (account, key) = (ACCOUNTS[at], format!("{number}-{n}"));
        let amount = 1 + chance.below(50);
        let (handler, arguments) = if chance.below(3) == 0 {
            ("pay_out", json!({ "amount": amount }))
        } else {
            ("transfer", json!({ "receiver": ACCOUNTS[(at + 1) % ACCOUNTS.len()], "amount": amount }))
        };
        let answer = plan.call(account, handler, &key, &arguments);
        let counted = if handler == "pay_out" { &answers.paid_out } else { &answers.transfers };
        counted.fetch_add(u64::from(answer.0 == 200), Ordering::Relaxed);
        last = Some(Asked { account, handler, key, arguments, answer });
    }
}

/// What kills have hit.
#[derive(Debug, Default)]
struct Hits {
    kills: u64,
    /// A payment that was asked for and not answered.
    steps: u64,
    /// A letter of a reminder's turn.
    reminders: u64,
    /// Messages on their way.
    messages: u64,
}

impl Hits {
    fn enough(&self, wanted: u64) -> bool {
        self.kills >= wanted
            && [self.steps, self.reminders, self.messages].iter().all(|hits| *hits >= wanted / 5)
    }
}

fn kill_again_and_again(plan: &Plan, wanted: u64) -> Hits {
    let (mut hits, mut chance) = (Hits::default(), Chance(u64::from(std::process::id())));
    let mut before = BTreeMap::new();
    while !hits.enough(wanted) && hits.kills < 6 * wanted {
        let bank = plan.open();
        std::thread::sleep(Duration::from_millis(LIFE_MS.start + chance.below(LIFE_MS.end - LIFE_MS.start)));
        drop(bank);
        hits.kills += 1;
        let outside = plan.outside();
        let cut = |what: &str| {
            let open = outside.iter().filter(|(name, lines)| {
                let asked = lines.last().is_some_and(|line| line.starts_with("asked"));
                asked && name.starts_with(what) && before.get(*name) != Some(*lines)
            });
            u64::from(open.count() > 0)
        };
        hits.steps += cut("pay-");
        hits.reminders += cut("letter-");
        hits.messages += u64::from(messages(&plan.store) > 0);
        before = outside;
    }
    hits
}

/// Messages in the outboxes of a store that nobody has open.
fn messages(store: &str) -> usize {
    let runtime = tokio::runtime::Runtime::new().expect("threads");
    runtime.block_on(async {
        let config: StoreConfig = store.parse().expect("a store");
        let store = Store::open(&config, &kelpie_env::real::env()).await.expect("nobody has it");
        let end = kelpie_core::row::after(b"outbox/");
        let query = RangeQuery::new(&b"outbox/"[..], end).limit(1).snapshot();
        let rows = store.begin().get_range(query).await.expect("it is read").rows.len();
        store.close().await.expect("it closes");
        rows
    })
}

#[test]
fn money_is_neither_made_nor_lost_when_the_bank_is_killed() {
    let wanted = if std::env::var_os("KELPIE_TEST_FULL").is_some() { 250 } else { 50 };
    let folder = tempfile::tempdir().expect("a folder");
    let (plan, stop, answers) =
        (Plan::new(folder.path()), AtomicBool::new(false), Arc::new(Answers::default()));
    let bank = plan.open();
    for (at, account) in ACCOUNTS.iter().enumerate() {
        let deposit = json!({ "amount": BEGIN, "from": "cash" });
        assert_eq!(plan.call(account, "deposit", "begin", &deposit), (200, BEGIN.to_string()));
        let order = json!({ "receiver": ACCOUNTS[(at + 3) % ACCOUNTS.len()], "amount": 1 });
        assert_eq!(plan.call(account, "standing_order", "order", &order), (200, "null".to_owned()));
    }
    drop(bank);

    let (hits, bank) = std::thread::scope(|scope| {
        for number in 0..CLIENTS {
            let (plan, stop, answers) = (&plan, &stop, &answers);
            scope.spawn(move || client(number, plan, stop, answers));
        }
        let hits = kill_again_and_again(&plan, wanted);
        let bank = plan.open();
        stop.store(true, Ordering::Relaxed);
        (hits, bank)
    });
    println!(
        "{hits:?}; {:?} transfers, {:?} payments, {:?} asked again",
        answers.transfers, answers.paid_out, answers.again
    );
    assert!(hits.enough(wanted), "too few kills have hit something: {hits:?}");

    let end = |account: &&str| plan.call(account, "end_standing", "end", &json!({})).1.parse::<u64>();
    let standing: u64 = ACCOUNTS.iter().map(end).sum::<Result<_, _>>().expect("a number");
    settle(&plan);
    audit(&plan, &answers, standing);
    drop(bank);
}

/// Waits until nothing is owed any longer.
fn settle(plan: &Plan) {
    let began = Instant::now();
    let owes = |account: &&str| {
        let history = plan.look(account, "history");
        !history["running"].is_null() || history["messages"] != json!([]) || history["reminders"] != json!([])
    };
    while ACCOUNTS.iter().any(&owes) {
        assert!(began.elapsed() < LIMIT, "something is owed for ever");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Holds balances, books, answers and the world outside against each other.
fn audit(plan: &Plan, answers: &Answers, standing: u64) {
    let (mut total, mut transfers_in, mut transfers_out, mut payments) = (0, 0, 0, (0, 0));
    for account in ACCOUNTS {
        assert_eq!(plan.look(account, "history")["dead_letters"], json!([]));
        let balance = plan.look(account, "state")["balance"].as_u64().expect("a number");
        let (status, book) = plan.call(account, "statement", "", &json!([1_000_000]));
        let book: Vec<Value> = serde_json::from_str(&book).expect("JSON");
        let sum =
            |field: &str| book.iter().map(|entry| entry[field].as_u64().unwrap_or_default()).sum::<u64>();
        assert_eq!((status, balance), (200, sum("added") - sum("taken")), "the book of {account}");
        for entry in &book {
            match (entry["other"].as_str(), entry["taken"].as_u64()) {
                (Some("cash"), _) => {}
                (Some("paid out"), Some(taken)) => payments = (payments.0 + 1, payments.1 + taken),
                (Some(_), Some(0)) => transfers_in += 1,
                (Some(_), Some(_)) => transfers_out += 1,
                other => panic!("{other:?}"),
            }
        }
        total += balance;
    }
    assert_eq!(total + payments.1, BEGIN * ACCOUNTS.len() as u64, "money was made or lost");
    assert_eq!(transfers_out, answers.transfers.load(Ordering::Relaxed) + standing, "transfers");
    assert_eq!(transfers_in, transfers_out, "messages");
    assert_eq!(payments.0, answers.paid_out.load(Ordering::Relaxed), "payments");

    let (mut letters, mut paid) = (0, (0, 0));
    for (name, lines) in plan.outside() {
        let amount = lines[0].strip_prefix("asked ").and_then(|amount| amount.parse::<u64>().ok());
        let amount = amount.expect("an amount");
        let whole = [format!("asked {amount}"), format!("done {amount}")];
        assert!(
            lines.iter().all(|line| whole.contains(line)),
            "{name} was asked for different things: {lines:?}"
        );
        assert_eq!(lines.last(), whole.last(), "{name} was never done");
        if name.starts_with("pay-") {
            paid = (paid.0 + 1, paid.1 + amount);
        } else {
            letters += 1;
        }
    }
    assert_eq!(paid, payments, "what was paid is not what was booked");
    assert_eq!(letters, standing, "letters");
}
