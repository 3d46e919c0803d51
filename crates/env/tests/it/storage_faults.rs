//! Disks that fail without a power cut; and the suite over the simulated disk.

use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;
use std::path::Path;
use std::time::Duration;

use kelpie_env::Open;
use kelpie_env::sim::{DiskFaults, Sim};

use crate::disk;

#[test]
fn disk_suite() {
    for seed in 0..5 {
        let sim = Sim::new(seed);
        disk::suite(&sim.node("n").env(), Path::new("/data"));
        disk::suite(&sim.node("m").env(), Path::new(""));
    }
}

#[test]
fn a_failed_sync_loses_what_a_later_one_reports_as_safe() {
    let mut images = BTreeSet::new();
    for seed in 0..100 {
        let sim = Sim::new(seed);
        let node = sim.node("n");
        let env = node.env();
        let file = env.disk().open(Path::new("f"), Open::New).unwrap();
        env.disk().sync_dir(Path::new("")).unwrap();
        file.write_all_at(b"first", 0).unwrap();
        node.disk().fail_next_sync();
        assert!(file.sync().is_err());
        let mut bytes = [0; 5];
        file.read_exact_at(&mut bytes, 0).unwrap();
        assert_eq!(&bytes, b"first", "reads come from memory");
        file.write_all_at(b"second", 5).unwrap();
        file.sync().unwrap();
        node.kill();
        let file = node.restart().disk().open(Path::new("f"), Open::Existing).unwrap();
        let mut bytes = [0; 11];
        file.read_exact_at(&mut bytes, 0).unwrap();
        assert_eq!(&bytes[5..], b"second");
        images.insert(bytes);
    }
    assert!(images.contains(b"\0\0\0\0\0second") && images.contains(b"firstsecond"), "{images:?}");
}

#[test]
fn a_lying_sync_keeps_nothing_safe() {
    let mut lost = 0;
    for seed in 0..50 {
        let sim = Sim::new(seed);
        let node = sim.node("n");
        node.disk().set_sync_lies(true);
        let env = node.env();
        env.disk().open(Path::new("f"), Open::New).unwrap().sync().unwrap();
        env.disk().sync_dir(Path::new("")).unwrap();
        assert_eq!(sim.fired()["lying-fsync"], 2, "of the file and of the directory");
        node.kill();
        lost += u32::from(!node.restart().disk().exists(Path::new("f")).unwrap());
    }
    assert!(lost > 5, "{lost}");
}

#[test]
fn a_full_disk_refuses_growth_until_there_is_room() {
    let sim = Sim::new(1);
    let node = sim.node("n");
    let disk = node.env().disk().clone();
    let file = disk.open(Path::new("f"), Open::New).unwrap();
    file.write_all_at(&[1; 4096], 0).unwrap();
    node.disk().set_free_space(Some(8192));
    let full = file.write_all_at(&[2; 20_000], 4000).unwrap_err();
    assert_eq!(full.kind(), ErrorKind::StorageFull);
    assert_eq!(file.len().unwrap(), 3 * 4096, "what fits is written");
    file.write_all_at(&[3; 4096], 0).unwrap();
    file.set_len(1 << 20).unwrap();
    assert_eq!(file.write_all_at(b"x", 900_000).unwrap_err().kind(), ErrorKind::StorageFull);
    assert_eq!(file.write_all_at(b"x", 12_288).unwrap_err().kind(), ErrorKind::StorageFull);
    disk.open(Path::new("g"), Open::New).unwrap();
    disk.remove(Path::new("f")).unwrap();
    let other = disk.open(Path::new("g"), Open::Existing).unwrap();
    other.write_all_at(&[1; 3 * 4096], 0).unwrap();
    assert!(other.write_all_at(b"x", 3 * 4096).is_err());
    other.set_len(4096).unwrap();
    other.write_all_at(&[1; 8192], 4096).unwrap();
    assert_eq!(sim.fired()["disk-full"], 4);
    node.disk().set_free_space(None);
    other.write_all_at(&[1; 100_000], 0).unwrap();
}

#[test]
fn a_disk_without_room_for_names_refuses_new_files_until_one_goes() {
    let sim = Sim::new(1);
    let node = sim.node("n");
    let disk = node.env().disk().clone();
    node.disk().set_free_files(Some(1));
    let file = disk.open(Path::new("f"), Open::New).unwrap();
    assert_eq!(disk.open(Path::new("g"), Open::New).unwrap_err().kind(), ErrorKind::StorageFull);
    assert!(!disk.exists(Path::new("g")).unwrap());
    file.write_all_at(&[1; 10_000], 0).unwrap();
    disk.rename(Path::new("f"), Path::new("h")).unwrap();
    assert!(disk.open(Path::new("g"), Open::New).is_err(), "a rename frees no name");
    disk.remove(Path::new("h")).unwrap();
    disk.open(Path::new("g"), Open::New).unwrap();
    node.disk().set_free_files(None);
    disk.open(Path::new("f"), Open::New).unwrap();
}

