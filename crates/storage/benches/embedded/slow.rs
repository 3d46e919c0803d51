//! A disk whose flush takes a millisecond and more: what the store adds to a flush hardly
//! counts there, and what it does between two of them does.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use kelpie_env::{DirectoryLock, Disk, Env, File, Open};

use crate::commits::{bare, figure, fill, ours, round};
use crate::peers::BareLog;
use crate::table::Table;

/// Added to every flush.
const DELAY: Duration = Duration::from_millis(1);

pub(crate) async fn measure(real: &Env, table: &mut Table, rounds: usize, time: Duration) {
    let env = real.on_disk(Arc::new(SlowDisk(real.disk().clone())));
    for clients in [1, 64] {
        let dir = crate::fresh_dir();
        let mut store = ours(&env, dir.path()).await;
        let mut log = BareLog::create(&env, &dir.path().join("bare"));
        let mut bare_rounds = Vec::new();
        fill(&store.store, clients).await;
        for _ in 0..rounds {
            store.rounds.push(round(&env, &store.store, clients, time).await);
            let batch = store.rounds.last().map_or(1.0, |round| round.batch);
            bare_rounds.push(bare(&env, &mut log, batch, time));
        }
        let figures = vec![figure("bare loop", &store.rounds, &bare_rounds)];
        table.commits(&format!("{clients} clients, each flush slowed by 1 ms"), &store.rounds, figures);
        store.store.close().await.unwrap();
    }
}

struct SlowDisk(Arc<dyn Disk>);

impl Disk for SlowDisk {
    fn open(&self, path: &Path, how: Open) -> io::Result<Arc<dyn File>> {
        Ok(Arc::new(SlowFile(self.0.open(path, how)?)))
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.0.create_dir(path)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<PathBuf>> {
        self.0.list(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.0.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.0.remove(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.0.sync_dir(path)
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        self.0.exists(path)
    }

    fn lock_dir(&self, path: &Path) -> io::Result<Box<dyn DirectoryLock>> {
        self.0.lock_dir(path)
    }
}

#[derive(Debug)]
struct SlowFile(Arc<dyn File>);

impl File for SlowFile {
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.0.read_exact_at(buffer, offset)
    }

    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.0.write_all_at(bytes, offset)
    }

    #[expect(clippy::disallowed_methods, reason = "a slow disk holds up its caller's thread")]
    fn sync(&self) -> io::Result<()> {
        std::thread::sleep(DELAY);
        self.0.sync()
    }

    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }
}
