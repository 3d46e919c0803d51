//! Other logs behind the same front: group commit as the embedded store does it, over
//! something that makes a batch durable.
//!
//! With a resolver: the memory store resolves, keeps the versions and answers reads, and the
//! peer's own durable commit stands where the embedded store has its log. The peers are
//! spared what the embedded store does besides: versions that stay invisible until they are
//! durable, and the fold into a base.

use std::future::poll_fn;
use std::mem;
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Poll, Waker};

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use kelpie_env::Env;
use kelpie_storage::{
    Answer, Backend, CloseError, CommitError, CommitRequest, Committed, Memory, Op, Properties, ReadError,
    Rows, Scan, Snapshot, Stats, Watch,
};
use parking_lot::Mutex;
use tokio::sync::Notify;

/// Makes batches durable.
pub(crate) trait Durable: Send + 'static {
    /// Commits on their way.
    type Batch: Default + Send;

    /// Adds a commit to a batch.
    fn add(batch: &mut Self::Batch, writes: &[(Bytes, Op)]);

    /// Returns when all of `batch` would survive a power cut; leaves it empty.
    fn commit(&mut self, batch: &mut Self::Batch);
}

/// A store whose commits go to `D`.
pub(crate) struct Grouped<D: Durable> {
    inner: Arc<Inner<D>>,
}

struct Inner<D: Durable> {
    /// Resolver and versions; without one every read finds the same value.
    memory: Option<Memory>,
    state: Mutex<State<D::Batch>>,
    durable: Mutex<D>,
    work: Notify,
    stopped: AtomicBool,
    batches: AtomicU64,
    commits: AtomicU64,
    value: Bytes,
}

struct State<B> {
    forming: B,
    commits: u64,
    flight: Arc<Flight>,
    flushing: bool,
    spare: B,
}

#[derive(Default)]
struct Flight {
    landed: OnceLock<()>,
    waiting: Mutex<Vec<Waker>>,
}

impl Flight {
    fn wake(&self) {
        let waiting = mem::take(&mut *self.waiting.lock());
        waiting.into_iter().for_each(Waker::wake);
    }
}

impl<D: Durable> Grouped<D> {
    pub(crate) fn start(env: &Env, durable: D, memory: Option<Memory>) -> Self {
        let state = State {
            forming: D::Batch::default(),
            commits: 0,
            flight: Arc::default(),
            flushing: false,
            spare: D::Batch::default(),
        };
        let inner = Arc::new(Inner {
            memory,
            state: Mutex::new(state),
            durable: Mutex::new(durable),
            work: Notify::new(),
            stopped: AtomicBool::new(false),
            batches: AtomicU64::new(0),
            commits: AtomicU64::new(0),
            value: Bytes::from(vec![7; crate::commits::VALUE_BYTES]),
        });
        env.spawn_thread("peer-log", inner.clone().flush_for_others());
        Self { inner }
    }
}

impl<D: Durable> Drop for Grouped<D> {
    fn drop(&mut self) {
        self.inner.stopped.store(true, Ordering::Release);
        self.inner.work.notify_one();
    }
}

impl<D: Durable> Inner<D> {
    async fn commit(
        &self,
        snapshot: Option<Box<dyn Snapshot>>,
        request: CommitRequest,
    ) -> Result<Committed, CommitError> {
        let (flight, lead) = {
            let mut state = self.state.lock();
            match snapshot {
                Some(snapshot) => {
                    let writes = request.writes.clone();
                    let resolved = snapshot.commit(request).now_or_never();
                    resolved.expect("the memory store answers at once")?;
                    D::add(&mut state.forming, &writes);
                }
                None => D::add(&mut state.forming, &request.writes),
            }
            state.commits += 1;
            (state.flight.clone(), !mem::replace(&mut state.flushing, true))
        };
        if lead {
            self.flush();
        }
        poll_fn(|cx| {
            if flight.landed.get().is_none() {
                let mut waiting = flight.waiting.lock();
                if flight.landed.get().is_none() {
                    waiting.push(cx.waker().clone());
                    return Poll::Pending;
                }
            }
            Poll::Ready(Ok(Committed { version: None }))
        })
        .await
    }

    async fn flush_for_others(self: Arc<Self>) {
        loop {
            self.work.notified().await;
            while self.state.lock().flushing {
                self.flush();
            }
            if self.stopped.load(Ordering::Acquire) {
                return;
            }
        }
    }

    fn flush(&self) {
        let mut durable = self.durable.lock();
        let (mut batch, commits, flight) = {
            let mut state = self.state.lock();
            let spare = mem::take(&mut state.spare);
            let batch = mem::replace(&mut state.forming, spare);
            (batch, mem::take(&mut state.commits), mem::take(&mut state.flight))
        };
        if commits > 0 {
            durable.commit(&mut batch);
            self.batches.fetch_add(1, Ordering::Relaxed);
            self.commits.fetch_add(commits, Ordering::Relaxed);
            flight.landed.get_or_init(|| ());
            flight.wake();
        }
        let mut state = self.state.lock();
        state.spare = batch;
        if state.commits == 0 {
            state.flushing = false;
        } else {
            self.work.notify_one();
        }
    }
}

impl<D: Durable> Backend for Grouped<D> {
    fn properties(&self) -> Properties {
        Properties { name: "peer", unknown_possible: false, single_process: true }
    }

    fn begin(&self) -> Answer<'_, Result<Box<dyn Snapshot>, ReadError>> {
        let memory = match &self.inner.memory {
            Some(memory) => match memory.begin() {
                Answer::Now(begun) => Some(begun.expect("the memory store has no disk")),
                Answer::Later(_) => unreachable!("the memory store answers at once"),
            },
            None => None,
        };
        Answer::Now(Ok(Box::new(View { inner: self.inner.clone(), memory })))
    }

    fn commit(&self, _request: CommitRequest) -> Answer<'_, Result<Committed, CommitError>> {
        unreachable!("every transaction of the bench reads")
    }

    fn watch(&self, _key: Bytes) -> Answer<'_, Result<Watch, ReadError>> {
        unreachable!("the bench watches nothing")
    }

    fn stats(&self) -> Stats {
        Stats {
            batches: self.inner.batches.load(Ordering::Relaxed),
            commits: self.inner.commits.load(Ordering::Relaxed),
            ..Stats::default()
        }
    }

    fn close(&self) -> BoxFuture<'_, Result<(), CloseError>> {
        async { Ok(()) }.boxed()
    }
}

struct View<D: Durable> {
    inner: Arc<Inner<D>>,
    memory: Option<Box<dyn Snapshot>>,
}

impl<D: Durable> Snapshot for View<D> {
    fn get<'a>(&'a self, key: &'a [u8]) -> Answer<'a, Result<Option<Bytes>, ReadError>> {
        match &self.memory {
            Some(memory) => memory.get(key),
            None => Answer::Now(Ok(Some(self.inner.value.clone()))),
        }
    }

    fn get_many<'a>(&'a self, _keys: &'a [Bytes]) -> Answer<'a, Result<Vec<Option<Bytes>>, ReadError>> {
        unreachable!("the bench reads single keys")
    }

    fn scan(&self, _scan: Scan) -> Answer<'_, Result<Rows, ReadError>> {
        unreachable!("the bench scans elsewhere")
    }

    fn commit(self: Box<Self>, request: CommitRequest) -> BoxFuture<'static, Result<Committed, CommitError>> {
        async move {
            let Self { inner, memory } = *self;
            inner.commit(memory, request).await
        }
        .boxed()
    }
}
