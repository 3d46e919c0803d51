use bytes::Bytes;
use futures::StreamExt;
use futures::executor::block_on;
use kelpie_core::row;

use super::*;
use crate::backup::encode;
use crate::contract::Export;

fn head() -> Head {
    Head { version: 7, wall_ms: 1_700_000_000_000, generation: Some(5), backend: "memory".to_owned() }
}

fn rows(from: u32, to: u32) -> RowBatch {
    let row = |n: u32| (Bytes::from(format!("key-{n:08}")), Bytes::from(vec![n.to_le_bytes()[0]; 40]));
    (from..to).map(row).collect()
}

fn backup(batches: Vec<RowBatch>) -> Vec<u8> {
    let batches = futures::stream::iter(batches.into_iter().map(Ok)).boxed();
    let pieces: Vec<_> = block_on(encode(&head(), Export { version: 7, batches }).collect());
    pieces.into_iter().flat_map(Result::unwrap).collect()
}

/// Reads bytes as a backup, `step` at a time.
fn read(bytes: &[u8], step: usize) -> Result<(Vec<Piece>, Summary), BackupError> {
    let mut decoder = Decoder::default();
    let mut pieces = Vec::new();
    for part in bytes.chunks(step) {
        decoder.push(part);
        while let Some(piece) = decoder.next_piece()? {
            pieces.push(piece);
        }
    }
    Ok((pieces, decoder.finish()?))
}

#[test]
fn what_was_written_is_read_back_however_it_arrives() {
    let batches = vec![rows(0, 20), rows(20, 21), rows(30, 50)];
    let bytes = backup(batches.clone());
    for step in [1, 7, 100, bytes.len()] {
        let (pieces, summary) = read(&bytes, step).unwrap();
        let mut expected = vec![Piece::Head(head())];
        expected.extend(batches.iter().cloned().map(Piece::Rows));
        expected.push(Piece::End(summary.clone()));
        assert_eq!(pieces, expected, "{step}");
        assert_eq!((summary.rows, summary.row_bytes), (41, 41 * 52));
    }
}

#[test]
fn every_flipped_bit_is_refused() {
    let bytes = backup(vec![rows(0, 6), rows(6, 9)]);
    for at in 0..bytes.len() {
        for bit in 0..8 {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1 << bit;
            assert!(read(&damaged, 64).is_err(), "bit {bit} of byte {at}");
        }
    }
}

#[test]
fn every_cut_and_every_addition_is_refused() {
    let bytes = backup(vec![rows(0, 6)]);
    for end in 0..bytes.len() {
        let error = read(&bytes[..end], 64).unwrap_err();
        assert_eq!(error, BackupError::Truncated { bytes: end as u64 }, "cut at {end}");
    }
    let longer = [&bytes[..], b"x"].concat();
    let offset = bytes.len() as u64;
    assert_eq!(read(&longer, 64), Err(BackupError::Damaged { offset, what: "nothing" }));
}

#[test]
fn frames_that_were_swapped_left_out_or_doubled_are_refused() {
    let one = backup(vec![rows(0, 3)]);
    let (first, second) = (backup(vec![rows(0, 3), rows(3, 6)]), backup(vec![rows(3, 6), rows(6, 9)]));
    let end = FRAME_BYTES + COUNTS_BYTES + 32;
    let frame = (first.len() - one.len(), first.len() - end);
    let begin = one.len() - end - frame.0;
    let part = |bytes: &[u8], number: usize| bytes[begin + number * frame.0..][..frame.0].to_vec();
    let joined = |frames: &[Vec<u8>]| [&first[..begin], &frames.concat(), &first[frame.1..]].concat();
    let (a, b, c) = (part(&first, 0), part(&first, 1), part(&second, 1));
    assert!(read(&joined(&[a.clone(), b.clone()]), 64).is_ok());
    for frames in [vec![a.clone()], vec![b, a.clone()], vec![a.clone(), a.clone()], vec![a, c], vec![]] {
        assert!(matches!(read(&joined(&frames), 64), Err(BackupError::Damaged { .. })));
    }
}

#[test]
fn other_files_and_other_formats_are_named() {
    assert_eq!(read(b"PK\x03\x04 something else", 64), Err(BackupError::Foreign));
    assert_eq!(read(b"no", 64), Err(BackupError::Foreign));
    assert_eq!(read(b"", 64), Err(BackupError::Truncated { bytes: 0 }));
    let mut later = backup(vec![]);
    later[8..12].copy_from_slice(&2u32.to_le_bytes());
    assert_eq!(read(&later, 64), Err(BackupError::UnknownFormat { found: 2 }));
}

#[test]
fn the_generation_is_in_the_head_and_not_among_the_rows() {
    let mut with = rows(0, 3);
    let without = backup(vec![with.clone()]);
    with.push((row::generation(), Bytes::from(vec![1; 16])));
    assert_eq!(backup(vec![with]), without);
}
