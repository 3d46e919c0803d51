//! The demo's outside world: a bank that charges a card slowly, and keeps its own books.
//!
//! It lives in the demo's process, so it outlives the server that is killed. A charge takes
//! two seconds and cannot be called back; its key is its identity, as with every payment
//! service: the same key again gets the first receipt and charges nothing.
//!
//! Invariant: one line of the ledger file per charge that happened. The demo's claims are
//! checked against this file and not against what the agent says.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use axum::{Json, Router};
use kelpie_env::{Env, File, Listener, Open, Stream};
use serde_json::{Value, json};

/// How long a charge takes.
pub(super) const CHARGE_TAKES: Duration = Duration::from_secs(2);
/// How often those who wait look again.
const LOOK: Duration = Duration::from_millis(10);

/// A bank and its books.
#[derive(Clone)]
pub(super) struct Bank {
    env: Env,
    path: PathBuf,
    books: Arc<Mutex<Books>>,
}

struct Books {
    /// The key of each request, in their order.
    requests: Vec<String>,
    /// The receipt of each charge; none while it is being made.
    charges: BTreeMap<String, Option<Value>>,
    ledger: Arc<dyn File>,
}

impl Bank {
    /// Opens a bank whose ledger is a new file at `path`.
    pub(super) fn open(path: &Path, env: Env) -> io::Result<Self> {
        let ledger = env.disk().open(path, Open::New)?;
        let books = Books { requests: Vec::new(), charges: BTreeMap::new(), ledger };
        Ok(Self { env, path: path.to_path_buf(), books: Arc::new(Mutex::new(books)) })
    }

    /// Opens its counter on a loopback port, for as long as this process lives.
    pub(super) async fn serve(&self) -> io::Result<SocketAddr> {
        let listener = self.env.net().listen(SocketAddr::from(([127, 0, 0, 1], 0))).await?;
        let address = listener.local_addr()?;
        let router = Router::new().route("/charge_card", post(charge_card)).with_state(self.clone());
        let env = self.env.clone();
        self.env.spawn("bank", async move {
            if let Err(error) = axum::serve(Counter { listener, env }, router).await {
                tracing::error!(%error, "the bank has closed");
            }
        });
        Ok(address)
    }

    /// Waits until that many requests have come; gives the key of the last of them.
    pub(super) async fn request(&self, count: usize, limit: Duration) -> Option<String> {
        let found = async {
            loop {
                if let Some(key) = self.with_books(|books| books.requests.get(count - 1).cloned()) {
                    return key;
                }
                self.env.sleep(LOOK).await;
            }
        };
        self.env.timeout(limit, found).await.ok()
    }

    /// The keys of all requests so far.
    pub(super) fn requests(&self) -> Vec<String> {
        self.with_books(|books| books.requests.clone())
    }

    /// The keys in the ledger file, one per charge.
    pub(super) fn charges(&self) -> io::Result<Vec<String>> {
        let file = self.env.disk().open(&self.path, Open::Existing)?;
        let len = usize::try_from(file.len()?).map_err(io::Error::other)?;
        let mut bytes = vec![0; len];
        file.read_exact_at(&mut bytes, 0)?;
        let lines = String::from_utf8(bytes).map_err(io::Error::other)?;
        let key = |line: &str| {
            let entry: Value = serde_json::from_str(line)?;
            Ok(crate::client::text(&entry, "key").to_owned())
        };
        lines.lines().map(key).collect()
    }

    /// Makes a charge that is new, away from the request: a cut connection stops nothing.
    fn begin(&self, key: &str, amount: &Value) {
        let is_new = self.with_books(|books| {
            books.requests.push(key.to_owned());
            match books.charges.contains_key(key) {
                true => false,
                false => books.charges.insert(key.to_owned(), None).is_none(),
            }
        });
        if is_new {
            let (bank, key, amount) = (self.clone(), key.to_owned(), amount.clone());
            self.env.spawn("charge", async move {
                bank.env.sleep(CHARGE_TAKES).await;
                bank.settle(&key, &amount);
            });
        }
    }

    fn settle(&self, key: &str, amount: &Value) {
        self.with_books(|books| {
            let charged = books.charges.values().flatten().count() + 1;
            let receipt = json!({ "receipt": format!("R-{charged:04}"), "charged_eur": amount });
            let line = format!("{}\n", json!({ "key": key, "receipt": receipt }));
            let written = books.ledger.len().and_then(|end| {
                books.ledger.write_all_at(line.as_bytes(), end)?;
                books.ledger.sync()
            });
            match written {
                Ok(()) => drop(books.charges.insert(key.to_owned(), Some(receipt))),
                Err(error) => tracing::error!(%error, "the ledger cannot be written"),
            }
        });
    }

    async fn receipt(&self, key: &str) -> Value {
        loop {
            if let Some(receipt) = self.with_books(|books| books.charges.get(key).cloned().flatten()) {
                return receipt;
            }
            self.env.sleep(LOOK).await;
        }
    }

    fn with_books<T>(&self, work: impl FnOnce(&mut Books) -> T) -> T {
        work(&mut self.books.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The bank's listener, as axum wants it.
struct Counter {
    listener: Box<dyn Listener>,
    env: Env,
}

impl axum::serve::Listener for Counter {
    type Io = Box<dyn Stream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            match self.listener.accept().await {
                Ok(accepted) => return accepted,
                // Out of descriptors, or the peer has gone already: the next one may do.
                Err(_) => self.env.sleep(LOOK).await,
            }
        }
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        self.listener.local_addr()
    }
}

async fn charge_card(
    State(bank): State<Bank>,
    headers: HeaderMap,
    Json(order): Json<Value>,
) -> Result<Json<Value>, (StatusCode, &'static str)> {
    let key = headers.get("idempotency-key").and_then(|key| key.to_str().ok());
    let key = key.ok_or((StatusCode::BAD_REQUEST, "a charge needs an Idempotency-Key"))?;
    let amount = order["arguments"]
        .get("amount_eur")
        .ok_or((StatusCode::BAD_REQUEST, "a charge needs an amount_eur"))?;
    bank.begin(key, amount);
    Ok(Json(bank.receipt(key).await))
}
