//! Against a map that is read each time.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::super::folds::Folds;
use super::*;

fn range(begin: u8, end: u8) -> KeyRange {
    KeyRange { begin: Bytes::from(vec![begin]), end: Bytes::from(vec![end]) }
}

/// A base in memory.
#[derive(Default)]
struct Map(BTreeMap<Bytes, Bytes>);

impl Map {
    fn scan(&self, range: &KeyRange, limit: usize, reverse: bool) -> Rows {
        let all = self.0.range(range.begin.clone()..range.end.clone());
        let all: Vec<_> = all.map(|(key, value)| (key.clone(), value.clone())).collect();
        let more = all.len() > limit;
        let rows: RowList = if reverse {
            all.into_iter().rev().take(limit).collect()
        } else {
            all.into_iter().take(limit).collect()
        };
        Rows { rows, more }
    }
}

/// A scan as the base makes it: what is known first, the rest from the map, which is kept.
fn scan(cache: &PieceCache, map: &Map, range: &KeyRange, limit: usize, reverse: bool) -> (RowList, usize) {
    let folds = Folds::default();
    let Known { mut rows, rest } = cache.scan(range, limit, reverse);
    let known = rows.len();
    if !rest.is_empty() && known < limit {
        let found = map.scan(&rest, limit - known, reverse);
        cache.keep(folds.begin(), &rest, &found, reverse);
        rows.append(found.rows);
    }
    (rows, known)
}

#[derive(Debug, Clone)]
enum Action {
    Scan { begin: u8, end: u8, limit: usize, reverse: bool },
    Put { key: u8, len: usize },
    Remove { key: u8 },
    Clear { begin: u8, end: u8 },
}

fn action() -> impl Strategy<Value = Action> {
    prop_oneof![
        6 => (any::<u8>(), any::<u8>(), 1_usize..40, any::<bool>())
            .prop_map(|(begin, end, limit, reverse)| Action::Scan { begin, end, limit, reverse }),
        1 => (any::<u8>(), 0_usize..1500).prop_map(|(key, len)| Action::Put { key, len }),
        1 => any::<u8>().prop_map(|key| Action::Remove { key }),
        1 => (any::<u8>(), any::<u8>()).prop_map(|(begin, end)| Action::Clear { begin, end }),
    ]
}

proptest! {
    #[test]
    fn a_scan_finds_what_the_base_holds(
        actions in prop::collection::vec(action(), 1..200),
        bytes_max in prop_oneof![Just(8 << 10), Just(1 << 20)],
    ) {
        let (cache, mut map) = (PieceCache::new(bytes_max), Map::default());
        for key in (0..=255).step_by(3) {
            map.0.insert(Bytes::from(vec![key]), Bytes::from(vec![key; 20]));
        }
        for action in actions {
            match action {
                Action::Scan { begin, end, limit, reverse } => {
                    let range = range(begin, end.max(begin));
                    let (rows, _) = scan(&cache, &map, &range, limit, reverse);
                    prop_assert_eq!(rows, map.scan(&range, limit, reverse).rows);
                }
                Action::Put { key, len } => {
                    cache.forget(&[key]);
                    map.0.insert(Bytes::from(vec![key]), Bytes::from(vec![key; len]));
                }
                Action::Remove { key } => {
                    cache.forget(&[key]);
                    map.0.remove(&[key][..]);
                }
                Action::Clear { begin, end } => {
                    let range = range(begin, end.max(begin));
                    cache.forget_ranges(std::slice::from_ref(&range));
                    map.0.retain(|key, _| !range.contains(key));
                }
            }
            let pieces = cache.pieces.read();
            let cost: usize = pieces.by_begin.iter().map(|(begin, piece)| piece.cost(begin)).sum();
            prop_assert_eq!(pieces.bytes, cost);
            prop_assert!(cost <= bytes_max && pieces.clock.len() <= 2 * pieces.by_begin.len() + 64);
            let ends = pieces.by_begin.values().map(|piece| &piece.end);
            prop_assert!(ends.zip(pieces.by_begin.keys().skip(1)).all(|(end, next)| end <= next));
        }
    }
}

