//! Directories that something has damaged: every file, every region, every kind of exchange.
//! Each is refused with the file's name and a place, or is read as if nothing had happened.

#![expect(clippy::wildcard_enum_match_arm, reason = "what is not expected ends the test, with its words")]

use std::collections::BTreeMap;
use std::path::PathBuf;

use kelpie_env::sim::DiskImage;
use kelpie_storage::{EmbeddedOptions, OpenError, Outage, ReadError, Store, StoreConfig};

use super::history::Rows;
use super::*;

/// Positions looked at in each state, beside all those of small files and of headers.
const SAMPLE: usize = 900;
/// A page of the base with its check.
const PAGE: u64 = 4104;

/// A directory at rest, and what it holds.
struct Rest {
    name: &'static str,
    image: DiskImage,
    rows: Rows,
}

/// What a damaged directory gives.
#[derive(Debug, PartialEq, Eq)]
enum Given {
    Rows(Rows),
    RefusedAtOpen { file: PathBuf, offset: u64, words: String },
    RefusedAtRead { file: PathBuf, offset: u64 },
    OtherFormat,
    Disk(String),
}

fn open_and_read(image: &DiskImage) -> Given {
    let sim = Sim::new(9);
    let node = sim.node_with_disk("store", image);
    let env = node.env();
    sim.block_on(async {
        let store = match Store::open(&workload::config(), &env).await {
            Ok(store) => store,
            Err(error) => return refused(error),
        };
        // Once more: who was refused must not be told otherwise later.
        let rows = match workload::all_rows(&mut store.begin()).await {
            Ok(rows) => rows,
            Err(first) => {
                let again = workload::all_rows(&mut store.begin()).await;
                assert!(again.is_err(), "first {first}, then read");
                let ReadError::Unavailable(Outage::Damaged { file, offset, .. }) = first else {
                    panic!("an untyped refusal: {first:?}");
                };
                return Given::RefusedAtRead { file: file.to_path_buf(), offset };
            }
        };
        for (key, value) in &rows {
            assert_eq!(store.begin().get(key).await.unwrap().as_ref(), Some(value));
        }
        Given::Rows(rows)
    })
}

fn refused(error: OpenError) -> Given {
    let words = error.to_string();
    match error {
        OpenError::Damaged { file, offset, .. } => {
            assert!(words.contains("restore the directory from a backup"), "{words}");
            Given::RefusedAtOpen { file, offset, words }
        }
        OpenError::UnknownFormat { .. } => Given::OtherFormat,
        OpenError::Disk { .. } => Given::Disk(words),
        other => panic!("refused for another reason: {other:?}"),
    }
}

fn at_rest(name: &'static str, image: DiskImage) -> Rest {
    match open_and_read(&image) {
        Given::Rows(rows) => Rest { name, image, rows },
        other => panic!("{name}: {other:?}"),
    }
}

const BUSY: Load = Load { writers: 4, commits: 25, close: false };

/// After a clean close, after a kill, and in the middle of a checkpoint.
fn states() -> Vec<Rest> {
    let run = Run::new(11);
    run.node.disk().take_images();
    run.live(run.node.env(), BUSY).unwrap();
    let killed = run.node.disk().image();
    let folding = |image: &&DiskImage| image.files().contains(&PathBuf::from("data/base.folding"));
    let images = run.node.disk().images();
    let mut folds = images.iter().filter(folding);
    let middle = folds.nth(folds.clone().count() * 3 / 4).unwrap().clone();
    let closed = Run::new(12);
    closed.live(closed.node.env(), Load { close: true, ..BUSY }).unwrap();
    let closed = closed.node.disk().image();
    vec![at_rest("closed", closed), at_rest("killed", killed), at_rest("in a checkpoint", middle)]
}

/// Small files and headers whole, of everything else as many places as are wanted.
fn positions(image: &DiskImage) -> Vec<(PathBuf, usize)> {
    let (mut all, mut rest) = (Vec::new(), Vec::new());
    for path in image.files() {
        let len = image.read(&path).unwrap().len();
        let whole = match path.extension().and_then(|name| name.to_str()) {
            Some("log") => 64,
            Some("redb") => 0,
            _ => 64,
        };
        all.extend((0..len.min(whole)).map(|at| (path.clone(), at)));
        rest.extend((whole..len).map(|at| (path.clone(), at)));
    }
    // Spread by a stride without a divisor in common, so that all offsets in a page occur.
    let stride = rest.len() / SAMPLE;
    all.extend(rest.chunks(stride).enumerate().map(|(n, chunk)| chunk[n * 7919 % chunk.len()].clone()));
    all
}

