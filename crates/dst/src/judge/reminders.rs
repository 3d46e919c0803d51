//! Reminders: those that were set come due, each once, and no other does.

use std::collections::BTreeMap;

use crate::history::History;
use crate::workload::Outside;

pub(super) fn judge(history: &History, _: &Outside, found: &mut Vec<String>) {
    for (key, calls) in history.by_actor("alarm") {
        // The last look at the healed cluster, long after the last reminder was due.
        let last = calls.iter().find(|call| call.probe && call.operation == "reminded");
        let Some(reply) = last.and_then(|call| call.reply()) else { continue };
        let mut fired: BTreeMap<&str, u32> = BTreeMap::new();
        for entry in reply.split_whitespace() {
            match entry.split_once(':').map(|(word, times)| (word, times.parse())) {
                Some((word, Ok(times))) => drop(fired.insert(word, times)),
                Some((_, Err(_))) | None => found.push(format!("alarm/{key}: {entry:?} tells no reminder")),
            }
        }
        for call in calls.iter().filter(|call| call.operation == "remind") {
            let Some((word, _)) = call.payload.split_once(' ') else { continue };
            let times = fired.remove(word).unwrap_or_default();
            let allowed = match (call.reply(), call.may_have_happened()) {
                (Some(_), _) => times == 1,
                (None, true) => times <= 1,
                (None, false) => times == 0,
            };
            if !allowed {
                found.push(format!("alarm/{key}: {word} came due {times} times; it was {:?}", call.ended));
            }
        }
        for (word, times) in fired {
            found.push(format!("alarm/{key}: {word} came due {times} times, and nobody set it"));
        }
    }
}
