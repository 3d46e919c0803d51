//! What a power cut takes and what it must leave.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use kelpie_env::sim::{Node, Sim, Survived};
use kelpie_env::{Env, File, Open};
use parking_lot::Mutex;

const SEEDS: u64 = 400;

fn create(env: &Env, path: &str) -> Arc<dyn File> {
    env.disk().open(Path::new(path), Open::New).unwrap()
}

fn read(env: &Env, path: &str) -> io::Result<Vec<u8>> {
    let file = env.disk().open(Path::new(path), Open::Existing)?;
    let mut bytes = vec![0; usize::try_from(file.len()?).map_err(io::Error::other)?];
    file.read_exact_at(&mut bytes, 0)?;
    Ok(bytes)
}

/// A file of ten records of 1000 bytes, the first `synced` of them synced, after a cut.
fn records_after_cut(seed: u64, synced: u8) -> (Vec<u8>, Survived) {
    let sim = Sim::new(seed);
    let node = sim.node("n");
    let file = create(&node.env(), "f");
    node.env().disk().sync_dir(Path::new("")).unwrap();
    for record in 1..=10 {
        file.write_all_at(&[record; 1000], u64::from(record - 1) * 1000).unwrap();
        if record == synced {
            file.sync().unwrap();
        }
    }
    node.kill();
    let env = node.restart();
    (read(&env, "f").unwrap(), node.disk().survived())
}

#[test]
fn synced_writes_survive_and_others_meet_every_fate() {
    let mut met = Survived::default();
    let mut images = BTreeSet::new();
    for seed in 0..SEEDS {
        let (bytes, survived) = records_after_cut(seed, 4);
        assert!(bytes.len() >= 4000, "seed {seed}: synced length lost");
        for (index, byte) in bytes.iter().enumerate() {
            let record = u8::try_from(index / 1000 + 1).unwrap();
            // Never a byte that nobody wrote there.
            assert!(*byte == record || (record > 4 && *byte == 0), "seed {seed}: {byte} at {index}");
        }
        met.kept += survived.kept;
        met.lost += survived.lost;
        met.torn += survived.torn;
        met.reordered += survived.reordered;
        images.insert(bytes);
    }
    assert!(met.kept > 0 && met.lost > 0 && met.torn > 0 && met.reordered > 0, "{met:?}");
    assert!(images.contains(&records_image(4)), "never all lost");
    assert!(images.contains(&records_image(10)), "never all kept");
    let torn_within_a_sector = images.iter().any(|bytes| bytes.len() % 1000 % 512 != 0);
    assert!(torn_within_a_sector && images.len() > 100, "{}", images.len());
}

fn records_image(records: u8) -> Vec<u8> {
    (1..=records).flat_map(|record| [record; 1000]).collect()
}

#[test]
fn what_survived_once_stays() {
    for seed in 0..50 {
        let sim = Sim::new(seed);
        let node = sim.node("n");
        create(&node.env(), "f").write_all_at(&[7; 5000], 0).unwrap();
        node.kill();
        let first = read(&node.restart(), "f").ok();
        node.kill();
        assert_eq!(read(&node.restart(), "f").ok(), first);
    }
}

#[test]
fn an_overwrite_leaves_old_or_new_bytes_only() {
    let mut images = BTreeSet::new();
    for seed in 0..SEEDS {
        let sim = Sim::new(seed);
        let node = sim.node("n");
        let file = create(&node.env(), "f");
        file.write_all_at(&[1; 2048], 0).unwrap();
        file.sync().unwrap();
        node.env().disk().sync_dir(Path::new("")).unwrap();
        file.write_all_at(&[2; 2048], 0).unwrap();
        file.set_len(3000).unwrap();
        node.kill();
        let bytes = read(&node.restart(), "f").unwrap();
        assert!(bytes.len() == 2048 || bytes.len() == 3000, "{}", bytes.len());
        assert!(bytes[..2048].iter().all(|byte| [1, 2].contains(byte)));
        assert!(bytes[2048..].iter().all(|byte| *byte == 0));
        images.insert(bytes);
    }
    // Any of the four sectors old or new, with either length.
    assert!(images.len() > 30, "{}", images.len());
}

#[test]
fn names_not_synced_can_be_lost_and_synced_ones_cannot() {
    let (mut lost, mut kept) = (0, 0);
    for seed in 0..SEEDS {
        let sim = Sim::new(seed);
        let node = sim.node("n");
        let env = node.env();
        env.disk().create_dir(Path::new("d")).unwrap();
        create(&env, "d/synced").sync().unwrap();
        env.disk().sync_dir(Path::new("d")).unwrap();
        let data_synced = create(&env, "d/data");
        data_synced.write_all_at(b"data", 0).unwrap();
        data_synced.sync().unwrap();
        env.disk().sync_dir(Path::new("")).unwrap();
        node.kill();
        let env = node.restart();
        assert!(env.disk().exists(Path::new("d/synced")).unwrap(), "seed {seed}");
        match read(&env, "d/data") {
            Ok(bytes) => {
                assert_eq!(bytes, b"data");
                kept += 1;
            }
            Err(error) => {
                assert_eq!(error.kind(), io::ErrorKind::NotFound);
                lost += 1;
            }
        }
    }
    assert!(lost > 20 && kept > 20, "lost {lost}, kept {kept}");
}