#[cfg(feature = "mutants")]
mod mutants {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::*;

    /// What the test says when `name` is armed.
    fn words(name: &'static str, test: fn()) -> String {
        let _armed = kelpie_core::mutant::arm(name);
        let panic = catch_unwind(AssertUnwindSafe(test)).expect_err("the bug lives");
        panic.downcast_ref::<String>().expect("words").clone()
    }

    #[test]
    fn mutant_base_reads_unchecked() {
        let test = a_bit_that_flips_under_a_running_store_is_noticed_at_the_read;
        let said = words("base_reads_unchecked", test);
        assert!(said.contains("wrong data"), "{said}");
    }

    #[test]
    fn mutant_wal_end_not_marked() {
        let said = words("wal_end_not_marked", a_flipped_bit_anywhere_is_refused_or_does_not_matter);
        assert!(said.contains("read wrong data") && said.contains("wal-"), "{said}");
    }

    #[test]
    fn mutant_wal_newest_not_noted() {
        let said = words("wal_newest_not_noted", missing_and_extra_files_are_refused_or_do_not_matter);
        assert!(said.contains("read, but must BeRefused"), "{said}");
    }
}

#[test]
fn a_flipped_bit_anywhere_is_refused_or_does_not_matter() {
    let (mut looked, mut outcomes) = (0, BTreeMap::<String, u32>::new());
    for Rest { name, image, rows } in states() {
        for (n, (path, at)) in positions(&image).into_iter().enumerate() {
            let mut flipped = image.clone();
            let mut bytes = image.read(&path).unwrap();
            bytes[at] ^= 1 << (n % 8);
            flipped.put(&path, bytes);
            let kind = path.file_name().unwrap().to_string_lossy().chars().take(4).collect::<String>();
            let what = match open_and_read(&flipped) {
                Given::Rows(found) => {
                    let wrong = format!("{name}: {path:?} at {at}: {} of {} rows", found.len(), rows.len());
                    assert!(found == rows, "read wrong data: {wrong}");
                    "right"
                }
                Given::RefusedAtOpen { file, offset, words } => {
                    named(&path, at, &file, offset, &words);
                    "refused at open"
                }
                Given::RefusedAtRead { file, offset } => {
                    named(&path, at, &file, offset, "at the read");
                    "refused at the read"
                }
                Given::OtherFormat if path.ends_with("format") => "refused at open",
                other => panic!("{name}: {path:?} at {at}: {other:?}"),
            };
            looked += 1;
            *outcomes.entry(format!("{kind}: {what}")).or_default() += 1;
        }
    }
    println!("{looked} flipped bits: {outcomes:?}");
    assert!(looked > 3000, "{looked}");
    for seen in ["wal-: refused at open", "base: refused at open", "base: right", "form: right"] {
        assert!(outcomes.contains_key(seen), "no {seen}: {outcomes:?}");
    }
}

/// The refusal leads to the damage.
fn named(path: &Path, at: usize, file: &Path, offset: u64, words: &str) {
    if path.ends_with("format") {
        return; // another store's number: whoever bears the right one is named
    }
    assert_eq!(file, path, "flipped at {at}: {words}");
    let near = path.extension().is_none_or(|name| name != "redb") || (at as u64) < offset.max(1) + PAGE;
    assert!(offset <= at as u64 && near, "{path:?} flipped at {at}, named {offset}: {words}");
}

/// What goes bad under a running store is noticed at the read, and heals with the disk.
#[test]
fn a_bit_that_flips_under_a_running_store_is_noticed_at_the_read() {
    let Rest { image, rows, .. } = states().remove(0);
    let sim = Sim::new(9);
    let node = sim.node_with_disk("store", &image);
    let env = node.env();
    let base = path("base.redb");
    let options = EmbeddedOptions { segment_bytes: 8192, checkpoint_bytes: 4500, cache_bytes: 0 };
    let config = StoreConfig::Embedded { dir: DIR.into(), options };
    let (mut refused, mut right) = (0, 0);
    sim.block_on(async {
        let store = Store::open(&config, &env).await.unwrap();
        // A checkpoint would write over what is flipped, and be hit when it is flipped back.
        env.sleep(Duration::from_secs(1)).await;
        let len = env.disk().open(&base, Open::Existing).unwrap().len().unwrap();
        for n in 0..1200 {
            let at = 4096 + n * 7919 * 13 % (len - 4096);
            node.disk().flip_bit(&base, at, 2).unwrap();
            match workload::all_rows(&mut store.begin()).await {
                Ok(found) => {
                    assert!(found == rows, "flipped at {at}: wrong data");
                    right += 1;
                }
                Err(ReadError::Unavailable(Outage::Damaged { file, offset, .. })) => {
                    assert!(*file == *base && offset <= at && at < offset + PAGE, "{at}: {offset}");
                    refused += 1;
                }
                Err(other) => panic!("flipped at {at}: {other:?}"),
            }
            node.disk().flip_bit(&base, at, 2).unwrap();
            assert!(workload::all_rows(&mut store.begin()).await.unwrap() == rows, "after {at}");
        }
    });
    println!("{refused} refused at the read, {right} of no matter");
    assert!(refused > 50 && right > 50);
}