#[test]
fn a_failed_write_leaves_a_part() {
    let mut lengths = BTreeSet::new();
    for seed in 0..50 {
        let sim = Sim::new(seed);
        let node = sim.node("n");
        let file = node.env().disk().open(Path::new("f"), Open::New).unwrap();
        node.disk().fail_next_write();
        file.write_all_at(&[1; 10], 0).unwrap_err();
        lengths.insert(file.len().unwrap());
        file.write_all_at(&[1; 10], 0).unwrap();
    }
    assert_eq!(lengths, (0..10).collect());
}

#[test]
fn unreadable_files_and_flipped_bits() {
    let sim = Sim::new(1);
    let node = sim.node("n");
    let env = node.env();
    let path = Path::new("f");
    let file = env.disk().open(path, Open::New).unwrap();
    file.write_all_at(b"ab", 0).unwrap();
    let mut bytes = [0; 2];
    node.disk().set_unreadable(path, true);
    assert!(file.read_exact_at(&mut bytes, 0).is_err());
    node.disk().set_unreadable(path, false);
    node.disk().flip_bit(path, 1, 0).unwrap();
    file.read_exact_at(&mut bytes, 0).unwrap();
    assert_eq!(&bytes, b"ac");
    // Also on the disk, though it was not synced then.
    file.sync().unwrap();
    env.disk().sync_dir(Path::new("")).unwrap();
    node.kill();
    let file = node.restart().disk().open(path, Open::Existing).unwrap();
    file.read_exact_at(&mut bytes, 0).unwrap();
    assert_eq!(&bytes, b"ac");
    assert!(node.disk().flip_bit(path, 2, 0).is_err());
    assert!(node.disk().flip_bit(Path::new("g"), 0, 0).is_err());
}

#[test]
fn a_slow_disk_takes_time() {
    let sim = Sim::new(1);
    let node = sim.node("n");
    let env = node.env();
    let ten = |env: kelpie_env::Env| async move {
        for _ in 0..10 {
            env.inline(|| ()).await;
            env.blocking(|| ()).await;
        }
        env.now()
    };
    let normal = sim.block_on(ten(env.clone()));
    assert_eq!(sim.fired()["slow-disk"], 0);
    node.disk().set_latency(Duration::from_secs(5));
    let slow = sim.block_on(ten(env)) - normal;
    assert!(slow > 100 * normal, "{normal:?}, then {slow:?}");
    let fired = sim.fired()["slow-disk"];
    assert!((5..=20).contains(&fired), "{fired}");
}

#[test]
fn a_read_brings_what_was_written_over() {
    let sim = Sim::new(1);
    let node = sim.node("n");
    let file = node.env().disk().open(Path::new("f"), Open::New).unwrap();
    let read = || {
        let mut bytes = [0; 6];
        file.read_exact_at(&mut bytes, 0).unwrap();
        bytes
    };
    let fired = || node.disk().fired()["stale-read"];
    file.write_all_at(b"abcdef", 0).unwrap();
    node.disk().stale_next_read();
    assert_eq!((&read(), fired()), (b"abcdef", 0), "nothing was written over");
    file.write_all_at(b"XY", 1).unwrap();
    file.write_all_at(b"Z", 5).unwrap();
    file.sync().unwrap();
    assert_eq!((&read(), fired()), (b"aXYdef", 1), "asked for before, and only then");
    assert_eq!((&read(), fired()), (b"aXYdeZ", 1));
    node.disk().stale_next_read();
    let mut two = [0; 2];
    file.read_exact_at(&mut two, 2).unwrap();
    assert_eq!((&two, fired()), (b"cd", 2), "older than the latest write, which is elsewhere");
    file.write_all_at(b"aXYdeZ", 0).unwrap();
    node.disk().stale_next_read();
    assert_eq!((&read(), fired()), (b"aXYdef", 3), "what did not change is not stale");
}

#[test]
fn a_read_fails_once() {
    let sim = Sim::new(1);
    let node = sim.node("n");
    let file = node.env().disk().open(Path::new("f"), Open::New).unwrap();
    file.write_all_at(b"x", 0).unwrap();
    node.disk().fail_next_read();
    assert!(file.read_exact_at(&mut [0], 0).is_err());
    file.read_exact_at(&mut [0], 0).unwrap();
    assert_eq!(node.disk().fired()["read-error"], 1);
}

