use std::ops::Range;

use parking_lot::Mutex;
use proptest::prelude::*;

use super::*;

/// How a note ends.
#[derive(Debug, Clone, Copy)]
enum End {
    Fine,
    /// The sync fails; the next process sees what was written.
    NotSynced,
    /// The power goes; what was written is on disk, torn, or was never written.
    PowerCut {
        kept: usize,
    },
}

/// A double of a file on a disk: what processes see, and what a power cut leaves.
#[derive(Debug, Default)]
struct Half {
    cache: Vec<u8>,
    disk: Vec<u8>,
    syncs: bool,
}

#[derive(Debug, Default)]
struct Double(Mutex<Half>);

impl File for Double {
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        buffer.copy_from_slice(&self.0.lock().cache[place(offset, buffer.len())]);
        Ok(())
    }

    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.0.lock().cache[place(offset, bytes.len())].copy_from_slice(bytes);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let half = &mut *self.0.lock();
        if !half.syncs {
            return Err(io::Error::other("no sync"));
        }
        half.disk.clone_from(&half.cache);
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.0.lock().cache.len() as u64)
    }

    fn set_len(&self, _: u64) -> io::Result<()> {
        Err(io::Error::other("its length stays"))
    }
}

/// Where so many bytes stand.
fn place(offset: u64, len: usize) -> Range<usize> {
    let begin = usize::try_from(offset).unwrap();
    begin..begin + len
}

impl Double {
    fn new() -> Arc<Self> {
        let mut bytes = encode(7, 0).to_vec();
        bytes.resize(NEWEST_FILE_BYTES, 0);
        Arc::new(Self(Mutex::new(Half { cache: bytes.clone(), disk: bytes, syncs: true })))
    }

    fn fails(&self, fails: bool) {
        self.0.lock().syncs = !fails;
    }

    /// The bytes that were written and not synced are there up to `kept` of them, by place.
    fn cut(&self, kept: usize) {
        let half = &mut *self.0.lock();
        let changed = (0..half.cache.len()).filter(|at| half.cache[*at] != half.disk[*at]);
        for at in changed.take(kept).collect::<Vec<_>>() {
            half.disk[at] = half.cache[at];
        }
        half.cache.clone_from(&half.disk);
    }
}

fn end() -> impl Strategy<Value = End> {
    prop_oneof![Just(End::Fine), Just(End::NotSynced), (0_usize..40).prop_map(|kept| End::PowerCut { kept })]
}

/// Notes of segments whose numbers have gaps, with every way that they end: whoever opens next
/// reads one, and none that was acknowledged is forgotten.
fn notes(ends: &[(u64, End, End)]) -> Result<(), String> {
    let file = Double::new();
    let (mut generation, mut acknowledged) = (0, 0);
    let opened = || {
        let read = Newest::read(file.clone(), 7).map_err(|error| error.to_string())?;
        read.ok_or_else(|| "neither place says anything".to_owned())
    };
    for (gap, of_harden, of_note) in ends {
        let (newest, said) = opened()?;
        if said < acknowledged {
            return Err(format!("{acknowledged} was noted, and {said} is read"));
        }
        generation += gap;
        for (end, write) in [
            (of_harden, &(|| newest.harden()) as &dyn Fn() -> io::Result<()>),
            (of_note, &|| newest.note(generation)),
        ] {
            file.fails(!matches!(end, End::Fine));
            let written = write();
            file.fails(false);
            if let End::PowerCut { kept } = end {
                file.cut(*kept);
            }
            if written.is_err() || matches!(end, End::PowerCut { .. }) {
                break;
            }
            if std::ptr::eq(end, of_note) {
                acknowledged = generation;
            }
        }
    }
    opened().map(drop)
}

fn steps() -> impl Strategy<Value = Vec<(u64, End, End)>> {
    prop::collection::vec((1_u64..4, end(), end()), 1..40)
}

proptest! {
    #[test]
    fn one_place_always_says_which_segment_is_the_newest(ends in steps()) {
        prop_assert_eq!(notes(&ends), Ok(()));
    }
}

#[cfg(feature = "mutants")]
#[test]
fn a_place_chosen_by_number_loses_both() {
    let torn = |gap| (gap, End::Fine, End::PowerCut { kept: 3 });
    let ends = [(1, End::Fine, End::Fine), torn(1), torn(1)];
    assert_eq!(notes(&ends), Ok(()));
    let _armed = kelpie_core::mutant::arm("wal_note_by_number");
    assert!(notes(&ends).unwrap_err().contains("neither place"));
}