/// A read that brings another page is noticed and made again; a batch that landed elsewhere in
/// the log is missed at the next start.
#[test]
fn misdirected_reads_and_writes_are_noticed() {
    let Rest { image, rows, .. } = states().remove(0);
    let sim = Sim::new(9);
    let node = sim.node_with_disk("store", &image);
    let disk = node.disk();
    let options = EmbeddedOptions { segment_bytes: 8192, checkpoint_bytes: 4500, cache_bytes: 0 };
    let config = StoreConfig::Embedded { dir: DIR.into(), options };
    let env = node.env();
    sim.block_on(async {
        let store = Store::open(&config, &env).await.unwrap();
        // The spare segment is made by now.
        env.sleep(Duration::from_secs(1)).await;
        for _ in 0..20 {
            disk.misdirect_next_read(PAGE);
            let read = workload::all_rows(&mut store.begin()).await.unwrap();
            assert!(read == rows, "a misdirected read was taken for data");
        }
        disk.misdirect_next_write(512);
        let mut tx = store.begin();
        tx.set("lost", "on its way");
        tx.commit().await.unwrap();
    });
    node.kill_process();
    let env = node.restart();
    let refused = sim.block_on(Store::open(&config, &env)).map(drop).unwrap_err();
    assert!(
        matches!(&refused, OpenError::Damaged { file, .. } if file.to_string_lossy().contains("wal-")),
        "{refused:?}"
    );
    let fired = disk.fired();
    assert_eq!((fired["misdirected-read"], fired["misdirected-write"]), (20, 1));
}

/// A file is there as it should not be.
#[derive(Debug)]
enum Must {
    BeRight,
    BeRefused,
}

#[track_caller]
fn check(rest: &Rest, what: &str, must: Must, change: impl FnOnce(&mut DiskImage)) {
    let mut image = rest.image.clone();
    change(&mut image);
    let given = open_and_read(&image);
    let state = rest.name;
    match (must, given) {
        (Must::BeRight, Given::Rows(rows)) => assert!(rows == rest.rows, "{state}, {what}: other rows"),
        (Must::BeRefused, Given::RefusedAtOpen { .. } | Given::OtherFormat | Given::RefusedAtRead { .. }) => {
        }
        (must, Given::Rows(_)) => panic!("{state}, {what}: read, but must {must:?}"),
        (must, given) => panic!("{state}, {what}: must {must:?}: {given:?}"),
    }
}

fn with_prefix(image: &DiskImage, prefix: &str) -> Vec<PathBuf> {
    let name = |path: &PathBuf| path.file_name().unwrap().to_string_lossy().starts_with(prefix);
    image.files().into_iter().filter(name).collect()
}

fn path(name: &str) -> PathBuf {
    Path::new(DIR).join(name)
}

#[test]
fn missing_and_extra_files_are_refused_or_do_not_matter() {
    for rest in states() {
        for name in ["format", "newest", "base.redb"] {
            check(&rest, &format!("without {name}"), Must::BeRefused, |image| image.remove(&path(name)));
        }
        let segments = with_prefix(&rest.image, "wal-");
        let newest = segments.last().unwrap();
        check(&rest, "without its newest segment", Must::BeRefused, |image| image.remove(newest));
        check(&rest, "without any segment", Must::BeRefused, |image| {
            segments.iter().for_each(|path| image.remove(path));
        });
        check(&rest, "without base and log", Must::BeRefused, |image| {
            segments.iter().for_each(|path| image.remove(path));
            image.remove(&path("base.redb"));
        });
        check(&rest, "without spares", Must::BeRight, |image| {
            with_prefix(image, "spare-").iter().for_each(|path| image.remove(path));
        });
        check(&rest, "with a stranger", Must::BeRight, |image| image.put(&path("notes.txt"), vec![1; 100]));
        check(&rest, "with a spare of nonsense", Must::BeRight, |image| {
            image.put(&path("spare-wal-ffff.log"), vec![0xa5; 8192]);
            image.put(&path("spare-1234.log"), vec![1; 77]);
        });
        check(&rest, "with a half-made base", Must::BeRight, |image| {
            image.put(&path("base.new"), vec![9; 5000]);
            image.put(&path("format.new"), vec![]);
        });
        check(&rest, "with a segment twice", Must::BeRefused, |image| {
            let bytes = image.read(newest).unwrap();
            image.put(&path("wal-00000000ffffffff.log"), bytes);
        });
        check(&rest, "with an empty segment", Must::BeRefused, |image| {
            image.put(&path("wal-00000000ffffffff.log"), vec![]);
        });
    }
}

