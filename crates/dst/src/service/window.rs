//! Numbered requests of one client, each carried out at most once.
//!
//! ```text
//!   … forgotten … floor │ known, some of them done │ not seen yet …
//!          refused      │   answered as before     │  carried out
//! ```
//!
//! Invariant: a number that was taken once is never taken again: it is known, or not above
//! the floor.

use std::collections::BTreeMap;
use std::time::Duration;

/// What is known of a client's numbers.
pub(super) struct Window<T> {
    entries: BTreeMap<u64, (T, Duration)>,
    /// Numbers up to here were forgotten, or never came.
    floor: u64,
}

/// What is known of one number.
pub(super) enum Known<'a, T> {
    /// Nothing: it may be taken.
    Free,
    /// It was taken.
    Taken(&'a mut T),
    /// It may have been taken, long ago.
    Forgotten,
}

impl<T> Window<T> {
    pub(super) fn new() -> Self {
        Self { entries: BTreeMap::new(), floor: 0 }
    }

    pub(super) fn get(&mut self, number: u64) -> Known<'_, T> {
        match self.entries.get_mut(&number) {
            Some((entry, _)) => Known::Taken(entry),
            None if number <= self.floor => Known::Forgotten,
            None => Known::Free,
        }
    }

    /// Takes a number, or says how it stands from `now` on.
    pub(super) fn put(&mut self, number: u64, entry: T, now: Duration) {
        self.entries.insert(number, (entry, now));
    }

    /// Every entry, and since when it stands so.
    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut (T, Duration)> {
        self.entries.values_mut()
    }

    /// Forgets what stands as it is since `before` and may go, oldest numbers first.
    pub(super) fn forget(&mut self, before: Duration, may_go: impl Fn(&T) -> bool) {
        while let Some(first) = self.entries.first_entry() {
            let (entry, since) = first.get();
            if *since >= before || !may_go(entry) {
                return;
            }
            self.floor = *first.key();
            first.remove();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_never_free_twice() {
        let second = Duration::from_secs;
        let mut window = Window::new();
        for number in [3, 1, 7] {
            assert!(matches!(window.get(number), Known::Free));
            window.put(number, "running", second(number));
        }
        window.put(3, "done", second(9));
        assert!(matches!(window.get(3), Known::Taken(entry) if *entry == "done"));
        // The oldest may go, the next is too young, and what is behind it stays.
        window.forget(second(8), |entry| *entry != "busy");
        assert!(matches!(window.get(1), Known::Forgotten));
        assert!(matches!(window.get(2), Known::Free), "it never came, and may still");
        assert!(matches!(window.get(7), Known::Taken(_)));
        window.put(7, "busy", second(7));
        window.forget(second(10), |entry| *entry != "busy");
        for number in 0..4 {
            assert!(matches!(window.get(number), Known::Forgotten));
        }
        assert!(matches!(window.get(7), Known::Taken(_)), "it may not go");
        assert!(matches!(window.get(8), Known::Free));
    }
}