#[test]
fn a_rename_happens_whole_or_not_at_all() {
    let mut seen = BTreeSet::new();
    for seed in 0..SEEDS {
        let sim = Sim::new(seed);
        let node = sim.node("n");
        let env = node.env();
        for name in ["old", "new"] {
            let file = create(&env, name);
            file.write_all_at(name.as_bytes(), 0).unwrap();
            file.sync().unwrap();
        }
        env.disk().sync_dir(Path::new("")).unwrap();
        env.disk().rename(Path::new("new"), Path::new("old")).unwrap();
        let synced = seed % 2 == 0;
        if synced {
            env.disk().sync_dir(Path::new("")).unwrap();
        }
        node.kill();
        let env = node.restart();
        let state = (read(&env, "old").unwrap(), read(&env, "new").ok());
        seen.insert((synced, String::from_utf8(state.0).unwrap(), state.1.is_some()));
    }
    let whole = |synced| (synced, "new".to_owned(), false);
    assert_eq!(seen, BTreeSet::from([whole(true), whole(false), (false, "old".to_owned(), true)]));
}

#[test]
fn a_removal_that_was_not_synced_can_come_back_with_its_bytes() {
    let mut seen = BTreeSet::new();
    for seed in 0..100 {
        let sim = Sim::new(seed);
        let node = sim.node("n");
        let env = node.env();
        let file = create(&env, "f");
        file.write_all_at(b"bytes", 0).unwrap();
        file.sync().unwrap();
        env.disk().sync_dir(Path::new("")).unwrap();
        env.disk().remove(Path::new("f")).unwrap();
        node.kill();
        seen.insert(read(&node.restart(), "f").ok());
    }
    assert_eq!(seen, BTreeSet::from([None, Some(b"bytes".to_vec())]));
}

/// What a careful writer does: a new file, synced, renamed over the old, directory synced.
fn replace(env: &Env, round: u8, acknowledged: &Mutex<u8>) -> io::Result<()> {
    let (new, name) = (PathBuf::from("d/new"), PathBuf::from("d/state"));
    env.disk().create_dir(Path::new("d"))?;
    if env.disk().exists(&new)? {
        env.disk().remove(&new)?;
    }
    let file = env.disk().open(&new, Open::New)?;
    file.set_len(1500)?;
    file.write_all_at(&[round; 1500], 0)?;
    file.sync()?;
    env.disk().rename(&new, &name)?;
    env.disk().sync_dir(Path::new("d"))?;
    *acknowledged.lock() = round;
    Ok(())
}

/// Runs `rounds` replacements with the power cut at operation `crash`; the state after it.
fn replaced_with_crash(sim: &Sim, node: &Node, crash: u64) -> (u8, Option<u8>) {
    let acknowledged = Arc::new(Mutex::new(0));
    node.disk().crash_at(crash);
    let (env, inner) = (node.env(), acknowledged.clone());
    node.env().spawn("writer", async move {
        for round in 1..=3 {
            let done = inner.clone();
            let disk = env.clone();
            let written = env.blocking(move || replace(&disk, round, &done)).await;
            if written.is_err() {
                env.sleep(std::time::Duration::ZERO).await;
                panic!("a task of the dead node went on");
            }
        }
    });
    sim.run_until_idle();
    if node.is_alive() {
        return (*acknowledged.lock(), None);
    }
    let env = node.restart();
    let state = read(&env, "d/state").map(|bytes| {
        assert!(bytes.len() == 1500 && bytes.iter().all(|byte| *byte == bytes[0]), "a torn state");
        bytes[0]
    });
    let acknowledged = *acknowledged.lock();
    (acknowledged, Some(state.unwrap_or(0)))
}

#[test]
fn a_careful_writer_survives_a_cut_at_every_operation() {
    let operations = {
        let sim = Sim::new(0);
        let node = sim.node("n");
        assert_eq!(replaced_with_crash(&sim, &node, u64::MAX), (3, None));
        node.disk().operations()
    };
    assert_eq!(operations, 1 + 3 * 6);
    let mut ahead = 0;
    for crash in 1..=operations {
        for seed in 0..20 {
            let sim = Sim::new(seed);
            let node = sim.node("n");
            let (acknowledged, state) = replaced_with_crash(&sim, &node, crash);
            let state = state.expect("the power was cut");
            assert!(
                state == acknowledged || state == acknowledged + 1,
                "crash {crash}, seed {seed}: {acknowledged} acknowledged, {state} there"
            );
            ahead += u64::from(state > acknowledged);
            assert_eq!(node.disk().operations(), crash, "no operation after the cut");
        }
    }
    assert!(ahead > 10, "an operation can be done and not acknowledged: {ahead}");
}

