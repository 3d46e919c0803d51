//! What a disk promises in every world while nothing fails: one suite, run by both.

use std::io::ErrorKind;
use std::path::Path;

use kelpie_env::{Env, Open};

type Case = fn(&Env, &Path);

/// Runs every case, each in a directory of its own below `root`.
pub(crate) fn suite(env: &Env, root: &Path) {
    let cases: [(&str, Case); 7] = [
        ("reads_what_was_written", reads_what_was_written),
        ("opens_by_existence", opens_by_existence),
        ("lengths", lengths),
        ("names", names),
        ("open_files_outlive_their_names", open_files_outlive_their_names),
        ("directories", directories),
        ("one_holder", one_holder),
    ];
    for (name, case) in cases {
        let dir = root.join(name);
        env.disk().create_dir(&dir).unwrap();
        case(env, &dir);
    }
}

fn read(env: &Env, path: &Path) -> Vec<u8> {
    let file = env.disk().open(path, Open::Existing).unwrap();
    let mut bytes = vec![0; usize::try_from(file.len().unwrap()).unwrap()];
    file.read_exact_at(&mut bytes, 0).unwrap();
    bytes
}

fn write(env: &Env, path: &Path, bytes: &[u8]) {
    let file = env.disk().open(path, Open::New).unwrap();
    file.write_all_at(bytes, 0).unwrap();
    file.sync().unwrap();
}

fn reads_what_was_written(env: &Env, dir: &Path) {
    let file = env.disk().open(&dir.join("a"), Open::New).unwrap();
    file.write_all_at(b"hello", 0).unwrap();
    file.write_all_at(b"y", 4).unwrap();
    let mut bytes = [0; 4];
    file.read_exact_at(&mut bytes, 1).unwrap();
    assert_eq!(&bytes, b"elly");
    file.sync().unwrap();
    // A second handle sees the same bytes, also those that nobody synced.
    file.write_all_at(b"J", 0).unwrap();
    assert_eq!(read(env, &dir.join("a")), b"Jelly");
    let beyond = file.read_exact_at(&mut bytes, 2).unwrap_err();
    assert_eq!(beyond.kind(), ErrorKind::UnexpectedEof);
    assert_eq!(file.read_exact_at(&mut bytes, 900).unwrap_err().kind(), ErrorKind::UnexpectedEof);
    file.read_exact_at(&mut [], 900).unwrap();
}

fn opens_by_existence(env: &Env, dir: &Path) {
    let path = dir.join("a");
    assert_eq!(env.disk().open(&path, Open::Existing).unwrap_err().kind(), ErrorKind::NotFound);
    assert!(!env.disk().exists(&path).unwrap());
    env.disk().open(&path, Open::New).unwrap();
    assert!(env.disk().exists(&path).unwrap());
    assert_eq!(env.disk().open(&path, Open::New).unwrap_err().kind(), ErrorKind::AlreadyExists);
    let nowhere = dir.join("no").join("a");
    assert_eq!(env.disk().open(&nowhere, Open::New).unwrap_err().kind(), ErrorKind::NotFound);
}

fn lengths(env: &Env, dir: &Path) {
    let file = env.disk().open(&dir.join("a"), Open::New).unwrap();
    assert!(file.is_empty().unwrap());
    file.write_all_at(b"xy", 3).unwrap();
    assert_eq!(read(env, &dir.join("a")), b"\0\0\0xy");
    file.set_len(4).unwrap();
    file.set_len(6).unwrap();
    assert_eq!(read(env, &dir.join("a")), b"\0\0\0x\0\0");
    file.write_all_at(b"", 100).unwrap();
    assert_eq!(file.len().unwrap(), 6);
}

fn names(env: &Env, dir: &Path) {
    let disk = env.disk();
    for name in ["c", "a", "b"] {
        write(env, &dir.join(name), name.as_bytes());
    }
    disk.create_dir(&dir.join("sub")).unwrap();
    assert_eq!(disk.list(dir).unwrap(), [dir.join("a"), dir.join("b"), dir.join("c")]);
    disk.rename(&dir.join("a"), &dir.join("c")).unwrap();
    disk.rename(&dir.join("c"), &dir.join("c")).unwrap();
    disk.remove(&dir.join("b")).unwrap();
    disk.sync_dir(dir).unwrap();
    assert_eq!(disk.list(dir).unwrap(), [dir.join("c")]);
    assert_eq!(read(env, &dir.join("c")), b"a");
    assert_eq!(disk.rename(&dir.join("a"), &dir.join("d")).unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(disk.remove(&dir.join("a")).unwrap_err().kind(), ErrorKind::NotFound);
    let nowhere = dir.join("no").join("c");
    assert_eq!(disk.rename(&dir.join("c"), &nowhere).unwrap_err().kind(), ErrorKind::NotFound);
}

fn open_files_outlive_their_names(env: &Env, dir: &Path) {
    let disk = env.disk();
    write(env, &dir.join("a"), b"old");
    let old = disk.open(&dir.join("a"), Open::Existing).unwrap();
    disk.remove(&dir.join("a")).unwrap();
    write(env, &dir.join("a"), b"new");
    old.write_all_at(b"OLD", 0).unwrap();
    old.sync().unwrap();
    assert_eq!(read(env, &dir.join("a")), b"new");
    let mut bytes = [0; 3];
    old.read_exact_at(&mut bytes, 0).unwrap();
    assert_eq!(&bytes, b"OLD");
}

fn directories(env: &Env, dir: &Path) {
    let disk = env.disk();
    let deep = dir.join("x").join("y");
    assert_eq!(disk.list(&deep).unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(disk.sync_dir(&deep).unwrap_err().kind(), ErrorKind::NotFound);
    disk.create_dir(&deep).unwrap();
    disk.create_dir(&deep).unwrap();
    assert!(disk.exists(&deep).unwrap());
    assert!(disk.list(&deep).unwrap().is_empty());
    assert!(disk.list(dir).unwrap().is_empty());
    write(env, &dir.join("file"), b"");
    assert!(disk.create_dir(&dir.join("file")).is_err());
}

fn one_holder(env: &Env, dir: &Path) {
    let held = env.disk().lock_dir(dir).unwrap();
    let refused = env.disk().lock_dir(dir).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::WouldBlock);
    assert!(refused.to_string().contains("in use by"), "{refused}");
    drop(held);
    let _again = env.disk().lock_dir(dir).unwrap();
    assert!(env.disk().list(dir).unwrap().is_empty(), "the lock is no file of the directory");
    assert!(env.disk().lock_dir(&dir.join("no")).is_err());
}
