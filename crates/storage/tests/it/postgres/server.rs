//! The servers of the tests: a shared one, and ones of their own for faults.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use kelpie_env::real;
use kelpie_storage::Store;
use tokio_postgres::{Client, NoTls};

/// A store that no other test uses.
#[derive(Debug, Clone)]
pub(crate) struct Url {
    pub(crate) text: String,
    pub(super) schema: String,
}

impl Url {
    pub(super) fn with(&self, parameters: &str) -> Self {
        Self { text: format!("{}&{parameters}", self.text), schema: self.schema.clone() }
    }
}

pub(super) fn server_url() -> String {
    std::env::var("KELPIE_TEST_POSTGRES").expect("KELPIE_TEST_POSTGRES is not set: run `cargo xtask test`")
}

/// A schema of its own on the shared server.
pub(crate) fn fresh() -> Url {
    fresh_on(&server_url())
}

pub(super) fn fresh_on(server: &str) -> Url {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let nanos = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos();
    let schema = format!("t_{}_{}_{nanos}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
    let parameters = if server.contains('?') { '&' } else { '?' };
    Url { text: format!("{server}{parameters}schema={schema}&pool_size=12"), schema }
}

pub(super) async fn open(url: &Url) -> Store {
    Store::open(&url.text.parse().unwrap(), &real::env()).await.unwrap()
}

pub(super) async fn client(url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

pub(super) async fn superuser(statement: &str) {
    client(&server_url()).await.batch_execute(statement).await.unwrap();
}

pub(super) async fn count(query: &str) -> i64 {
    client(&server_url()).await.query_one(query, &[]).await.unwrap().get(0)
}

/// Waits until `query` counts `wanted`.
pub(super) async fn until(query: &str, wanted: i64) {
    for _ in 0..200 {
        if count(query).await == wanted {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(25)).await;
    }
    panic!("never came to {wanted}: {query}");
}
