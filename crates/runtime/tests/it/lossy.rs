//! A store that loses answers, or is only slow, to commit or to answer as well: a double, around the
//! real memory backend.
//!
//! One commit in eight is answered `Unknown`: it has landed, or never will, or lands later,
//! after somebody may have looked. While it is also *away*, one transaction in three is refused
//! at its beginning.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use kelpie_env::Env;
use kelpie_storage::{
    Answer, Backend, CloseError, CommitError, CommitRequest, Committed, Outage, Properties, ReadError, Rows,
    Scan, Snapshot, Stats, Watch,
};

pub(crate) struct Lossy {
    inner: Arc<dyn Backend>,
    env: Env,
    /// Whether it loses anything, or is only slow.
    loses: bool,
    /// Whether answers, also to reads, take their time on the way.
    slow_answers: bool,
    away: Arc<AtomicBool>,
}

impl Lossy {
    pub(crate) fn new(inner: Arc<dyn Backend>, env: Env, away: Arc<AtomicBool>) -> Self {
        Self { inner, env, loses: true, slow_answers: false, away }
    }

    pub(crate) fn slow(inner: Arc<dyn Backend>, env: Env, away: Arc<AtomicBool>) -> Self {
        Self { inner, env, loses: false, slow_answers: false, away }
    }

    pub(crate) fn slow_to_answer(inner: Arc<dyn Backend>, env: Env) -> Self {
        Self { slow_answers: true, ..Self::slow(inner, env, Arc::default()) }
    }
}

impl Backend for Lossy {
    fn properties(&self) -> Properties {
        Properties { name: "lossy", unknown_possible: true, single_process: false }
    }

    fn begin(&self) -> Answer<'_, Result<Box<dyn Snapshot>, ReadError>> {
        Answer::Later(
            async move {
                if self.away.load(Ordering::Relaxed) && self.env.random_u64().is_multiple_of(3) {
                    return Err(ReadError::Unavailable(Outage::Remote { reason: "it is away".into() }));
                }
                let inner = self.inner.begin().wait().await?;
                let (env, loses, slow_answers) = (self.env.clone(), self.loses, self.slow_answers);
                Ok(Box::new(LossySnapshot { inner, env, loses, slow_answers }) as Box<dyn Snapshot>)
            }
            .boxed(),
        )
    }

    fn commit(&self, request: CommitRequest) -> Answer<'_, Result<Committed, CommitError>> {
        let inner = self.inner.clone();
        let commit = async move { inner.commit(request).wait().await };
        Answer::Later(lose(self.env.clone(), self.loses, commit.boxed()).boxed())
    }

    fn watch(&self, key: Bytes) -> Answer<'_, Result<Watch, ReadError>> {
        self.inner.watch(key)
    }

    fn stats(&self) -> Stats {
        self.inner.stats()
    }

    fn close(&self) -> BoxFuture<'_, Result<(), CloseError>> {
        self.inner.close()
    }
}

struct LossySnapshot {
    inner: Box<dyn Snapshot>,
    env: Env,
    loses: bool,
    slow_answers: bool,
}

impl Snapshot for LossySnapshot {
    fn get<'a>(&'a self, key: &'a [u8]) -> Answer<'a, Result<Option<Bytes>, ReadError>> {
        self.inner.get(key)
    }

    fn get_many<'a>(&'a self, keys: &'a [Bytes]) -> Answer<'a, Result<Vec<Option<Bytes>>, ReadError>> {
        if !self.slow_answers {
            return self.inner.get_many(keys);
        }
        Answer::Later(
            async move {
                let answer = self.inner.get_many(keys).wait().await;
                self.env.sleep(Duration::from_micros(self.env.random_u64() % 500)).await;
                answer
            }
            .boxed(),
        )
    }

    fn scan(&self, scan: Scan) -> Answer<'_, Result<Rows, ReadError>> {
        self.inner.scan(scan)
    }

    fn commit(self: Box<Self>, request: CommitRequest) -> BoxFuture<'static, Outcome> {
        let (env, slow_answers) = (self.env.clone(), self.slow_answers);
        let commit = self.inner.commit(request);
        let commit = async move {
            let ended = commit.await;
            if slow_answers {
                env.sleep(Duration::from_micros(env.random_u64() % 500)).await;
            }
            ended
        };
        lose(self.env, self.loses, commit.boxed()).boxed()
    }
}

type Outcome = Result<Committed, CommitError>;

/// Carries out `commit`, and may lose its answer.
async fn lose(env: Env, loses: bool, commit: BoxFuture<'static, Outcome>) -> Outcome {
    let unknown = || Err(CommitError::Unknown(Outage::Remote { reason: "the connection was cut".into() }));
    let fate = env.random_u64() % 24;
    env.sleep(Duration::from_micros(env.random_u64() % 500)).await;
    match fate {
        _ if !loses => commit.await,
        0 => unknown(),
        1 => commit.await.and_then(|_| unknown()),
        2 => {
            let late = env.clone();
            env.spawn("late commit", async move {
                let scale = late.random_u64() % 16;
                late.sleep(Duration::from_micros(late.random_u64() % (1 << scale))).await;
                drop(commit.await);
            });
            unknown()
        }
        _ => commit.await,
    }
}
