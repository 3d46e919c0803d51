//! A transaction's view, held by the server.

use std::sync::Arc;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use kelpie_storage::{Answer, CommitError, CommitRequest, Committed, ReadError, Rows, Scan, Snapshot};
use parking_lot::Mutex;

use super::super::wire::{Ask, Read, Said};
use super::{Inner, NO_LIFE, remote};

/// A snapshot that its first read opens.
pub(super) struct RemoteSnapshot {
    inner: Arc<Inner>,
    bond: Mutex<Bond>,
}

/// What ties a snapshot to the server.
#[derive(Clone, Copy)]
struct Bond {
    /// Its number, once it has one.
    snapshot: Option<u64>,
    /// The life of the server that holds it.
    life: u64,
    /// Whether something of it was seen: then no other life can go on with it.
    seen: bool,
}

impl RemoteSnapshot {
    pub(super) fn new(inner: Arc<Inner>) -> Self {
        Self { inner, bond: Mutex::new(Bond { snapshot: None, life: NO_LIFE, seen: false }) }
    }

    /// The life and the number to read with.
    async fn bond(&self) -> Result<(u64, u64), ReadError> {
        let known = *self.bond.lock();
        let life = match known.life {
            NO_LIFE => self.inner.life().await.map_err(|silence| ReadError::Unavailable(silence.into()))?,
            life => life,
        };
        let mut bond = self.bond.lock();
        if bond.life == NO_LIFE {
            bond.life = life;
        }
        let snapshot = *bond.snapshot.get_or_insert_with(|| self.inner.number());
        Ok((bond.life, snapshot))
    }

    async fn read(&self, read: Read) -> Result<Said, ReadError> {
        loop {
            let (life, snapshot) = self.bond().await?;
            let ask = Ask::Read { snapshot, read: read.clone() };
            let reply = self.inner.ask(life, ask).await;
            let reply = reply.map_err(|silence| ReadError::Unavailable(silence.into()))?;
            let mut bond = self.bond.lock();
            if bond.life != life {
                // Another read has found out that this life is over.
                continue;
            }
            if reply.said == Said::WrongLife {
                if bond.seen {
                    return Err(ReadError::TooOld);
                }
                bond.life = reply.life;
                continue;
            }
            if let Said::NotRead(error) = reply.said {
                return Err(error.into());
            }
            bond.seen = true;
            return Ok(reply.said);
        }
    }
}

/// The server answered something else than was asked for.
fn confused<T>() -> Result<T, ReadError> {
    Err(ReadError::Unavailable(remote("the store service answered something else")))
}

impl Snapshot for RemoteSnapshot {
    fn get<'a>(&'a self, key: &'a [u8]) -> Answer<'a, Result<Option<Bytes>, ReadError>> {
        let read = self.read(Read::Get(Bytes::copy_from_slice(key)));
        let get = async {
            let Said::Value(value) = read.await? else { return confused() };
            Ok(value)
        };
        Answer::Later(get.boxed())
    }

    fn get_many<'a>(&'a self, keys: &'a [Bytes]) -> Answer<'a, Result<Vec<Option<Bytes>>, ReadError>> {
        let get = async {
            let read = self.read(Read::GetMany(keys.to_vec()));
            let Said::Values(values) = read.await? else { return confused() };
            if values.len() == keys.len() { Ok(values) } else { confused() }
        };
        Answer::Later(get.boxed())
    }

    fn scan(&self, scan: Scan) -> Answer<'_, Result<Rows, ReadError>> {
        let found = async {
            let Said::Rows { rows, more } = self.read(scan.into()).await? else { return confused() };
            Ok(Rows { rows: rows.into_iter().collect(), more })
        };
        Answer::Later(found.boxed())
    }

    fn commit(self: Box<Self>, request: CommitRequest) -> BoxFuture<'static, Result<Committed, CommitError>> {
        let inner = self.inner.clone();
        let commit = async move {
            let begun = self.bond().await;
            // The commit ends the snapshot.
            let bond = std::mem::replace(
                &mut *self.bond.lock(),
                Bond { snapshot: None, life: NO_LIFE, seen: false },
            );
            let (mut life, mut snapshot) = match begun {
                Ok((life, snapshot)) => (life, Some(snapshot)),
                Err(error) => return Err(error.into()),
            };
            let known = self.inner.known_life();
            if known > life {
                // Nothing was sent yet, and what was read in that life has no successor.
                if bond.seen && request.has_reads() {
                    return Err(CommitError::TooOld);
                }
                (life, snapshot) = (known, snapshot.filter(|_| request.has_reads()));
            }
            self.inner.commit(life, snapshot, request).await
        };
        inner.run_to_end(commit)
    }
}

impl Drop for RemoteSnapshot {
    fn drop(&mut self) {
        let Bond { snapshot, life, .. } = *self.bond.lock();
        if let Some(snapshot) = snapshot {
            self.inner.tell(life, Ask::Forget { snapshot });
        }
    }
}
