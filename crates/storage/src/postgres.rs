//! PostgreSQL as the store of many processes.
//!
//! ```text
//!   begin ─▶ View ── reads: one pooled connection, SERIALIZABLE, one round trip each
//!              │ commit: buffered writes and COMMIT, one round trip
//!              └─▶ committed · 40001: conflict · before COMMIT was sent: nothing happened
//!                  · after it: unknown, until the server has answered
//! ```
//!
//! The server's serializable snapshot isolation is what decides conflicts. It is strict: it
//! refuses every pair of conflicts in a row whose last transaction committed first, and a
//! transaction that began after another had committed can be ordered before it only through
//! such a pair. It is kept only among transactions that are all serializable, so everything
//! here is, blind writes and reads too.
//!
//! Invariant: a connection whose last answer is outstanding in an unknown way is closed and
//! never goes back to the pool.

mod commit;
mod copy;
mod link;
mod options;
mod outcome;
mod read;
mod schema;
mod snapshot;
mod tls;
mod watches;
mod writes;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use kelpie_env::Env;

use crate::contract::{
    Answer, Backend, CloseError, CommitError, CommitRequest, Committed, Conflicts, Export, ExportError,
    ImportError, OpenError, Outage, Properties, ReadError, Snapshot, Stats, Version, Watch,
};
use crate::engine::Latency;
use commit::RunToEnd;
use link::{Connector, Pool, Pooled};
pub use options::{CertificateCheck, PostgresOptions, PostgresUrlError};
use snapshot::View;
use watches::Watches;
use writes::Writes;

const BACKOFF_MIN: Duration = Duration::from_micros(500);
const BACKOFF_MAX: Duration = Duration::from_millis(50);

/// A store in a PostgreSQL database.
pub struct Postgres {
    inner: Arc<Inner>,
}

struct Inner {
    env: Env,
    pool: Pool,
    watches: Watches,
    has_row_versions: bool,
    closed: AtomicBool,
    commits: AtomicU64,
    meters: Meters,
    /// The last version that this process has drawn.
    version: AtomicU64,
}

/// What the store measures of itself.
#[derive(Default)]
struct Meters {
    /// How long commits take, from their request to the server's answer.
    commits: Latency,
    conflicts: Refusals,
    too_old: Refusals,
}

/// Transactions refused for one cause.
#[derive(Default)]
struct Refusals(AtomicU64);

impl Refusals {
    fn count(&self, cause: &'static str) {
        self.0.fetch_add(1, Ordering::Relaxed);
        metrics::counter!("kelpie_storage_conflicts_total", "cause" => cause).increment(1);
    }
}

impl Postgres {
    /// Connects, checks the server, and creates the tables when they are missing.
    pub async fn open(env: &Env, options: PostgresOptions) -> Result<Self, OpenError> {
        let unfit = |what| OpenError::Unfit { store: options.to_string(), what };
        let tls = tls::connector(&options).map_err(unfit)?;
        let connector = Connector { options: options.clone(), tls, env: env.clone() };
        let server = schema::prepare(&connector).await?;
        let pool = link::pool(connector).map_err(unfit)?;
        let inner = Arc::new(Inner {
            env: env.clone(),
            pool,
            watches: Watches::default(),
            has_row_versions: server.has_row_versions,
            closed: AtomicBool::new(false),
            commits: AtomicU64::new(0),
            meters: Meters::default(),
            version: AtomicU64::new(0),
        });
        let first = inner.link().await;
        drop(first.map_err(|error| OpenError::Unreachable {
            store: options.to_string(),
            reason: error.to_string(),
        })?);
        // Goes on after a panic: who waits stands in `Inner`, and is compared by the next look.
        let watched = Arc::downgrade(&inner);
        env.supervise("postgres watches", move || watches::poll(watched.clone()));
        Ok(Self { inner })
    }
}

impl Inner {
    fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// A connection of the pool, after a bounded wait.
    async fn link(&self) -> Result<Pooled, Outage> {
        self.pool.get().await.map_err(|error| outcome::no_link(&error))
    }

