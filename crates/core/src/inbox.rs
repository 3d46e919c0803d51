//! Which messages of a sender a receiver has had.
//!
//! Messages do not expire by time: a sender may come back after any outage and deliver again.
//! Instead each message carries how far its sender's outbox is delivered, and a receiver
//! forgets what lies below.
//!
//! ```text
//!   positions of one sender     1   2   3   4   5   6   7
//!                              ╰─ done ──╯   │   └ recorded here, not yet noted there
//!                                           low: the oldest that is not noted as delivered
//! ```
//!
//! Invariant: a sender's positions only grow, and one below its low-water mark is never
//! delivered anew; whoever brings it is late.

use serde::{Deserialize, Serialize};

use crate::call::OutboxPosition;

/// What a message says of its sender's outbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// Where the message stands.
    pub position: OutboxPosition,
    /// The oldest message there that is not noted as delivered.
    pub low: OutboxPosition,
}

impl Mark {
    /// Whether the receiver has had this message: it is below what the receiver knows as the
    /// low-water mark, or its own record stands.
    pub fn is_done(&self, known_low: Option<OutboxPosition>, recorded: bool) -> bool {
        recorded || known_low.is_some_and(|low| self.position < low)
    }

    /// The low-water mark to keep from now on, if it grows with this message.
    pub fn raised(&self, known_low: Option<OutboxPosition>) -> Option<OutboxPosition> {
        Some(self.low).filter(|low| known_low.is_none_or(|known| *low > known))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;
    use crate::id::{Epoch, Seq};

    fn at(number: u64) -> OutboxPosition {
        OutboxPosition { epoch: Epoch(1 + number / 10), seq: Seq(1 + number / 3), index: (number % 3) as u32 }
    }

    proptest! {
        /// A sender with ten messages delivers any of those that it has not noted, again and
        /// again, and old deliveries arrive late.
        #[test]
        fn each_message_is_taken_once_and_records_do_not_pile_up(
            script in prop::collection::vec((0..3_u8, 0..10_u64, any::<prop::sample::Index>(), any::<bool>()), 1..200),
        ) {
            let (mut noted, mut taken) = (BTreeSet::new(), BTreeSet::new());
            let (mut low, mut records) = (None, BTreeSet::new());
            let mut sent = Vec::new();
            for (what, message, arrives, notes) in script {
                let open = (0..10).find(|number| !noted.contains(number));
                match (what, open) {
                    (0 | 1, Some(open)) if !noted.contains(&message) => {
                        sent.push((message, Mark { position: at(message), low: at(open) }));
                    }
                    _ => {}
                }
                // Any delivery that is under way, however old, may be the next that arrives.
                if sent.is_empty() {
                    continue;
                }
                let (message, mark) = sent[arrives.index(sent.len())];
                if !mark.is_done(low, records.contains(&mark.position)) {
                    prop_assert!(taken.insert(message), "message {message} is taken twice");
                    records.insert(mark.position);
                }
                if let Some(raised) = mark.raised(low) {
                    low = Some(raised);
                    records.retain(|position| *position >= raised);
                }
                if notes {
                    noted.insert(message);
                }
                prop_assert!(low.is_none_or(|low| records.iter().all(|position| *position >= low)));
            }
        }
    }

    #[test]
    fn a_late_mark_lowers_nothing() {
        let mark = Mark { position: at(7), low: at(4) };
        assert_eq!(mark.raised(None), Some(at(4)));
        assert_eq!(mark.raised(Some(at(4))), None);
        assert_eq!(mark.raised(Some(at(5))), None);
        assert!(
            mark.is_done(Some(at(8)), false) && mark.is_done(None, true) && !mark.is_done(Some(at(7)), false)
        );
    }
}
