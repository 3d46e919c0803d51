//! The calls that wait for one actor, fair among those who call.
//!
//! ```text
//!   arrivals   a a a a b a c        a, b, c: who calls (their lanes)
//!   rounds     1 2 3 4 1 5 1        each lane has one place in each round
//!   order      a b c a a a a        round by round; within one, as they came
//! ```
//!
//! When it is full, whoever has less in it than others takes a place of the one who has
//! most: that one's last call is refused. So nobody can keep others out.
//!
//! Invariant: it never holds more than its bound; calls of one lane keep their order.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::call::{CallKey, Lane};

/// A turn that waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Waiting {
    pub(super) key: CallKey,
    pub(super) lane: Lane,
    /// When it is too late to begin.
    pub(super) deadline: Duration,
}

/// What became of a call that came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pushed {
    /// There was room.
    In,
    /// This other call had to make room.
    InsteadOf(CallKey),
    /// There is none.
    Full,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Hash)]
struct Share {
    waiting: usize,
    /// The last round in which it has a place.
    round: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Mailbox {
    calls_max: usize,
    /// By round and arrival.
    queue: BTreeMap<(u64, u64), Waiting>,
    shares: BTreeMap<Lane, Share>,
    round: u64,
    arrivals: u64,
}

impl Mailbox {
    pub(super) fn new(calls_max: usize) -> Self {
        Self { calls_max, queue: BTreeMap::new(), shares: BTreeMap::new(), round: 0, arrivals: 0 }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// In the order in which they will run, as far as nobody else comes.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Waiting> {
        self.queue.values()
    }

    pub(super) fn push(&mut self, waiting: Waiting) -> Pushed {
        let mut pushed = Pushed::In;
        if self.queue.len() >= self.calls_max {
            match self.displace(waiting.lane) {
                Some(key) => pushed = Pushed::InsteadOf(key),
                None => return Pushed::Full,
            }
        }
        let share = self.shares.entry(waiting.lane).or_default();
        share.waiting += 1;
        share.round = (share.round + 1).max(self.round);
        self.arrivals += 1;
        self.queue.insert((share.round, self.arrivals), waiting);
        pushed
    }

    /// Before all others, and beyond the bound: a turn that had begun before.
    pub(super) fn push_first(&mut self, waiting: Waiting) {
        self.shares.entry(waiting.lane).or_default().waiting += 1;
        self.queue.insert((0, 0), waiting);
    }

    pub(super) fn pop(&mut self) -> Option<Waiting> {
        let ((round, _), waiting) = self.queue.pop_first()?;
        self.round = self.round.max(round);
        self.left(waiting.lane);
        Some(waiting)
    }

    pub(super) fn remove(&mut self, key: CallKey) -> Option<Waiting> {
        let (&place, _) = self.queue.iter().find(|(_, waiting)| waiting.key == key)?;
        let waiting = self.queue.remove(&place)?;
        self.left(waiting.lane);
        Some(waiting)
    }

    pub(super) fn clear(&mut self) {
        *self = Self::new(self.calls_max);
    }

    /// Takes out the last call of the lane that has most, if that is more than `lane` would have.
    fn displace(&mut self, lane: Lane) -> Option<CallKey> {
        let own = self.shares.get(&lane).map_or(0, |share| share.waiting);
        let (&most, share) = self.shares.iter().max_by_key(|(_, share)| share.waiting)?;
        if share.waiting <= own + 1 {
            return None;
        }
        let last = self.queue.values().rev().find(|waiting| waiting.lane == most)?.key;
        self.remove(last).map(|waiting| waiting.key)
    }

    fn left(&mut self, lane: Lane) {
        let Some(share) = self.shares.get_mut(&lane) else { return };
        share.waiting -= 1;
        // Who comes back later begins with the round of then.
        if share.waiting == 0 {
            self.shares.remove(&lane);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn waiting(lane: u64, number: u8) -> Waiting {
        Waiting { key: CallKey([number; 16]), lane: Lane(lane), deadline: Duration::ZERO }
    }

    fn order(mailbox: &mut Mailbox) -> Vec<(u64, u8)> {
        std::iter::from_fn(|| mailbox.pop()).map(|waiting| (waiting.lane.0, waiting.key.0[0])).collect()
    }

    #[test]
    fn who_calls_much_waits_behind_who_calls_little() {
        let mut mailbox = Mailbox::new(100);
        for (lane, number) in [(1, 1), (1, 2), (1, 3), (2, 4), (1, 5), (3, 6), (3, 7)] {
            assert_eq!(mailbox.push(waiting(lane, number)), Pushed::In);
        }
        assert_eq!(order(&mut mailbox), [(1, 1), (2, 4), (3, 6), (1, 2), (3, 7), (1, 3), (1, 5)]);
        // And whoever was away has saved up nothing.
        mailbox.push(waiting(1, 8));
        mailbox.push(waiting(2, 9));
        assert_eq!(order(&mut mailbox), [(1, 8), (2, 9)]);
    }

    #[test]
    fn nobody_can_keep_others_out() {
        let mut mailbox = Mailbox::new(4);
        for number in 0..4 {
            mailbox.push(waiting(1, number));
        }
        assert_eq!(mailbox.push(waiting(1, 4)), Pushed::Full);
        assert_eq!(mailbox.push(waiting(2, 5)), Pushed::InsteadOf(CallKey([3; 16])));
        assert_eq!(mailbox.push(waiting(2, 6)), Pushed::InsteadOf(CallKey([2; 16])));
        assert_eq!(mailbox.push(waiting(2, 7)), Pushed::Full);
        assert_eq!(order(&mut mailbox), [(1, 0), (2, 5), (1, 1), (2, 6)]);
    }

    proptest! {
        #[test]
        fn nothing_is_lost_and_each_lane_keeps_its_order(
            script in prop::collection::vec((0..4_u64, any::<bool>()), 0..200),
        ) {
            let mut mailbox = Mailbox::new(16);
            let (mut kept, mut out) = (BTreeMap::new(), Vec::new());
            for (number, (lane, pops)) in (0..).zip(script) {
                if pops {
                    out.extend(mailbox.pop().map(|waiting| waiting.key.0[0]));
                } else {
                    match mailbox.push(waiting(lane, number)) {
                        Pushed::In => {}
                        Pushed::InsteadOf(key) => prop_assert!(kept.remove(&key.0[0]).is_some()),
                        Pushed::Full => continue,
                    }
                    kept.insert(number, lane);
                }
                prop_assert!(mailbox.iter().count() <= 16);
            }
            out.extend(order(&mut mailbox).iter().map(|(_, number)| *number));
            prop_assert!(mailbox.shares.is_empty());
            for lane in 0..4 {
                let of_lane: Vec<u8> = out.iter().filter(|number| kept[*number] == lane).copied().collect();
                let arrived: Vec<u8> = kept.iter().filter(|(_, of)| **of == lane).map(|(number, _)| *number).collect();
                prop_assert_eq!(of_lane, arrived);
            }
        }
    }
}
