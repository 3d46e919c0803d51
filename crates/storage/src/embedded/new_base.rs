//! A base that is being made: under a temporary name until it is whole.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use kelpie_env::{Disk, Open};
use redb::{Builder, Database, WriteTransaction};

use super::blocks::Blocks;
use super::redb_base::{ROWS, begin_write, write_position, write_store};
use crate::contract::{RowBatch, Version};

/// Bytes of rows in one commit: few syncs, and dirty pages that fit in memory.
const COMMIT_BYTES: usize = 16 << 20;

pub(super) struct NewBase {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    temporary: PathBuf,
    database: Database,
    transaction: Option<WriteTransaction>,
    /// Bytes in the open transaction.
    pending: usize,
}

impl NewBase {
    /// An empty one that is to be `path`.
    pub(super) fn begin(disk: Arc<dyn Disk>, path: &Path) -> io::Result<Self> {
        let temporary = path.with_extension("new");
        if disk.exists(&temporary)? {
            disk.remove(&temporary)?;
        }
        let file = disk.open(&temporary, Open::New)?;
        let database = Builder::new().create_with_backend(Blocks::open(file, Arc::default())?);
        let database = database.map_err(io::Error::other)?;
        let path = path.to_owned();
        Ok(Self { disk, path, temporary, database, transaction: None, pending: 0 })
    }

    /// Adds rows.
    pub(super) fn put(&mut self, batch: &RowBatch) -> io::Result<()> {
        self.insert(batch).map_err(io::Error::other)
    }

    fn insert(&mut self, batch: &RowBatch) -> Result<(), redb::Error> {
        let transaction = match self.transaction.take() {
            Some(open) => open,
            None => begin_write(&self.database)?,
        };
        {
            let mut rows = transaction.open_table(ROWS)?;
            for (key, value) in batch {
                rows.insert(&key[..], &value[..])?;
                self.pending += key.len() + value.len();
            }
        }
        if self.pending < COMMIT_BYTES {
            self.transaction = Some(transaction);
            return Ok(());
        }
        self.pending = 0;
        Ok(transaction.commit()?)
    }

    /// Makes it durable and gives it its name. It stands at `position` of the log of `store`.
    pub(super) fn finish(mut self, position: Version, store: u64) -> io::Result<()> {
        self.insert(&RowBatch::new()).map_err(io::Error::other)?;
        let transaction = match self.transaction.take() {
            Some(open) => open,
            None => begin_write(&self.database).map_err(io::Error::other)?,
        };
        write_position(&transaction, position).map_err(io::Error::other)?;
        write_store(&transaction, store).map_err(io::Error::other)?;
        transaction.commit().map_err(io::Error::other)?;
        self.database.close().map_err(io::Error::other)?;
        self.disk.rename(&self.temporary, &self.path)?;
        self.disk.sync_dir(self.path.parent().unwrap_or(Path::new("")))
    }
}