/// A file of a thousand sevens, written over by sevens and read a few hundred times; then a
/// power cut.
fn used(faults: DiskFaults) -> (Sim, u32) {
    let sim = Sim::new(1);
    let node = sim.node("n");
    let env = node.env();
    let file = env.disk().open(Path::new("f"), Open::New).unwrap();
    file.write_all_at(&[7; 10_000], 0).unwrap();
    file.sync().unwrap();
    node.disk().set_faults(faults);
    assert_eq!(node.disk().faults(), faults);
    let mut wrong = 0;
    for round in 0..200 {
        let (byte, at) = (u8::try_from(round).unwrap(), round * 10);
        wrong += u32::from(file.write_all_at(&[byte; 5], at).is_err());
        wrong += u32::from(file.sync().is_err());
        let mut bytes = [0; 5];
        wrong += u32::from(file.read_exact_at(&mut bytes, at).is_err() || bytes != [byte; 5]);
    }
    (sim, wrong)
}

#[test]
fn faults_of_a_disk_come_by_chance() {
    let none = DiskFaults::default();
    let cases: [(&str, DiskFaults); 8] = [
        ("fsync-error", DiskFaults { sync_error_ppm: 200_000, ..none }),
        ("lying-fsync", DiskFaults { lying_sync_ppm: 200_000, ..none }),
        ("write-error", DiskFaults { write_error_ppm: 200_000, ..none }),
        ("misdirected-write", DiskFaults { misdirected_write_ppm: 200_000, ..none }),
        ("read-error", DiskFaults { read_error_ppm: 200_000, ..none }),
        ("misdirected-read", DiskFaults { misdirected_read_ppm: 200_000, ..none }),
        ("stale-read", DiskFaults { stale_read_ppm: 200_000, ..none }),
        ("bit-rot", DiskFaults { bit_rot_ppm: 200_000, ..none }),
    ];
    for (name, faults) in cases {
        let (sim, wrong) = used(faults);
        let fired: Vec<_> = sim.fired().into_iter().filter(|(_, count)| *count > 0).collect();
        let count = sim.fired()[name];
        assert!((15..80).contains(&count), "{name}: {fired:?}");
        // What a failed sync did to what was not written is counted as well.
        let others = fired.iter().filter(|(other, _)| *other != name);
        let mut others = others.map(|(other, _)| *other);
        assert!(others.all(|other| name == "fsync-error" && other.ends_with("write")), "{name}: {fired:?}");
        let silent = ["lying-fsync"].contains(&name);
        assert_eq!(wrong > 0, !silent, "{name} {wrong}");
    }
    assert_eq!(used(none).1, 0);
}

#[test]
fn what_a_power_cut_does_is_counted() {
    let mut all = BTreeMap::new();
    for seed in 0..100 {
        let sim = Sim::new(seed);
        let node = sim.node("n");
        let disk = node.env().disk().clone();
        disk.open(Path::new("f"), Open::New).unwrap().write_all_at(&[1; 2000], 0).unwrap();
        let file = disk.open(Path::new("g"), Open::New).unwrap();
        disk.sync_dir(Path::new("")).unwrap();
        disk.rename(Path::new("g"), Path::new("h")).unwrap();
        disk.open(Path::new("i"), Open::New).unwrap();
        file.write_all_at(&[1; 2000], 0).unwrap();
        file.write_all_at(&[2; 2000], 0).unwrap();
        node.kill();
        node.restart();
        // Nothing unsynced: a cut that takes nothing.
        node.kill();
        let left = node.restart().disk().clone();
        let fired = sim.fired();
        assert_eq!((fired["crash"], fired["crash-before-sync"]), (2, 1));
        let is_there = |name: &str| u64::from(left.exists(Path::new(name)).unwrap());
        assert_eq!(fired["rename-not-durable"], is_there("g"));
        assert_eq!(fired["name-not-durable"], 1 - is_there("i"));
        assert_eq!(fired, {
            let mut disk = node.disk().fired();
            disk.insert("crash", 2);
            disk
        });
        for (name, count) in fired {
            *all.entry(name).or_insert(0) += count;
        }
    }
    for name in [
        "torn-write",
        "lost-unsynced-write",
        "reordered-unsynced-writes",
        "partial-batch",
        "rename-not-durable",
        "name-not-durable",
    ] {
        assert!((5..300).contains(&all[name]), "{name}: {all:?}");
    }
}
