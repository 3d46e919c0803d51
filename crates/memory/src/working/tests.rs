use proptest::prelude::*;

use super::*;

/// What somebody does, and the time that the clock shows then.
#[derive(Debug, Clone)]
enum Deed {
    Set { key: u8, bytes: usize, ttl_minutes: Option<u64> },
    Delete { key: u8 },
    Look,
}

fn deeds() -> impl Strategy<Value = Vec<(u64, Deed)>> {
    // Texts so long and keys so many that both limits are met.
    let bytes = prop_oneof![0..40_usize, 12_000..VALUE_BYTES_MAX + 2];
    let ttl = prop::option::of(prop_oneof![0..5_u64, Just(TTL_MINUTES_MAX), Just(TTL_MINUTES_MAX + 1)]);
    let deed = prop_oneof![
        4 => (0..40_u8, bytes, ttl).prop_map(|(key, bytes, ttl_minutes)| Deed::Set { key, bytes, ttl_minutes }),
        1 => (0..40_u8).prop_map(|key| Deed::Delete { key }),
        2 => Just(Deed::Look),
    ];
    // The clock goes forward and back by up to some minutes.
    let times = prop::collection::vec((0..10 * MINUTE_MS, deed), 1..120);
    times.prop_map(|deeds| deeds.into_iter().map(|(at, deed)| (1_000_000 + at, deed)).collect())
}

/// The store as the shell keeps it: a look by somebody who may write clears what has expired.
#[derive(Default)]
struct Rows(BTreeMap<String, WorkingEntry>);

impl Rows {
    fn look(&mut self, now_ms: u64) -> WorkingMemory {
        let memory = WorkingMemory::at(now_ms, self.0.values().cloned());
        for key in memory.expired() {
            self.0.remove(key);
        }
        memory
    }
}

/// The same in a few lines: what has expired at a look is gone for good.
#[derive(Default)]
struct Model(BTreeMap<String, (usize, Option<u64>)>);

impl Model {
    fn look(&mut self, now_ms: u64) {
        self.0.retain(|_, (_, expires)| expires.is_none_or(|expires| now_ms < expires));
    }

    fn set(&mut self, now_ms: u64, key: &str, bytes: usize, ttl_minutes: Option<u64>) -> bool {
        let others = self.0.iter().filter(|(other, _)| *other != key);
        let room = others.fold(0, |sum, (key, (bytes, _))| sum + key.len() + bytes) + key.len() + bytes;
        let allowed = bytes <= VALUE_BYTES_MAX
            && room <= BYTES_MAX
            && ttl_minutes.is_none_or(|minutes| minutes > 0 && minutes <= TTL_MINUTES_MAX);
        if allowed {
            self.0.insert(key.to_owned(), (bytes, ttl_minutes.map(|minutes| now_ms + minutes * 60_000)));
        }
        allowed
    }
}

