//! A connection that loses answers: a double around the backend under test.
//!
//! One commit in six is answered `Unknown`: it has landed, or never will, or lands later,
//! after somebody may have looked.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use kelpie_env::Env;
use kelpie_storage::{
    Answer, Backend, CloseError, CommitError, CommitRequest, Outage, Properties, ReadError, Rows, Scan,
    Snapshot, Stats, Watch,
};

use super::shorthand::Commit;

pub(crate) struct Lossy {
    inner: Arc<dyn Backend>,
    env: Env,
}

impl Lossy {
    pub(crate) fn new(inner: Arc<dyn Backend>, env: Env) -> Self {
        Self { inner, env }
    }
}

impl Backend for Lossy {
    fn properties(&self) -> Properties {
        Properties { unknown_possible: true, ..self.inner.properties() }
    }

    fn key_bytes_max(&self) -> usize {
        self.inner.key_bytes_max()
    }

    fn begin(&self) -> Answer<'_, Result<Box<dyn Snapshot>, ReadError>> {
        let begin = async move {
            let inner = self.inner.begin().wait().await?;
            Ok(Box::new(LossySnapshot { inner, env: self.env.clone() }) as Box<dyn Snapshot>)
        };
        Answer::Later(begin.boxed())
    }

    fn commit(&self, request: CommitRequest) -> Answer<'_, Commit> {
        let inner = self.inner.clone();
        let commit = async move { inner.commit(request).wait().await };
        Answer::Later(lose(self.env.clone(), commit.boxed()).boxed())
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
}

impl Snapshot for LossySnapshot {
    fn get<'a>(&'a self, key: &'a [u8]) -> Answer<'a, Result<Option<Bytes>, ReadError>> {
        self.inner.get(key)
    }

    fn get_many<'a>(&'a self, keys: &'a [Bytes]) -> Answer<'a, Result<Vec<Option<Bytes>>, ReadError>> {
        self.inner.get_many(keys)
    }

    fn scan(&self, scan: Scan) -> Answer<'_, Result<Rows, ReadError>> {
        self.inner.scan(scan)
    }

    fn commit(self: Box<Self>, request: CommitRequest) -> BoxFuture<'static, Commit> {
        lose(self.env, self.inner.commit(request)).boxed()
    }
}

/// Carries out `commit`, and may lose its answer.
async fn lose(env: Env, commit: BoxFuture<'static, Commit>) -> Commit {
    let unknown = || Err(CommitError::Unknown(Outage::Remote { reason: "the connection was cut".into() }));
    match env.random_u64() % 18 {
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