#[test]
fn cut_and_emptied_files_are_refused() {
    for rest in states() {
        let mut files = with_prefix(&rest.image, "wal-");
        files.extend(["format", "newest", "base.redb"].map(path));
        for file in files {
            let bytes = rest.image.read(&file).unwrap();
            let name = file.display();
            check(&rest, &format!("{name} emptied"), Must::BeRefused, |image| image.put(&file, vec![]));
            let zeroes = vec![0; bytes.len()];
            check(&rest, &format!("{name} zeroed"), Must::BeRefused, |image| image.put(&file, zeroes));
        }
        let base = rest.image.read(&path("base.redb")).unwrap();
        for kept in [1, 4096, 4097, base.len() / 2, base.len() - 4104, base.len() - 1] {
            let mut image = rest.image.clone();
            image.put(&path("base.redb"), base[..kept].to_vec());
            match open_and_read(&image) {
                Given::RefusedAtOpen { .. } | Given::RefusedAtRead { .. } => {}
                Given::Rows(rows) => assert!(rows == rest.rows, "{}: cut to {kept}, other rows", rest.name),
                other => panic!("{}: cut to {kept}: {other:?}", rest.name),
            }
        }
        let newest = with_prefix(&rest.image, "wal-").pop().unwrap();
        let log = rest.image.read(&newest).unwrap();
        for kept in (0..log.len()).step_by(97) {
            let mut image = rest.image.clone();
            image.put(&newest, log[..kept].to_vec());
            match open_and_read(&image) {
                Given::RefusedAtOpen { file, .. } => assert_eq!(file, newest),
                // A mark at the end of a cut file cannot be missed: only padding may go.
                Given::Rows(rows) => assert!(rows == rest.rows, "{}: cut to {kept}, rows lost", rest.name),
                other => panic!("{}: cut to {kept}: {other:?}", rest.name),
            }
        }
    }
}

#[test]
fn files_of_another_store_or_another_time_are_refused() {
    let (mine, other) = (states().remove(1), Run::new(77));
    other.live(other.node.env(), BUSY).unwrap();
    let other = other.node.disk().image();
    for file in ["base.redb", "newest", "format"] {
        check(&mine, &format!("{file} of another store"), Must::BeRefused, |image| {
            image.put(&path(file), other.read(&path(file)).unwrap());
        });
    }
    for segment in with_prefix(&other, "wal-") {
        check(&mine, "a segment of another store", Must::BeRefused, |image| {
            image.put(&segment, other.read(&segment).unwrap());
        });
    }
    let mut segments = with_prefix(&mine.image, "wal-");
    if segments.len() > 1 {
        let (a, b) = (segments.remove(0), segments.remove(0));
        check(&mine, "two segments exchanged", Must::BeRefused, |image| {
            let (one, two) = (image.read(&a).unwrap(), image.read(&b).unwrap());
            image.put(&a, two);
            image.put(&b, one);
        });
    }
}

#[test]
fn an_old_base_and_an_old_log_are_refused() {
    let run = Run::new(21);
    run.live(run.node.env(), BUSY).unwrap();
    let early = run.node.disk().image();
    run.node.kill_process();
    run.live(run.node.restart(), BUSY).unwrap();
    let late = at_rest("late", run.node.disk().image());
    check(&late, "the base of an earlier day", Must::BeRefused, |image| {
        image.put(&path("base.redb"), early.read(&path("base.redb")).unwrap());
    });
    check(&late, "the log of an earlier day", Must::BeRefused, |image| {
        with_prefix(image, "wal-").iter().for_each(|path| image.remove(path));
        for segment in with_prefix(&early, "wal-") {
            image.put(&segment, early.read(&segment).unwrap());
        }
    });
    // All of it is another matter: a restored backup.
    let earlier = at_rest("early", early);
    assert!(earlier.rows.len() < late.rows.len());
}