    /// Nothing before the first attempt; then a random part of a time that doubles.
    async fn back_off(&self, attempt: u32) {
        if attempt == 0 {
            return;
        }
        let longest = BACKOFF_MIN.saturating_mul(1 << attempt.min(16)).min(BACKOFF_MAX);
        let micros = u64::try_from(longest.as_micros()).expect("a twentieth of a second fits");
        self.env.sleep(Duration::from_micros(1 + self.env.random_u64() % micros)).await;
    }

    /// A commit that began then has ended.
    fn commit_ended(&self, began: Duration, outcome: &Result<Committed, CommitError>) {
        match outcome {
            Ok(_) => {
                let took = self.env.now().saturating_sub(began);
                self.meters.commits.record(took);
                metrics::histogram!("kelpie_storage_commit_seconds").record(took.as_secs_f64());
                metrics::counter!("kelpie_storage_commits_total").increment(1);
            }
            Err(CommitError::Conflict) => self.meters.conflicts.count("by_server"),
            Err(CommitError::TooOld) => self.meters.too_old.count("too_old"),
            Err(CommitError::Limit(_) | CommitError::Unavailable(_) | CommitError::Unknown(_)) => {}
        }
    }

    /// A read that was not the first of its transaction has failed.
    fn read_ended(&self, error: &ReadError) {
        match error {
            ReadError::Conflict => self.meters.conflicts.count("by_server"),
            ReadError::TooOld => self.meters.too_old.count("too_old"),
            ReadError::Unavailable(_) | ReadError::Limit(_) => {}
        }
    }

    /// A commit is known to be visible.
    fn committed(&self, writes: &Writes, version: Option<Version>) -> Committed {
        self.commits.fetch_add(1, Ordering::Relaxed);
        if let Some(version) = version {
            self.version.fetch_max(version, Ordering::Relaxed);
        }
        if self.watches.any() {
            self.watches.touched(writes.keys(), writes.clears());
        }
        Committed { version }
    }
}

impl Backend for Postgres {
    fn properties(&self) -> Properties {
        Properties { name: "postgres", unknown_possible: true, single_process: false }
    }

    fn begin(&self) -> Answer<'_, Result<Box<dyn Snapshot>, ReadError>> {
        Answer::Now(if self.inner.is_closed() {
            Err(ReadError::Unavailable(Outage::Closed))
        } else {
            Ok(Box::new(View::new(self.inner.clone())))
        })
    }

    fn commit(&self, request: CommitRequest) -> Answer<'_, Result<Committed, CommitError>> {
        let inner = self.inner.clone();
        let work = async move {
            let began = inner.env.now();
            let ended = commit::blind(&inner, request).await;
            inner.commit_ended(began, &ended);
            ended
        };
        Answer::Later(RunToEnd::new(self.inner.env.clone(), work).boxed())
    }

    fn watch(&self, key: Bytes) -> Answer<'_, Result<Watch, ReadError>> {
        Answer::Later(watches::watch(&self.inner, key).boxed())
    }

    fn export(&self) -> BoxFuture<'_, Result<Export, ExportError>> {
        copy::export(self.inner.clone()).boxed()
    }

    fn import(&self, rows: Export) -> BoxFuture<'_, Result<(), ImportError>> {
        copy::import(self.inner.clone(), rows).boxed()
    }

    fn stats(&self) -> Stats {
        Stats {
            version: self.inner.version.load(Ordering::Relaxed),
            commits: self.inner.commits.load(Ordering::Relaxed),
            conflicts: Conflicts {
                too_old: self.inner.meters.too_old.0.load(Ordering::Relaxed),
                by_server: self.inner.meters.conflicts.0.load(Ordering::Relaxed),
                ..Conflicts::default()
            },
            commit_times: self.inner.meters.commits.times(),
            ..Stats::default()
        }
    }

    fn close(&self) -> BoxFuture<'_, Result<(), CloseError>> {
        async {
            self.inner.closed.store(true, Ordering::Release);
            self.inner.pool.close();
            self.inner.watches.close().await;
            Ok(())
        }
        .boxed()
    }
}
