use super::*;

fn request() -> Request {
    let commit = CommitRequest {
        reads: vec!["a".into(), "".into()],
        read_ranges: vec![KeyRange::new("b", "c")],
        clears: vec![KeyRange::prefix(b"d")],
        writes: vec![
            ("e".into(), Op::Set(vec![0, 255].into())),
            ("f".into(), Op::Clear),
            ("g".into(), Op::Atomic(vec![(AtomicOp::ByteMin, "h".into()), (AtomicOp::Add, "i".into())])),
        ],
        stamped: vec![Stamped { key: vec![7; 12], offset: 1, value: "j".into() }],
        write_conflicts: vec![KeyRange::single(b"k")],
    };
    let ask = Ask::Commit { snapshot: Some(u64::MAX), request: commit.into() };
    Request { client: 1, id: 2, life: 3, ask }
}

#[test]
fn what_was_sent_is_read_back() {
    let sent = request();
    let Some(read) = decode::<Request>(&encode(&sent)) else { panic!("unreadable") };
    assert_eq!(read, sent);
    let Ask::Commit { request, .. } = read.ask else { panic!("another") };
    let back = Writes::from(CommitRequest::from(request.clone()));
    assert_eq!(back, request);
}

#[test]
fn every_operation_stays_what_it_is() {
    use AtomicOp::{Add, And, ByteMax, ByteMin, Max, Min, Or, Xor};
    for op in [Add, And, Or, Xor, Max, Min, ByteMax, ByteMin] {
        assert_eq!(AtomicOp::from(Change::from(op)), op);
    }
}

#[test]
fn a_flipped_bit_or_a_cut_makes_it_unreadable() {
    let frame = encode(&request());
    for bit in 0..frame.len() * 8 {
        let mut damaged = frame.to_vec();
        damaged[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(decode::<Request>(&damaged), None, "bit {bit}");
    }
    for length in 0..frame.len() {
        assert_eq!(decode::<Request>(&frame[..length]), None, "{length} bytes");
    }
    let longer = [&frame[..], &[0]].concat();
    assert_eq!(decode::<Request>(&longer), None);
}

#[test]
fn a_whole_frame_of_another_kind_is_refused() {
    let reply = Reply { client: 1, id: 2, life: 3, said: Said::Values(vec![Some("x".into())]) };
    assert_eq!(decode::<Request>(&encode(&reply)), None);
    let mut other = encode(&reply).to_vec();
    other[CHECKSUM_BYTES] = FORMAT + 1;
    let checksum = crc32fast::hash(&other[CHECKSUM_BYTES..]);
    other[..CHECKSUM_BYTES].copy_from_slice(&checksum.to_le_bytes());
    assert_eq!(decode::<Reply>(&other), None, "another format");
}
