use super::super::frame::{RECORDS_BEGIN, append, seal};
use super::*;

const STORE: u64 = 77;
const SEGMENT: usize = RECORDS_BEGIN + 1024;

/// One batch: the records' numbers, and what was durable when it was written.
type Batch<'a> = (&'a [Lsn], Lsn);

fn header(generation: u64, first: Lsn, cut_after: Lsn) -> Header {
    Header { store: STORE, bytes: SEGMENT as u64, generation, first, previous: generation - 1, cut_after }
}

fn known(position: Lsn) -> Known {
    Known { store: STORE, newest: 0, position }
}

fn segment(header: Header, batches: &[Batch<'_>]) -> Vec<u8> {
    let mut bytes = header.encode().to_vec();
    bytes.resize(RECORDS_BEGIN, 0);
    for (records, synced) in batches {
        let mut frames = Vec::new();
        for lsn in *records {
            append(&mut frames, *lsn, |body| body.extend_from_slice(format!("record {lsn:05}").as_bytes()));
        }
        seal(&mut frames, header.generation, *synced);
        bytes.extend_from_slice(&frames);
    }
    bytes.resize(SEGMENT, 0);
    bytes
}

/// Where the n-th record of a segment begins: all have the same size.
fn place(n: usize) -> usize {
    RECORDS_BEGIN + n * (frame::FRAME_BYTES + 16)
}

fn outcome(segments: &[Vec<u8>], position: Lsn) -> String {
    let scanned: Vec<Scanned> =
        segments.iter().map(|bytes| scan(bytes, Header::decode(bytes).unwrap())).collect();
    match recover(&scanned, known(position)) {
        Ok(recovered) => {
            let replay: Vec<Lsn> = recovered.replay.iter().map(|(_, record)| record.lsn).collect();
            format!("replay {replay:?}, last {}", recovered.last)
        }
        Err(damage) => damage.to_string(),
    }
}

#[test]
fn whole_records_above_the_checkpoint_are_replayed() {
    let one = segment(header(1, 1, 0), &[(&[1, 2], 0), (&[3], 2)]);
    let two = segment(header(2, 4, 3), &[(&[4, 9], 3)]);
    assert_eq!(outcome(&[one.clone(), two.clone()], 0), "replay [1, 2, 3, 4, 9], last 9");
    assert_eq!(outcome(&[one, two.clone()], 3), "replay [4, 9], last 9");
    assert_eq!(outcome(&[two], 3), "replay [4, 9], last 9");
}

#[test]
fn a_torn_batch_is_cut_in_any_shape() {
    for torn in 2..5 {
        let mut bytes = segment(header(1, 1, 0), &[(&[1, 2], 0), (&[3, 4, 5], 2)]);
        bytes[place(torn) + 30] ^= 1;
        let replay: Vec<usize> = (1..=torn).collect();
        assert_eq!(outcome(&[bytes], 0), format!("replay {replay:?}, last {torn}"));
    }
}

#[test]
fn damage_before_the_tail_is_refused_wherever_it_is() {
    for damaged in 0..4 {
        for byte in [0, 4, 8, 16, 24, 35] {
            let mut bytes = segment(header(1, 1, 0), &[(&[1, 2], 0), (&[3, 4], 2), (&[5], 4)]);
            bytes[place(damaged) + byte] ^= 1;
            let said = outcome(&[bytes], 0);
            assert!(said.contains("was durable up to 4"), "record {damaged}, byte {byte}: {said}");
        }
    }
}

#[test]
fn a_later_segment_is_evidence_too() {
    let mut one = segment(header(1, 1, 0), &[(&[1], 0), (&[2], 1)]);
    let two = segment(header(2, 3, 2), &[]);
    one[place(1)] ^= 1;
    assert_eq!(
        outcome(&[one.clone(), two.clone()], 0),
        "a record after 1 was durable up to 2 and is unreadable"
    );
    assert_eq!(outcome(&[one, two.clone()], 2), "replay [], last 2", "the checkpoint holds it");
    assert_eq!(outcome(&[two], 1), "the log goes on after record 2, but what came before it is missing");
}

#[test]
fn what_was_cut_stays_cut() {
    let one = segment(header(1, 1, 0), &[(&[1], 0), (&[2, 3], 1)]);
    let two = segment(header(2, 10, 1), &[(&[10], 1)]);
    assert_eq!(outcome(&[one, two], 0), "replay [1, 10], last 10");
}

#[test]
fn old_records_of_a_recycled_segment_do_not_count() {
    let old = segment(header(1, 1, 0), &[(&[11], 0), (&[12], 11), (&[13], 12)]);
    let mut bytes = segment(header(2, 4, 3), &[(&[4], 3)]);
    bytes[place(1)..].copy_from_slice(&old[place(1)..]);
    assert_eq!(outcome(&[bytes], 3), "replay [4], last 4");
}

#[test]
fn a_log_shorter_than_its_checkpoint_is_refused() {
    let bytes = segment(header(1, 1, 0), &[(&[1], 0)]);
    assert_eq!(outcome(&[bytes], 7), "the log ends at record 1, before the checkpoint at 7");
}

#[test]
fn numbers_are_never_used_again() {
    let numbers = |segments: &[Vec<u8>]| {
        let scanned: Vec<Scanned> =
            segments.iter().map(|bytes| scan(bytes, Header::decode(bytes).unwrap())).collect();
        recover(&scanned, known(0)).unwrap().next
    };
    let first = numbers(&[segment(header(1, 1, 0), &[(&[1], 0)])]);
    // The run that began there lost all its records; only its header stayed.
    let second = numbers(&[segment(header(1, 1, 0), &[(&[1], 0)]), segment(header(2, first, 1), &[])]);
    assert!(first > 1 + (1 << 31) && second >= first + LSN_JUMP);
}

#[cfg(feature = "mutants")]
#[test]
fn mutants_of_the_scan_are_seen() {
    let torn = || {
        let mut bytes = segment(header(1, 1, 0), &[(&[1], 0), (&[2, 3], 1)]);
        bytes[place(1) + 30] ^= 1;
        vec![bytes]
    };
    let armed = |name, segments: &[Vec<u8>]| {
        let _armed = crate::mutant::arm(name);
        outcome(segments, 0)
    };
    assert_eq!(outcome(&torn(), 0), "replay [1], last 1");
    assert_eq!(armed("wal_skip_checksum", &torn()), "replay [1, 2, 3], last 3");
    assert_eq!(armed("wal_replay_past_torn", &torn()), "replay [1, 3], last 3");
}

#[test]
fn a_mark_tells_that_the_last_batch_was_durable() {
    let whole = segment(header(1, 1, 0), &[(&[1, 2], 0), (&[3, 4], 2)]);
    for (damaged, byte) in [(2, 0), (2, 5), (2, 9), (3, 17), (3, 30)] {
        let mut bytes = whole.clone();
        bytes[place(4)..place(4) + frame::FRAME_BYTES].copy_from_slice(&frame::mark(1, 4));
        assert_eq!(outcome(&[bytes.clone()], 0), "replay [1, 2, 3, 4], last 4");
        bytes[place(damaged) + byte] ^= 4;
        let said = outcome(&[bytes.clone()], 0);
        assert!(said.contains("was durable up to 4"), "record {damaged}, byte {byte}: {said}");
        // A torn one and one of a former life say nothing.
        for mark in [&frame::mark(1, 4)[..12], &frame::mark(7, 4)] {
            bytes[place(4)..place(4) + frame::FRAME_BYTES].fill(0);
            bytes[place(4)..place(4) + mark.len()].copy_from_slice(mark);
            assert!(outcome(&[bytes.clone()], 0).starts_with("replay"));
        }
    }
}

#[test]
fn a_segment_of_another_store_and_a_lost_newest_one_are_refused() {
    let one = segment(header(1, 1, 0), &[(&[1], 0)]);
    let scanned = scan(&one, Header::decode(&one).unwrap());
    let recover = |known| recover(std::slice::from_ref(&scanned), known).map(|recovered| recovered.last);
    assert_eq!(recover(known(0)), Ok(1));
    assert_eq!(recover(Known { newest: 1, ..known(0) }), Ok(1));
    assert_eq!(recover(Known { newest: 2, ..known(0) }), Err(Damage::Newest { generation: 1, newest: 2 }));
    assert_eq!(recover(Known { store: 78, ..known(0) }), Err(Damage::Foreign { segment: 0 }));
}
