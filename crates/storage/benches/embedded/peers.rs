//! What stands where the embedded store has its log.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use kelpie_env::{Env, File, Open};
use kelpie_storage::Op;
use redb::TableDefinition;

use crate::grouped::Durable;

/// Zeroes ahead, so that no write makes the file grow.
const LOG_BYTES: u64 = 64 << 20;

/// A file of zeroes, appended to and synced, from the beginning again at its end.
pub(crate) struct BareLog {
    file: Arc<dyn File>,
    at: u64,
}

impl BareLog {
    pub(crate) fn create(env: &Env, path: &Path) -> Self {
        let file = env.disk().open(path, Open::New).unwrap();
        let zeroes = vec![0; 1 << 20];
        (0..LOG_BYTES).step_by(zeroes.len()).for_each(|at| file.write_all_at(&zeroes, at).unwrap());
        file.sync().unwrap();
        Self { file, at: 0 }
    }

    pub(crate) fn append(&mut self, bytes: &[u8]) {
        if self.at + bytes.len() as u64 > LOG_BYTES {
            self.at = 0;
        }
        self.file.write_all_at(bytes, self.at).unwrap();
        self.file.sync().unwrap();
        self.at += bytes.len() as u64;
    }
}

/// Bytes of the embedded store's log for one commit beside its keys and values.
const FRAME: usize = 24 + 9;
/// And for one row.
const ROW: usize = 9;

impl Durable for BareLog {
    type Batch = Vec<u8>;

    fn add(batch: &mut Vec<u8>, writes: &[(Bytes, Op)]) {
        batch.extend_from_slice(&[0; FRAME]);
        for (key, op) in writes {
            batch.extend_from_slice(&[0; ROW]);
            batch.extend_from_slice(key);
            if let Op::Set(value) = op {
                batch.extend_from_slice(value);
            }
        }
        batch.resize(batch.len().next_multiple_of(8), 0);
    }

    fn commit(&mut self, batch: &mut Vec<u8>) {
        self.append(batch);
        batch.clear();
    }
}

pub(crate) type Batch = Vec<(Bytes, Bytes)>;

fn add_rows(batch: &mut Batch, writes: &[(Bytes, Op)]) {
    for (key, op) in writes {
        let Op::Set(value) = op else { unreachable!("the bench only sets") };
        batch.push((key.clone(), value.clone()));
    }
}

pub(crate) const ROWS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("rows");

pub(crate) struct Redb(redb::Database);

impl Redb {
    pub(crate) fn create(dir: &Path) -> Self {
        Self(redb::Database::create(dir.join("redb")).unwrap())
    }
}

impl Durable for Redb {
    type Batch = Batch;

    fn add(batch: &mut Batch, writes: &[(Bytes, Op)]) {
        add_rows(batch, writes);
    }

    fn commit(&mut self, batch: &mut Batch) {
        let transaction = self.0.begin_write().unwrap();
        {
            let mut rows = transaction.open_table(ROWS).unwrap();
            for (key, value) in batch.drain(..) {
                rows.insert(&key[..], &value[..]).unwrap();
            }
        }
        transaction.commit().unwrap();
    }
}

pub(crate) struct Fjall {
    database: fjall::Database,
    rows: fjall::Keyspace,
}

impl Fjall {
    pub(crate) fn create(dir: &Path) -> Self {
        let database = fjall::Database::builder(dir.join("fjall")).open().unwrap();
        let rows = database.keyspace("rows", fjall::KeyspaceCreateOptions::default).unwrap();
        Self { database, rows }
    }
}

impl Durable for Fjall {
    type Batch = Batch;

    fn add(batch: &mut Batch, writes: &[(Bytes, Op)]) {
        add_rows(batch, writes);
    }

    fn commit(&mut self, batch: &mut Batch) {
        let mut write = self.database.batch().durability(Some(fjall::PersistMode::SyncData));
        for (key, value) in batch.drain(..) {
            write.insert(&self.rows, &key[..], &value[..]);
        }
        write.commit().unwrap();
    }
}

pub(crate) struct Sqlite(rusqlite::Connection);

impl Sqlite {
    pub(crate) fn create(dir: &Path) -> Self {
        let connection = rusqlite::Connection::open(dir.join("sqlite")).unwrap();
        connection.pragma_update(None, "journal_mode", "WAL").unwrap();
        connection.pragma_update(None, "synchronous", "FULL").unwrap();
        connection
            .execute_batch("CREATE TABLE rows (key BLOB PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID")
            .unwrap();
        Self(connection)
    }
}

impl Durable for Sqlite {
    type Batch = Batch;

    fn add(batch: &mut Batch, writes: &[(Bytes, Op)]) {
        add_rows(batch, writes);
    }

    fn commit(&mut self, batch: &mut Batch) {
        let transaction = self.0.transaction().unwrap();
        {
            let mut insert = transaction
                .prepare_cached("INSERT INTO rows VALUES (?1, ?2) ON CONFLICT (key) DO UPDATE SET value = ?2")
                .unwrap();
            for (key, value) in batch.drain(..) {
                insert.execute((&key[..], &value[..])).unwrap();
            }
        }
        transaction.commit().unwrap();
    }
}