#[test]
fn the_operation_of_the_cut_may_be_done_or_not() {
    let mut seen = BTreeSet::new();
    for seed in 0..SEEDS {
        let sim = Sim::new(seed);
        let node = sim.node("n");
        let env = node.env();
        let file = create(&env, "f");
        file.sync().unwrap();
        env.disk().sync_dir(Path::new("")).unwrap();
        node.disk().crash_at(node.disk().operations() + 1);
        file.write_all_at(b"x", 0).unwrap_err();
        let written = read(&node.restart(), "f").unwrap() == b"x";
        let file = node.env().disk().open(Path::new("f"), Open::Existing).unwrap();
        file.write_all_at(&[7; 50_000], 0).unwrap();
        node.disk().crash_at(node.disk().operations() + 1);
        file.sync().unwrap_err();
        let synced = read(&node.restart(), "f").unwrap() == [7; 50_000];
        seen.insert((written, synced));
    }
    assert_eq!(seen.len(), 4, "{seen:?}");
}

#[test]
fn half_of_the_operations_of_cuts_are_done() {
    let survived = |sync: bool| {
        (0..SEEDS).filter(move |seed| {
            let sim = Sim::new(*seed);
            let node = sim.node("n");
            let file = create(&node.env(), "f");
            node.env().disk().sync_dir(Path::new("")).unwrap();
            if sync {
                file.write_all_at(b"x", 0).unwrap();
            }
            node.disk().crash_at(node.disk().operations() + 1);
            if sync {
                file.sync().unwrap_err()
            } else {
                file.write_all_at(b"x", 0).unwrap_err()
            };
            read(&node.restart(), "f").unwrap() == b"x"
        })
    };
    // A write is done in half of the cuts and then lost in more than half of those; a sync
    // that is done loses nothing, one that is not loses in more than half.
    let (written, synced) = (survived(false).count() as f64, survived(true).count() as f64);
    let all = SEEDS as f64;
    assert!(written > 0.1 * all && written < 0.4 * all, "{written}");
    assert!(synced > 0.6 * all && synced < 0.9 * all, "{synced}");
}

#[test]
fn a_careless_writer_is_caught() {
    // The same without the sync of the file: some cut must show a torn or empty state.
    let mut caught = 0;
    for seed in 0..200 {
        let sim = Sim::new(seed);
        let node = sim.node("n");
        let env = node.env();
        let file = create(&env, "new");
        file.write_all_at(&[1; 1500], 0).unwrap();
        env.disk().rename(Path::new("new"), Path::new("state")).unwrap();
        env.disk().sync_dir(Path::new("")).unwrap();
        node.kill();
        caught += u64::from(read(&node.restart(), "state").unwrap() != [1; 1500]);
    }
    assert!(caught > 50, "{caught}");
}

#[test]
fn a_power_cut_takes_every_process_of_the_machine() {
    let sim = Sim::new(1);
    let a = sim.node("a");
    let b = sim.node_on_disk_of(&a, "b");
    a.disk().crash_at(1);
    assert!(a.env().disk().create_dir(Path::new("d")).is_err());
    assert!(!a.is_alive() && !b.is_alive());
}

#[test]
fn an_image_is_the_disk_at_one_instant_with_what_was_not_synced() {
    let sim = Sim::new(1);
    let node = sim.node("n");
    let env = node.env();
    let file = create(&env, "f");
    env.disk().sync_dir(Path::new("")).unwrap();
    file.write_all_at(&[1; 1000], 0).unwrap();
    file.sync().unwrap();
    node.disk().take_images();
    file.write_all_at(&[2; 1000], 0).unwrap();
    file.write_all_at(&[3; 1000], 0).unwrap();
    file.sync().unwrap();
    env.disk().rename(Path::new("f"), Path::new("g")).unwrap();
    let images = node.disk().images();
    assert_eq!(images.len(), 4, "before each operation");
    // Before the second write: the first is there, and a power cut may take it.
    let mut met = BTreeSet::new();
    for seed in 0..SEEDS {
        let again = Sim::new(seed);
        let other = again.node_with_disk("n", &images[1]);
        assert_eq!(read(&other.env(), "f").unwrap(), [2; 1000]);
        other.kill();
        let survived = read(&other.restart(), "f").unwrap();
        met.insert((survived.contains(&1), survived.contains(&2), survived.contains(&3)));
    }
    assert_eq!(met, BTreeSet::from([(true, false, false), (true, true, false), (false, true, false)]));
    assert_eq!(images[3].files(), [PathBuf::from("f")]);
    assert_eq!(images[3].read(Path::new("f")).unwrap(), [3; 1000]);
    assert_eq!(node.disk().image().files(), [PathBuf::from("g")]);
}
