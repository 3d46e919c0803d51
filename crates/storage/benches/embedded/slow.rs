//! A disk whose flush takes a millisecond and more: what the store adds to a flush hardly
//! counts there, and what it does between two of them does.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use kelpie_env::{Clock, DirectoryLock, Disk, Env, File, Open, Parts, Random, Tasks, Work};

use crate::commits::{bare, figure, fill, ours, round};
use crate::peers::BareLog;
use crate::table::Table;

/// Added to every flush.
const DELAY: Duration = Duration::from_millis(1);

pub(crate) async fn measure(real: &Env, table: &mut Table, rounds: usize, time: Duration) {
    let env = slowed(real);
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

fn slowed(env: &Env) -> Env {
    Env::new(Parts {
        clock: Arc::new(Same(env.clone())),
        random: Arc::new(Same(env.clone())),
        tasks: Arc::new(Same(env.clone())),
        disk: Arc::new(SlowDisk(env.disk().clone())),
        net: env.net().clone(),
    })
}

/// The parts of another environment.
struct Same(Env);

impl Clock for Same {
    fn now(&self) -> Duration {
        self.0.now()
    }

    fn wall_ms(&self) -> u64 {
        self.0.wall_ms()
    }

    fn sleep_until(&self, deadline: Duration) -> BoxFuture<'static, ()> {
        self.0.sleep_until(deadline)
    }
}

impl Random for Same {
    fn fill(&self, bytes: &mut [u8]) {
        bytes
            .chunks_mut(8)
            .for_each(|piece| piece.copy_from_slice(&self.0.random_u64().to_le_bytes()[..piece.len()]));
    }
}

impl Tasks for Same {
    fn spawn(&self, name: &'static str, task: BoxFuture<'static, ()>) {
        self.0.spawn(name, task);
    }

    fn spawn_thread(&self, name: &'static str, task: BoxFuture<'static, ()>) {
        self.0.spawn_thread(name, task);
    }

    fn blocking(&self, work: Work) {
        let env = self.0.clone();
        self.0.spawn("blocking", async move { env.blocking(work).await });
    }

    fn before_inline(&self) -> BoxFuture<'static, ()> {
        Box::pin(std::future::ready(()))
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
