use super::*;
use crate::embedding::tests::model;

fn passage(number: u64, text: &str, tags: &[&str]) -> Passage {
    let tags = tags.iter().map(|tag| (*tag).to_owned()).collect();
    Passage::new(format!("passage-{number}"), text.to_owned(), tags, 1_000 + number).expect("it fits")
}

#[test]
fn a_row_says_again_what_it_was_made_of() {
    let embeddings = model(&[&["tea"], &["cat"]]);
    let (tea, other) = (passage(1, "Tea, tea and more", &["drink", "hot drink"]), passage(2, "Nothing", &[]));
    let old = Passage { superseded_ms: Some(5), ..passage(3, "A cat", &[]) };
    let segment = Segment::of([Some(&tea), None, Some(&other), Some(&old)], Some(&embeddings));
    let bytes = segment.encoded();
    assert_eq!(Segment::decoded(&bytes), Ok(segment));
    let row = Row::read(&bytes).expect("a row");
    assert_eq!((row.entries, row.dimensions, row.model), (4, 2, Some(embeddings.name())));
    assert_eq!(
        [0, 1, 2, 3].map(|place| row.state(place)),
        [State::Current, State::Gone, State::Current, State::Superseded]
    );
    assert_eq!([row.created_ms(0), row.created_ms(3)], [1_001, 1_003]);
    // Words of its tags are its words, too.
    assert_eq!([0, 1, 2].map(|place| row.length(place)), [7, 0, 1]);
    let of = |numbers: &Numbers<'_>, word: &str| {
        numbers.of(words::number(word)).expect("a row").collect::<Vec<_>>()
    };
    assert_eq!(of(&row.words, "tea"), [(0, 2)]);
    assert_eq!(of(&row.words, "drink"), [(0, 2)]);
    assert_eq!(of(&row.words, "coffee"), []);
    assert_eq!(of(&row.tags, "hot drink"), [(0, 1)]);
    assert_eq!(row.vector(0).map(|(parts, _)| parts.to_vec()), Some(vec![127, 0]));
    assert!(row.vector(1).is_none() && row.vector(2).is_none() && row.vector(3).is_some());
}

#[test]
fn of_a_deleted_passage_nothing_stays_and_a_superseded_one_keeps_all() {
    let (tea, cat) = (passage(1, "tea", &["a"]), passage(2, "cat", &["b"]));
    let mut segment = Segment::of([Some(&tea), Some(&cat)], None);
    segment.forget(0);
    segment.supersede(0);
    segment.supersede(1);
    segment.supersede(2);
    let old = Passage { superseded_ms: Some(1), ..cat };
    assert_eq!(segment, Segment::of([None, Some(&old)], None));
}

#[test]
fn a_window_is_packed_into_as_few_rows_as_it_fits() {
    let short: Vec<Passage> = (0..128).map(|number| passage(number, "a few words", &[])).collect();
    let segments = |passages: &[Passage]| -> Vec<Segment> {
        passages.iter().map(|passage| Segment::of([Some(passage)], None)).collect()
    };
    let rows = Segment::packed(256, segments(&short));
    assert_eq!(rows.iter().map(|(first, _)| *first).collect::<Vec<_>>(), [256]);
    assert_eq!(Segment::decoded(&rows[0].1), Ok(Segment::of(short.iter().map(Some), None)));

    let long = |number: u64| {
        let text: Vec<String> = (0..500).map(|word| format!("w{number}x{word}")).collect();
        passage(number, &text.join(" "), &[])
    };
    let long: Vec<Passage> = (0..128).map(long).collect();
    let rows = Segment::packed(128, segments(&long));
    assert!(rows.len() > 4 && rows.iter().all(|(_, row)| row.len() <= PACKED_BYTES_MAX));
    let mut expected = 128;
    for (first, row) in &rows {
        assert_eq!(*first, expected);
        expected += Row::read(row).expect("a row").entries as u64;
    }
    assert_eq!(expected, 256);
}

#[test]
fn vectors_of_two_models_share_no_row() {
    let one = model(&[&["tea"], &["cat"]]);
    let passages = [passage(0, "tea", &[]), passage(1, "cat", &[]), passage(2, "tea", &[])];
    let segments = vec![
        Segment::of([Some(&passages[0])], None),
        Segment::of([Some(&passages[1])], Some(&one)),
        Segment::of([Some(&passages[2])], Some(&one)),
    ];
    let rows = Segment::packed(0, segments);
    let firsts: Vec<(u64, usize)> =
        rows.iter().map(|(first, row)| (*first, Row::read(row).expect("a row").entries)).collect();
    assert_eq!(firsts, [(0, 1), (1, 2)]);
}

#[test]
fn a_damaged_row_is_an_error_and_no_panic() {
    let bytes = Segment::of([Some(&passage(1, "tea and more", &["a"]))], None).encoded();
    for end in 0..bytes.len() {
        assert_eq!(Segment::decoded(&bytes[..end]), Err(SegmentError::Damaged), "{end}");
    }
    assert_eq!(Segment::decoded(&[bytes.clone(), vec![0]].concat()), Err(SegmentError::Damaged));
    assert_eq!(Segment::decoded(&[9]), Err(SegmentError::Version { found: 9 }));
    for at in 0..bytes.len() {
        let mut other = bytes.clone();
        other[at] ^= 0xFF;
        // Whatever it says now, it is read to its end or refused.
        let _ = Segment::decoded(&other);
    }
}

#[test]
fn rows_are_fresh_when_they_have_all_positions_and_the_models_vectors() {
    let embeddings = model(&[&["tea"], &["cat"]]);
    let tea = passage(0, "tea", &[]);
    let row = |count, embeddings| Segment::of(std::iter::repeat_n(Some(&tea), count), embeddings).encoded();
    let (new, old) = (row(2, Some(&embeddings)), row(1, None));
    let fresh = |rows: &[(u64, &[u8])], to, model| are_fresh(rows.iter().copied(), 0, to, model);
    let name = Some(embeddings.name());
    assert_eq!(fresh(&[(0, &new)], 2, name), Ok(true));
    assert_eq!(fresh(&[(0, &new)], 3, name), Ok(false));
    assert_eq!(fresh(&[(0, &new), (2, &old)], 3, name), Ok(false));
    assert_eq!(fresh(&[(0, &new), (2, &old)], 3, None), Ok(true));
    assert_eq!(fresh(&[(1, &new)], 3, name), Ok(false));
    assert_eq!(fresh(&[(0, &[])], 1, name), Err(SegmentError::Damaged));
    assert_eq!([0, 127, 128, 300].map(window_of), [0, 0, 128, 256]);
}
