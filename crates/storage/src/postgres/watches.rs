//! Who waits for which key to change, of all the processes that share the server.
//!
//! A commit of this process wakes its own waiters at once. What others commit is found by
//! asking: one question for all watched keys together, every tenth of a second while there
//! are any. `NOTIFY` would be quicker and is not used: in PostgreSQL every commit that
//! notifies takes one lock for the whole server, which cost two thirds of all commits.
//!
//! Invariant: a watch is answered with the mark of a row that was read after the watch was
//! there. A later commit changes the mark, or comes from this process and finds the waiter.

use std::collections::{BTreeMap, HashMap};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures::task::AtomicWaker;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio_postgres::{Client, Error};

use super::Inner;
use super::link::{Connector, Driver};
use super::outcome::{no_answer, outage};
use super::read::{digest, is_long};
use crate::contract::{Outage, ReadError, Watch};
use crate::keys::KeyRange;

/// How soon a change by another process is seen.
const POLL_INTERVAL: Duration = Duration::from_millis(100);
const POLL_TIME_MAX: Duration = Duration::from_secs(5);
/// Keys of one question.
const POLL_KEYS_MAX: usize = 1000;

/// What tells one version of a row from another; `None`: there is no row.
type Mark = Option<String>;

#[derive(Default)]
pub(super) struct Watches {
    waiting: Mutex<BTreeMap<Bytes, Vec<Arc<Cell>>>>,
    /// Spares commits the lock.
    any: AtomicBool,
    /// Somebody waits.
    begun: Notify,
    asker: tokio::sync::Mutex<Option<Arc<Asker>>>,
}

/// The connection that the questions go over.
struct Asker {
    client: Client,
    _driver: Driver,
}

#[derive(Default)]
struct Cell {
    mark: Mutex<Option<Mark>>,
    done: AtomicBool,
    waker: AtomicWaker,
}

impl Cell {
    fn complete(&self) {
        self.done.store(true, Ordering::Release);
        self.waker.wake();
    }
}

/// The waiting side; leaves on drop.
struct Waiting {
    cell: Arc<Cell>,
    key: Bytes,
    inner: Weak<Inner>,
}

impl Watches {
    /// Whether anybody waits.
    pub(super) fn any(&self) -> bool {
        self.any.load(Ordering::Acquire)
    }

    /// A commit of this process is visible.
    pub(super) fn touched<'a>(&self, keys: impl Iterator<Item = &'a Bytes>, clears: &[KeyRange]) {
        let mut waiting = self.waiting.lock();
        let mut done: Vec<Arc<Cell>> = keys.filter_map(|key| waiting.remove(key)).flatten().collect();
        for range in clears {
            let hit = waiting.extract_if(range.begin.clone()..range.end.clone(), |_, _| true);
            done.extend(hit.flat_map(|(_, cells)| cells));
        }
        self.any.store(!waiting.is_empty(), Ordering::Release);
        drop(waiting);
        done.iter().for_each(|cell| cell.complete());
    }

    fn leave(&self, key: &Bytes, cell: &Arc<Cell>) {
        let mut waiting = self.waiting.lock();
        if let Some(cells) = waiting.get_mut(key) {
            cells.retain(|other| !Arc::ptr_eq(other, cell));
            if cells.is_empty() {
                waiting.remove(key);
            }
        }
        self.any.store(!waiting.is_empty(), Ordering::Release);
    }

    /// Completes the waiters whose row has another mark.
    fn compare(&self, keys: &[Bytes], mut marks: HashMap<Bytes, String>) {
        let mut done = Vec::new();
        let mut waiting = self.waiting.lock();
        for key in keys {
            let now: Mark = marks.remove(key);
            let Some(cells) = waiting.get_mut(key) else { continue };
            let moved = |cell: &mut Arc<Cell>| cell.mark.lock().as_ref().is_some_and(|mark| *mark != now);
            done.extend(cells.extract_if(.., moved));
            if cells.is_empty() {
                waiting.remove(key);
            }
        }
        self.any.store(!waiting.is_empty(), Ordering::Release);
        drop(waiting);
        done.iter().for_each(|cell| cell.complete());
    }

    /// Lets the connection go; whoever waits looks again.
    pub(super) async fn close(&self) {
        *self.asker.lock().await = None;
        let waiting = std::mem::take(&mut *self.waiting.lock());
        self.any.store(false, Ordering::Release);
        waiting.into_values().flatten().for_each(|cell| cell.complete());
    }

    async fn asker(&self, connector: &Connector) -> Result<Arc<Asker>, Error> {
        let mut asker = self.asker.lock().await;
        if let Some(asker) = asker.as_ref().filter(|asker| !asker.client.is_closed()) {
            return Ok(asker.clone());
        }
        let (client, driver) = connector.connect_bare().await?;
        let schema = &connector.options.schema;
        client.batch_execute(&format!("SET search_path = {schema}; SET enable_seqscan = off")).await?;
        Ok(asker.insert(Arc::new(Asker { client, _driver: driver })).clone())
    }
}

