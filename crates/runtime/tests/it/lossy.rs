//! A store that loses answers: a double, around the real memory backend.
//!
//! One commit in eight is answered `Unknown`: it has landed, or never will, or lands later,
//! after somebody may have looked.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use kelpie_env::Env;
use kelpie_storage::{
    Answer, Backend, CloseError, CommitError, CommitRequest, Committed, Outage, Properties, ReadError, Rows,
    Scan, Stats, Version, Watch,
};

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
        Properties { name: "lossy", unknown_possible: true, single_process: false }
    }

    fn open_version(&self) -> Answer<'_, Result<Version, ReadError>> {
        self.inner.open_version()
    }

    fn close_version(&self, version: Version) {
        self.inner.close_version(version);
    }

    fn get<'a>(&'a self, version: Version, key: &'a [u8]) -> Answer<'a, Result<Option<Bytes>, ReadError>> {
        self.inner.get(version, key)
    }

    fn scan(&self, version: Version, scan: Scan) -> Answer<'_, Result<Rows, ReadError>> {
        self.inner.scan(version, scan)
    }

    fn commit(&self, request: CommitRequest) -> Answer<'_, Result<Committed, CommitError>> {
        let fate = self.env.random_u64() % 24;
        let unknown =
            || Err(CommitError::Unknown(Outage::Remote { reason: "the connection was cut".into() }));
        let (inner, env) = (self.inner.clone(), self.env.clone());
        let answer: BoxFuture<'_, _> = async move {
            env.sleep(Duration::from_micros(env.random_u64() % 500)).await;
            match fate {
                0 => unknown(),
                1 => inner.commit(request).wait().await.and_then(|_| unknown()),
                2 => {
                    let late = env.clone();
                    env.spawn("late commit", async move {
                        let scale = late.random_u64() % 16;
                        late.sleep(Duration::from_micros(late.random_u64() % (1 << scale))).await;
                        drop(inner.commit(request).wait().await);
                    });
                    unknown()
                }
                _ => inner.commit(request).wait().await,
            }
        }
        .boxed();
        Answer::Later(answer)
    }

    fn watch(&self, key: Bytes) -> Watch {
        self.inner.watch(key)
    }

    fn stats(&self) -> Stats {
        self.inner.stats()
    }

    fn close(&self) -> BoxFuture<'_, Result<(), CloseError>> {
        self.inner.close()
    }
}
