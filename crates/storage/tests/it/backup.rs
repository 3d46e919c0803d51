//! Backups and what is made of them, on a real disk.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use kelpie_core::row;
use kelpie_env::{Env, Open, real};
use kelpie_storage::backup::{self, Decoder, Piece, Report, RestoreError, VerifyError};
use kelpie_storage::{
    Checked, EmbeddedOptions, ExportError, OpenError, RangeQuery, Stopped, Store, StoreConfig, check, compact,
};

const OPTIONS: EmbeddedOptions =
    EmbeddedOptions { segment_bytes: 16 << 10, checkpoint_bytes: 24 << 10, cache_bytes: 1 << 20 };

type Model = BTreeMap<Vec<u8>, Vec<u8>>;

fn config(dir: &Path) -> StoreConfig {
    StoreConfig::Embedded { dir: dir.to_owned(), options: OPTIONS }
}

fn silent() -> Report {
    Arc::new(|_| {})
}

async fn save(env: &Env, path: &Path, mut pieces: BoxStream<'static, Result<Bytes, ExportError>>) {
    let file = env.disk().open(path, Open::New).unwrap();
    let mut at = 0;
    while let Some(piece) = pieces.next().await {
        let piece = piece.unwrap();
        file.write_all_at(&piece, at).unwrap();
        at += piece.len() as u64;
    }
}

async fn rows_of(store: &Store) -> Model {
    let mut export = store.export().await.unwrap();
    let mut rows = Model::new();
    while let Some(batch) = export.batches.next().await {
        for (key, value) in batch.unwrap() {
            assert!(rows.insert(key.to_vec(), value.to_vec()).is_none(), "a row twice");
        }
    }
    rows.remove(&row::generation()[..]);
    rows
}

/// What commit `n` of the writer below does: overwrites, inserts, and clears a range.
fn change(model: &mut Model, n: u64) {
    model.insert(b"count".to_vec(), n.to_be_bytes().to_vec());
    model.insert(format!("row/{:05}", n % 700).into_bytes(), vec![n.to_be_bytes()[7]; 400]);
    if n.is_multiple_of(97) {
        model.retain(|key, _| !(&b"row/00100"[..]..b"row/00200").contains(&&key[..]));
    }
}

async fn write(store: &Store, n: u64) {
    let mut tx = store.begin();
    tx.set("count", n.to_be_bytes().to_vec());
    tx.set(format!("row/{:05}", n % 700), vec![n.to_be_bytes()[7]; 400]);
    if n.is_multiple_of(97) {
        tx.clear_range("row/00100", "row/00200");
    }
    tx.commit().await.unwrap();
}

