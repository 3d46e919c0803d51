//! What commits do not wait for.

use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use kelpie_env::{DirectoryLock, Disk, File, Open, real};
use kelpie_storage::{AtomicOp, EmbeddedOptions, Store, StoreConfig};
use parking_lot::{Condvar, Mutex};

/// Far more than what is measured takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// Files that it holds up stop whoever writes them until it is opened.
#[derive(Debug, Default)]
struct Gate {
    state: Mutex<State>,
    moved: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// What the names of the files that are held up contain.
    shut: Option<&'static str>,
    waiting: usize,
}

impl Gate {
    fn shut(&self, name: &'static str) {
        self.state.lock().shut = Some(name);
    }

    fn open(&self) {
        self.state.lock().shut = None;
        self.moved.notify_all();
    }

    fn pass(&self, path: &Path) {
        let mut state = self.state.lock();
        let is_shut = |state: &State| state.shut.is_some_and(|name| path.to_string_lossy().contains(name));
        while is_shut(&state) {
            state.waiting += 1;
            self.moved.notify_all();
            self.moved.wait(&mut state);
            state.waiting -= 1;
        }
    }

    /// Returns once somebody is held up.
    fn meet(&self) {
        let mut state = self.state.lock();
        while state.waiting == 0 {
            assert!(!self.moved.wait_for(&mut state, PATIENCE).timed_out(), "nobody came to the gate");
        }
    }
}

/// Opens the gate whatever happens, so that a test that fails ends.
struct Opens(Arc<Gate>);

impl Drop for Opens {
    fn drop(&mut self) {
        self.0.open();
    }
}

struct GatedDisk(Arc<dyn Disk>, Arc<Gate>);

impl Disk for GatedDisk {
    fn open(&self, path: &Path, how: Open) -> io::Result<Arc<dyn File>> {
        if how == Open::New {
            self.1.pass(path);
        }
        Ok(Arc::new(GatedFile { file: self.0.open(path, how)?, gate: self.1.clone(), path: path.to_owned() }))
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
struct GatedFile {
    file: Arc<dyn File>,
    gate: Arc<Gate>,
    path: PathBuf,
}

impl File for GatedFile {
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.file.read_exact_at(buffer, offset)
    }

    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.gate.pass(&self.path);
        self.file.write_all_at(bytes, offset)
    }

    fn sync(&self) -> io::Result<()> {
        self.gate.pass(&self.path);
        self.file.sync()
    }

    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.gate.pass(&self.path);
        self.file.set_len(len)
    }
}

/// New keys, old keys, cleared ranges and atomic operations, in so many commits.
async fn commit(store: &Store, commits: Range<u32>) {
    for n in commits {
        let mut tx = store.begin();
        tx.get(&(n / 2).to_be_bytes()).await.unwrap();
        tx.set(n.to_be_bytes().to_vec(), vec![7; 500]);
        tx.clear_range(vec![0xee, n.to_be_bytes()[3]], vec![0xef]);
        tx.atomic(AtomicOp::Add, format!("sum {}", n % 50), 1_u64.to_le_bytes().to_vec());
        tx.commit().await.unwrap();
    }
}

/// A checkpoint is stuck in the middle of its fold: commits go on all the same, over many
/// segments, and what they need of the base they read.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commits_go_on_while_the_disk_takes_nothing_of_a_checkpoint() {
    let gate = Arc::<Gate>::default();
    let dir = tempfile::tempdir().unwrap();
    let real = real::env();
    let env = real.on_disk(Arc::new(GatedDisk(real.disk().clone(), gate.clone())));
    let options =
        EmbeddedOptions { segment_bytes: 32 << 10, checkpoint_bytes: 200 << 10, cache_bytes: 1 << 20 };
    let config = StoreConfig::Embedded { dir: dir.path().join("data"), options };
    let store = Store::open(&config, &env).await.unwrap();
    commit(&store, 0..200).await;
    store.checkpoint().await.unwrap();
    let made = store.stats().checkpoints;
    let _opens = Opens(gate.clone());
    gate.shut("base.redb");
    // Beside this task: who waits for a lock holds up its thread.
    let beside = |commits: Range<u32>| {
        let (done, ended) = tokio::sync::oneshot::channel();
        let own = store.clone();
        env.spawn("commits", async move {
            commit(&own, commits).await;
            done.send(()).unwrap();
        });
        env.timeout(PATIENCE, ended)
    };
    let begun = beside(200..600);
    gate.meet();
    assert!(begun.await.is_ok_and(|ended| ended.is_ok()), "commits wait for the checkpoint");
    let segments = || {
        let names = env.disk().list(&dir.path().join("data")).unwrap();
        names.iter().filter(|name| name.to_string_lossy().contains("/wal-")).count()
    };
    let before = segments();
    let went_on = beside(600..1200).await;
    assert!(went_on.is_ok_and(|ended| ended.is_ok()), "commits wait for the checkpoint");
    assert!(segments() >= before + 5, "too few segments were begun: {before}, {}", segments());
    assert_eq!(store.stats().checkpoints, made, "it was stuck all the time");
    gate.open();
    store.checkpoint().await.unwrap();
    let sums: u64 = {
        let mut tx = store.begin();
        let mut sum = 0;
        for n in 0..50 {
            let value = tx.get(format!("sum {n}").as_bytes()).await.unwrap().unwrap();
            sum += u64::from_le_bytes(value[..].try_into().unwrap());
        }
        sum
    };
    assert_eq!(sums, 1200);
    store.close().await.unwrap();
}

/// Where no spare segment is ready a commit makes a small one, and not a whole one.
#[tokio::test]
async fn a_segment_that_a_commit_has_to_make_is_small() {
    let dir = tempfile::tempdir().unwrap();
    let real = real::env();
    let gate = Arc::<Gate>::default();
    let env = real.on_disk(Arc::new(GatedDisk(real.disk().clone(), gate.clone())));
    let config = StoreConfig::embedded(dir.path().join("data"));
    let store = Store::open(&config, &env).await.unwrap();
    commit(&store, 0..1).await;
    let names = env.disk().list(&dir.path().join("data")).unwrap();
    let sizes = names
        .iter()
        .filter(|name| name.to_string_lossy().contains("/wal-"))
        .map(|name| env.disk().open(name, Open::Existing).unwrap().len().unwrap());
    assert_eq!(sizes.collect::<Vec<_>>(), [1 << 20]);
    store.close().await.unwrap();
}