#[test]
fn what_was_scanned_is_known_until_a_fold_changes_it() {
    let (cache, mut map) = (PieceCache::new(1 << 20), Map::default());
    (0..100).for_each(|key| drop(map.0.insert(Bytes::from(vec![key]), Bytes::from("value"))));
    let known = |range: &KeyRange, limit, reverse| cache.scan(range, limit, reverse).rows.len();
    assert_eq!(
        scan(&cache, &map, &range(10, 90), 1000, false),
        (map.scan(&range(10, 90), 1000, false).rows, 0)
    );
    assert_eq!((known(&range(10, 90), 1000, false), known(&range(10, 90), 7, true)), (80, 7));
    assert_eq!((known(&range(0, 20), 1000, false), known(&range(0, 20), 1000, true)), (0, 10));
    assert_eq!(cache.scan(&range(80, 95), 1000, false).rest, range(90, 95));
    // That there is nothing is known as well.
    scan(&cache, &map, &range(150, 200), 10, false);
    assert!(cache.scan(&range(160, 170), 10, true).rest.is_empty());
    cache.forget(&[30]);
    assert_eq!((known(&range(10, 90), 1000, false), known(&range(150, 160), 10, false)), (0, 0));
    assert!(cache.scan(&range(160, 170), 10, false).rest.is_empty());
    cache.forget_ranges(&[range(0, 1), range(199, 210)]);
    assert_eq!(cache.scan(&range(160, 170), 10, false).rest, range(160, 170));
}

#[test]
fn folds_leave_no_more_in_the_clock_than_scans_do() {
    let (cache, map) = (PieceCache::new(1 << 20), Map::default());
    for begin in 0..200 {
        scan(&cache, &map, &range(begin, begin + 1), 1, false);
    }
    for key in 0..200 {
        cache.forget(&[key]);
        let pieces = cache.pieces.read();
        assert!(pieces.clock.len() <= 2 * pieces.by_begin.len() + 64, "after {key}");
    }
}

#[test]
fn what_was_scanned_before_or_during_a_fold_is_not_kept() {
    let (cache, folds) = (PieceCache::new(1 << 20), Folds::default());
    let rows =
        || Rows { rows: [(Bytes::from_static(&[5]), Bytes::from("old"))].into_iter().collect(), more: false };
    let is_known = || cache.scan(&range(0, 9), 10, false).rest.is_empty();
    let before = folds.begin();
    let folding = folds.fold();
    let during = folds.begin();
    cache.keep(during, &range(0, 9), &rows(), false);
    assert!(!is_known());
    drop(folding);
    for began in [before, during] {
        cache.keep(began, &range(0, 9), &rows(), false);
        assert!(!is_known());
    }
    cache.keep(folds.begin(), &range(0, 9), &rows(), false);
    assert!(is_known());
}

#[test]
fn what_is_used_stays_and_nothing_large_comes_in() {
    let (cache, folds) = (PieceCache::new(64 << 10), Folds::default());
    let piece = |key: u8, len: usize| Rows {
        rows: [(Bytes::from(vec![key]), Bytes::from(vec![7; len]))].into_iter().collect(),
        more: false,
    };
    let is_known = |key: u8| cache.scan(&range(key, key + 1), 10, false).rest.is_empty();
    cache.keep(folds.begin(), &range(0, 1), &piece(0, 40 << 10), false);
    assert!(!is_known(0), "it alone would take most of the room");
    for key in 1..200 {
        cache.keep(folds.begin(), &range(key, key + 1), &piece(key, 1000), false);
        assert!(is_known(1), "used again and again, gone after {key}");
    }
    assert!(is_known(199) && !is_known(2));
    let off = PieceCache::new(0);
    off.keep(folds.begin(), &range(0, 1), &piece(0, 1), false);
    assert!(!off.scan(&range(0, 1), 1, false).rest.is_empty());
}