async fn checked(env: &Env, dir: &Path) -> Checked {
    check(env, dir, OPTIONS).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_beside_a_writer_is_a_prefix_of_its_commits() {
    let place = tempfile::tempdir().unwrap();
    let env = real::env();
    let store = Store::open(&config(&place.path().join("data")), &env).await.unwrap();
    let (stop, writer) = (Arc::new(AtomicBool::new(false)), store.clone());
    let stopped = stop.clone();
    for n in 1..=500 {
        write(&store, n).await;
    }
    #[expect(clippy::disallowed_methods, reason = "a test in the real world")]
    let writer = tokio::spawn(async move {
        let mut n = 500;
        while !stopped.load(Ordering::Relaxed) {
            n += 1;
            write(&writer, n).await;
        }
        n
    });
    let (mut before, mut saved) = (0, 0);
    for round in 0..6 {
        let file = place.path().join(format!("backup-{round}"));
        // On a machine with other work to do, the writer may not have run since the last round.
        let acknowledged = loop {
            let count = store.begin().get(b"count").await.unwrap().unwrap();
            let count = u64::from_be_bytes((&count[..]).try_into().unwrap());
            if count > saved {
                break count;
            }
            env.sleep(std::time::Duration::from_millis(1)).await;
        };
        save(&env, &file, store.backup().await.unwrap()).await;
        let target = place.path().join(format!("restored-{round}"));
        let restored = backup::restore(&env, &file, &config(&target), silent()).await.unwrap();
        assert!(restored.head.version > before);
        before = restored.head.version;

        let again = Store::open(&config(&target), &env).await.unwrap();
        let found = rows_of(&again).await;
        let count = u64::from_be_bytes(found[&b"count"[..]][..].try_into().unwrap());
        saved = count;
        assert!(count >= acknowledged, "{count} is older than what was acknowledged, {acknowledged}");
        let mut expected = Model::new();
        (1..=count).for_each(|n| change(&mut expected, n));
        assert!(found == expected, "not the rows after {count} commits");
        assert_eq!(restored.summary.rows, expected.len() as u64);
        assert_eq!(again.generation().await.unwrap(), Some(restored.generation));
        assert!(again.begin().get(b"count").await.is_ok());
        again.close().await.unwrap();
        let rows = checked(&env, &target).await.rows.unwrap();
        assert_eq!((rows.rows, rows.digest), (restored.summary.rows, restored.summary.rows_digest));
    }
    stop.store(true, Ordering::Relaxed);
    let written = writer.await.unwrap();
    assert!(written > 600, "{written}: the writer stood still");
    assert!(store.stats().checkpoints >= 6, "{:?}", store.stats());
    store.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn versions_go_on_behind_those_of_the_backup() {
    let place = tempfile::tempdir().unwrap();
    let env = real::env();
    let (old, new) = (config(&place.path().join("old")), config(&place.path().join("new")));
    let store = Store::open(&old, &env).await.unwrap();
    for round in 0..3 {
        write(&store, round).await;
    }
    store.close().await.unwrap();
    // Each start leaves versions out, so the later store would begin below.
    for _ in 0..3 {
        Store::open(&old, &env).await.unwrap().close().await.unwrap();
    }
    let store = Store::open(&old, &env).await.unwrap();
    write(&store, 9).await;
    let version = store.stats().version;
    let file = place.path().join("backup");
    save(&env, &file, store.backup().await.unwrap()).await;
    store.close().await.unwrap();
    let restored = backup::restore(&env, &file, &new, silent()).await.unwrap();
    assert_eq!(restored.head.version, version);
    let store = Store::open(&new, &env).await.unwrap();
    let mut tx = store.begin();
    tx.set("x", "y");
    let committed = tx.commit().await.unwrap();
    assert!(committed.version.unwrap() > version);
    store.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory_and_a_stopped_directory_give_the_same_backup() {
    let place = tempfile::tempdir().unwrap();
    let env = real::env();
    let dir = place.path().join("data");
    let (memory, embedded) = (
        Store::open(&StoreConfig::Memory, &env).await.unwrap(),
        Store::open(&config(&dir), &env).await.unwrap(),
    );
    for n in 1..=300 {
        write(&memory, n).await;
        write(&embedded, n).await;
    }
    // Not closed: base and log both hold rows.
    drop(embedded);
    let held = left(&env, &dir).await;
    assert!(held.stats().memtable_keys > 0 && held.stats().log_bytes > 0, "{:?}", held.stats());
    assert!(matches!(Store::open(&config(&dir), &env).await, Err(OpenError::Locked { .. })));
    let before = names(&env, &dir);
    for (name, pieces) in
        [("of-memory", memory.backup().await.unwrap()), ("of-directory", held.backup().unwrap())]
    {
        save(&env, &place.path().join(name), pieces).await;
    }
    drop(held);
    assert_eq!(names(&env, &dir), before, "reading changed the directory");
    let of_memory = backup::verify(&env, &place.path().join("of-memory"), silent()).await.unwrap().1;
    let of_directory = backup::verify(&env, &place.path().join("of-directory"), silent()).await.unwrap().1;
    assert_eq!(of_memory.rows_digest, of_directory.rows_digest);
    assert_eq!(checked(&env, &dir).await.rows.unwrap().digest, of_memory.rows_digest);
}

/// A directory whose store was dropped a moment ago: its tasks end by themselves.
async fn left(env: &Env, dir: &Path) -> Stopped {
    loop {
        match Stopped::open(env, dir, OPTIONS).await {
            Ok(stopped) => return stopped,
            Err(OpenError::Locked { .. }) => env.sleep(std::time::Duration::from_millis(10)).await,
            Err(error) => panic!("{error}"),
        }
    }
}

/// The files of a directory and what is in them.
fn names(env: &Env, dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let read = |path: PathBuf| {
        let file = env.disk().open(&path, Open::Existing).unwrap();
        let mut bytes = vec![0; usize::try_from(file.len().unwrap()).unwrap()];
        file.read_exact_at(&mut bytes, 0).unwrap();
        (path, bytes)
    };
    env.disk().list(dir).unwrap().into_iter().map(read).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_restored_from_a_damaged_file() {
    let place = tempfile::tempdir().unwrap();
    let env = real::env();
    let store = Store::open(&StoreConfig::Memory, &env).await.unwrap();
    for n in 1..=200 {
        write(&store, n).await;
    }
    let whole = place.path().join("whole");
    save(&env, &whole, store.backup().await.unwrap()).await;
    let file = env.disk().open(&whole, Open::Existing).unwrap();
    let mut bytes = vec![0; usize::try_from(file.len().unwrap()).unwrap()];
    file.read_exact_at(&mut bytes, 0).unwrap();
    let target = place.path().join("target");
    for at in (0..bytes.len()).step_by(bytes.len() / 150) {
        let damaged = env.disk().open(&whole, Open::Existing).unwrap();
        damaged.write_all_at(&[bytes[at] ^ 0x10], at as u64).unwrap();
        let refused = backup::restore(&env, &whole, &config(&target), silent()).await;
        assert!(matches!(refused, Err(RestoreError::Verify(VerifyError::Backup { .. }))), "byte {at}");
        damaged.write_all_at(&[bytes[at]], at as u64).unwrap();
    }
    assert_eq!(env.disk().list(place.path()).unwrap(), std::slice::from_ref(&whole), "something was written");
    assert!(!env.disk().exists(&place.path().join("target.restoring")).unwrap());
    backup::restore(&env, &whole, &config(&target), silent()).await.unwrap();
    let occupied = backup::restore(&env, &whole, &config(&target), silent()).await;
    assert!(matches!(occupied, Err(RestoreError::Occupied { .. })));
    let memory = backup::restore(&env, &whole, &StoreConfig::Memory, silent()).await;
    assert!(matches!(memory, Err(RestoreError::NotLasting)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restore_is_refused_where_a_store_is_open() {
    let place = tempfile::tempdir().unwrap();
    let env = real::env();
    let store = Store::open(&config(&place.path().join("data")), &env).await.unwrap();
    let file = place.path().join("backup");
    save(&env, &file, store.backup().await.unwrap()).await;
    let refused = backup::restore(&env, &file, &config(&place.path().join("data")), silent()).await;
    let Err(RestoreError::Open(OpenError::Locked { holder, .. })) = refused else { panic!("{refused:?}") };
    assert!(holder.contains(&std::process::id().to_string()), "{holder}");
    store.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_export_ends_with_an_error_when_its_store_is_closed() {
    let place = tempfile::tempdir().unwrap();
    let env = real::env();
    let store = Store::open(&config(&place.path().join("data")), &env).await.unwrap();
    for n in 0..40u32 {
        let mut tx = store.begin();
        tx.set(n.to_be_bytes().to_vec(), vec![7; 90_000]);
        tx.commit().await.unwrap();
    }
    let mut export = store.export().await.unwrap();
    assert!(export.batches.next().await.unwrap().is_ok());
    store.close().await.unwrap();
    assert!(matches!(export.batches.next().await, Some(Err(ExportError::Unavailable(_)))));
    let mut decoder = Decoder::default();
    let mut pieces = backup::encode(
        &backup::Head { version: 1, wall_ms: 0, generation: None, backend: String::new() },
        export,
    );
    decoder.push(&pieces.next().await.unwrap().unwrap());
    assert!(matches!(decoder.next_piece(), Ok(Some(Piece::Head(_)))));
    assert!(decoder.finish().is_err(), "a stream that broke off passed for a backup");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flipped_bit_in_a_directory_is_found_with_its_place() {
    let place = tempfile::tempdir().unwrap();
    let (env, dir) = (real::env(), place.path().join("data"));
    let store = Store::open(&config(&dir), &env).await.unwrap();
    for n in 1..=400 {
        write(&store, n).await;
    }
    store.close().await.unwrap();
    let sound = checked(&env, &dir).await;
    assert!(sound.findings.is_empty() && sound.rows.is_some(), "{sound:#?}");
    let base = dir.join("base.redb");
    let file = env.disk().open(&base, Open::Existing).unwrap();
    let length = file.len().unwrap();
    let (mut found, mut unused) = (0, 0);
    for at in (0..length).step_by(usize::try_from(length / 120).unwrap()) {
        let mut byte = [0];
        file.read_exact_at(&mut byte, at).unwrap();
        file.write_all_at(&[byte[0] ^ 0x04], at).unwrap();
        let checked = check(&env, &dir, OPTIONS).await.unwrap();
        if checked.findings.is_empty() {
            // Where nothing stands that counts: then nothing may be lost.
            assert_eq!(checked.rows, sound.rows, "byte {at}");
            unused += 1;
        } else {
            assert!(checked.findings.iter().all(|finding| finding.file == base), "{checked:#?}");
            assert!(checked.findings[0].offset.is_some());
            found += 1;
        }
        file.write_all_at(&byte, at).unwrap();
    }
    println!("{found} flips found, {unused} in unused bytes of {length}");
    assert!(found > 5, "{found} of {}", found + unused);
    assert_eq!(checked(&env, &dir).await, sound);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn damage_in_the_log_is_found_and_changes_nothing() {
    let place = tempfile::tempdir().unwrap();
    let (env, dir) = (real::env(), place.path().join("data"));
    let large = EmbeddedOptions { checkpoint_bytes: 64 << 20, ..OPTIONS };
    let store = Store::open(&StoreConfig::Embedded { dir: dir.clone(), options: large }, &env).await.unwrap();
    for n in 1..=200 {
        write(&store, n).await;
    }
    drop(store);
    drop(left(&env, &dir).await);
    let logs: Vec<PathBuf> = env
        .disk()
        .list(&dir)
        .unwrap()
        .into_iter()
        .filter(|path| path.display().to_string().contains("/wal-"))
        .collect();
    assert!(logs.len() >= 4, "{logs:?}");
    let sound = checked(&env, &dir).await;
    assert!(sound.findings.is_empty() && sound.records == 200, "{sound:#?}");
    for (log, offset) in [(&logs[0], 20), (&logs[1], 4_096 + 30), (&logs[2], 4_096 + 5_000)] {
        let file = env.disk().open(log, Open::Existing).unwrap();
        let mut byte = [0];
        file.read_exact_at(&mut byte, offset).unwrap();
        file.write_all_at(&[byte[0] ^ 1], offset).unwrap();
        let before = names(&env, &dir);
        let damaged = checked(&env, &dir).await;
        assert_eq!(damaged.findings[0].file, *log, "{damaged:#?}");
        let place = damaged.findings[0].offset.unwrap();
        assert!(place <= offset && offset < place + 4_096, "{place} for {offset}");
        assert!(names(&env, &dir) == before, "the check changed the directory");
        assert!(matches!(Stopped::open(&env, &dir, OPTIONS).await, Err(OpenError::Damaged { .. })));
        file.write_all_at(&byte, offset).unwrap();
    }
    assert_eq!(checked(&env, &dir).await, sound);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn compacting_gives_room_back_and_keeps_every_row() {
    let place = tempfile::tempdir().unwrap();
    let (env, dir) = (real::env(), place.path().join("data"));
    let store = Store::open(&config(&dir), &env).await.unwrap();
    for n in 0..600u32 {
        let mut tx = store.begin();
        tx.set(n.to_be_bytes().to_vec(), vec![1; 20_000]);
        tx.commit().await.unwrap();
    }
    // The base has all rows before they go.
    store.close().await.unwrap();
    let store = Store::open(&config(&dir), &env).await.unwrap();
    let mut tx = store.begin();
    // What stays is all over the file: of an end that nobody uses redb lets go by itself.
    (0..600u32).filter(|n| !n.is_multiple_of(60)).for_each(|n| tx.clear(n.to_be_bytes().to_vec()));
    tx.commit().await.unwrap();
    store.close().await.unwrap();
    let before = checked(&env, &dir).await.rows.unwrap();
    let compacted = compact(&env, &dir, OPTIONS).await.unwrap();
    println!("{compacted:?}");
    assert!(compacted.after < compacted.before / 4, "{compacted:?}");
    let after = checked(&env, &dir).await;
    assert!(after.findings.is_empty(), "{after:#?}");
    assert_eq!(after.rows.unwrap(), before);
    let store = Store::open(&config(&dir), &env).await.unwrap();
    let page = store.begin().get_range(RangeQuery::new(vec![], vec![0xFF])).await.unwrap();
    assert_eq!(page.rows.len(), 10);
    store.close().await.unwrap();
}