/// Makes a watch, answered once the state of its row is known.
pub(super) async fn watch(inner: &Arc<Inner>, key: Bytes) -> Result<Watch, ReadError> {
    if inner.is_closed() {
        return Err(ReadError::Unavailable(Outage::Closed));
    }
    let cell = Arc::<Cell>::default();
    let waiting = Waiting { cell: cell.clone(), key: key.clone(), inner: Arc::downgrade(inner) };
    {
        let mut all = inner.watches.waiting.lock();
        all.entry(key.clone()).or_default().push(cell.clone());
        inner.watches.any.store(true, Ordering::Release);
    }
    let mut marks = marks(inner, std::slice::from_ref(&key)).await.map_err(ReadError::Unavailable)?;
    *cell.mark.lock() = Some(marks.remove(&key));
    inner.watches.begun.notify_one();
    Ok(Watch::new(waiting))
}

/// The marks of the rows of `keys`. Read committed: it needs no more, and conflicts with nobody.
async fn marks(inner: &Inner, keys: &[Bytes]) -> Result<HashMap<Bytes, String>, Outage> {
    let work = async {
        let asker = inner.watches.asker(inner.pool.manager()).await?;
        let mark = if inner.has_row_versions { "xmin::text" } else { "encode(sha256(value), 'hex')" };
        let short: Vec<&[u8]> = keys.iter().filter(|key| !is_long(key)).map(|key| &key[..]).collect();
        let long: Vec<Vec<u8>> =
            keys.iter().filter(|key| is_long(key)).map(|key| digest(key).to_vec()).collect();
        let query = format!(
            "SELECT key, {mark} FROM kelpie_rows WHERE key = ANY($1::bytea[]) \
             UNION ALL SELECT key, {mark} FROM kelpie_long_rows WHERE digest = ANY($2::bytea[])"
        );
        let rows = asker.client.query(&query, &[&short, &long]).await?;
        let row = |row: &tokio_postgres::Row| Ok((Bytes::copy_from_slice(row.try_get(0)?), row.try_get(1)?));
        rows.iter().map(row).collect::<Result<_, Error>>()
    };
    match inner.env.timeout(POLL_TIME_MAX, work).await {
        Ok(marks) => marks.map_err(|error| outage(&error)),
        Err(_) => Err(no_answer()),
    }
}

/// Looks for what others have changed, as long as the store is there.
pub(super) async fn poll(inner: Weak<Inner>) {
    let mut is_away = false;
    while let Some(strong) = inner.upgrade().filter(|inner| !inner.is_closed()) {
        if !strong.watches.any() {
            let (begun, ended) = (strong.watches.begun.notified(), strong.env.sleep(Duration::from_secs(1)));
            futures::future::select(std::pin::pin!(begun), ended).await;
            continue;
        }
        look(&strong, &mut is_away).await;
        let pause = strong.env.sleep(POLL_INTERVAL);
        drop(strong);
        pause.await;
    }
}

/// Compares all watched rows once.
async fn look(inner: &Inner, is_away: &mut bool) {
    let keys: Vec<Bytes> = inner.watches.waiting.lock().keys().cloned().collect();
    for keys in keys.chunks(POLL_KEYS_MAX) {
        match marks(inner, keys).await {
            Ok(marks) => {
                *is_away = false;
                inner.watches.compare(keys, marks);
            }
            // Once for each time that the server is away.
            Err(outage) if !std::mem::replace(is_away, true) => {
                tracing::warn!(%outage, "watched keys cannot be looked at");
            }
            Err(outage) => tracing::debug!(%outage, "watched keys cannot be looked at"),
        }
    }
}

impl Future for Waiting {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.cell.waker.register(cx.waker());
        if self.cell.done.load(Ordering::Acquire) { Poll::Ready(()) } else { Poll::Pending }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if let Some(inner) = self.inner.upgrade() {
            inner.watches.leave(&self.key, &self.cell);
        }
    }
}