fn lived(deeds: &[(u64, Deed)]) {
    let (mut rows, mut model) = (Rows::default(), Model::default());
    for (now_ms, deed) in deeds {
        let memory = rows.look(*now_ms);
        model.look(*now_ms);
        match deed {
            Deed::Set { key, bytes, ttl_minutes } => {
                let (key, value) = (format!("k{key}"), "x".repeat(*bytes));
                let set = memory.set(NewWorkingEntry { key: key.clone(), value, ttl_minutes: *ttl_minutes });
                assert_eq!(set.is_ok(), model.set(*now_ms, &key, *bytes, *ttl_minutes), "{set:?}");
                if let Ok(entry) = set {
                    rows.0.insert(key, entry);
                }
            }
            Deed::Delete { key } => {
                let key = format!("k{key}");
                assert_eq!(memory.get(&key).is_some(), model.0.contains_key(&key), "{key} is there or not");
                rows.0.remove(&key);
                model.0.remove(&key);
            }
            Deed::Look => {
                let seen: Vec<(&String, usize, Option<u64>)> =
                    memory.entries().map(|entry| (&entry.key, entry.value.len(), entry.expires_ms)).collect();
                let there: Vec<(&String, usize, Option<u64>)> =
                    model.0.iter().map(|(key, (bytes, expires))| (key, *bytes, *expires)).collect();
                assert_eq!(seen, there, "what is seen at {now_ms}");
                let all = memory.entries().all(|entry| memory.get(&entry.key) == Some(entry));
                assert!(all, "what is listed can be read");
            }
        }
        let kept: usize = rows.0.values().map(WorkingEntry::bytes).sum();
        assert!(
            rows.0.len() <= ENTRIES_MAX && kept <= BYTES_MAX,
            "rows grow: {} of {kept} bytes",
            rows.0.len()
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn working_memory_is_what_has_not_expired_whatever_the_clock_did(deeds in deeds()) {
        lived(&deeds);
    }
}

fn new(key: &str, value: &str) -> NewWorkingEntry {
    NewWorkingEntry { key: key.to_owned(), value: value.to_owned(), ttl_minutes: None }
}

#[test]
fn limits_are_told_before_anything_is_written() {
    let entry = |number: usize| WorkingEntry {
        key: format!("{number:03}"),
        value: String::new(),
        set_ms: 0,
        expires_ms: (number == 0).then_some(10),
    };
    let full = WorkingMemory::at(9, (0..ENTRIES_MAX).map(entry));
    let words = |set: Result<WorkingEntry, WorkingError>| {
        set.map_or_else(|error| error.to_string(), |entry| format!("{} is set", entry.key))
    };
    let got = [
        words(full.set(new("more", ""))),
        words(full.set(new("007", "replaced"))),
        words(WorkingMemory::at(10, (0..ENTRIES_MAX).map(entry)).set(new("more", ""))),
        words(full.set(new("", ""))),
        words(full.set(new(&"k".repeat(129), ""))),
        words(full.set(new("a\nb", ""))),
        words(full.set(new("007", &"x".repeat(VALUE_BYTES_MAX + 1)))),
        words(full.set(NewWorkingEntry { ttl_minutes: Some(0), ..new("007", "") })),
    ];
    let expected = [
        "Working memory holds at most 256 entries: delete one, or replace one",
        "007 is set",
        "more is set",
        "A key of working memory must have 1 to 128 bytes and no control characters",
        "A key of working memory must have 1 to 128 bytes and no control characters",
        "A key of working memory must have 1 to 128 bytes and no control characters",
        "A value of working memory may have at most 16384 bytes (this one: 16385)",
        "ttl_minutes must be between 1 and 525600, not 0",
    ];
    assert_eq!(got, expected);
    let large = |number: usize| WorkingEntry { value: "x".repeat(VALUE_BYTES_MAX), ..entry(number) };
    let almost = WorkingMemory::at(9, (1..16).map(large));
    let error = almost.set(new("last", &"x".repeat(VALUE_BYTES_MAX))).unwrap_err();
    assert_eq!(error, WorkingError::Full { bytes: 15 * (VALUE_BYTES_MAX + 3) + 4 + VALUE_BYTES_MAX });
}

#[test]
fn an_entry_holds_until_its_time_and_not_a_moment_longer() {
    let empty = WorkingMemory::at(1_000, []);
    let entry = empty.set(NewWorkingEntry { ttl_minutes: Some(2), ..new("k", "v") }).unwrap();
    assert_eq!((entry.set_ms, entry.expires_ms), (1_000, Some(121_000)));
    assert_eq!(WorkingMemory::at(120_999, [entry.clone()]).get("k"), Some(&entry));
    let later = WorkingMemory::at(121_000, [entry]);
    assert_eq!((later.get("k"), later.entries().count(), later.expired()), (None, 0, &["k".to_owned()][..]));
}

#[cfg(feature = "mutants")]
#[test]
fn an_expired_entry_that_counts_is_caught() {
    let _armed = kelpie_core::mutant::arm("working_expired_counts");
    let set = Deed::Set { key: 1, bytes: 1, ttl_minutes: Some(1) };
    let test = || lived(&[(1_000_000, set.clone()), (1_060_000, Deed::Look)]);
    let panic = std::panic::catch_unwind(test).expect_err("the seeded bug was not noticed");
    let words = panic.downcast_ref::<String>().expect("words");
    assert!(words.contains("what is seen at"), "{words}");
}
