//! Calls of actors by actors: what a courier says that it has carried is in its bin, once, and
//! nothing else is.

use std::collections::BTreeMap;

use crate::history::{Call, Ended, History};
use crate::workload::Outside;

/// How often each actor of a type tells each word in the end.
type Told<'a> = BTreeMap<(&'a str, &'a str), u32>;

pub(super) fn judge(history: &History, _: &Outside, found: &mut Vec<String>) {
    let (Some(bins), Some(couriers)) =
        (told(history, "bin", "contents"), told(history, "courier", "carried"))
    else {
        return;
    };
    let mut known = (Told::new(), Told::new());
    for call in history.calls.iter().filter(|call| call.operation == "carry") {
        let words: Vec<&str> = call.payload.split(' ').collect();
        let [word, bin, ref via @ ..] = words[..] else { continue };
        let in_bin = bins.get(&(bin, word)).copied().unwrap_or_default();
        known.0.insert((bin, word), in_bin);
        // Whoever carries it first waits for the others, and keeps it last.
        let first = &call.actor_key[..];
        let others = via.iter().copied().filter(|courier| *courier != first);
        let carriers: Vec<&str> = [first].into_iter().chain(others).collect();
        let kept: Vec<u32> = carriers
            .iter()
            .map(|courier| couriers.get(&(*courier, word)).copied().unwrap_or_default())
            .collect();
        known.1.extend(carriers.iter().zip(&kept).map(|(courier, times)| ((*courier, word), *times)));
        let steps: Vec<u32> = kept.iter().copied().chain([in_bin]).collect();
        let allowed = match call.ended {
            Some(Ended::Reply(_)) => steps.iter().all(|times| *times == 1),
            Some(Ended::NotRun(_)) => steps.iter().all(|times| *times == 0),
            // Of a turn that was refused nothing is kept, and what others have done for it is.
            Some(Ended::App(_) | Ended::Fix(_)) => steps[0] == 0 && is_prefix_done(&steps),
            Some(Ended::Unknown) | None => is_prefix_done(&steps),
        };
        if !allowed {
            let Call { actor_key, payload, ended, .. } = call;
            found.push(format!(
                "courier/{actor_key} carry {payload}: kept {kept:?} times by {carriers:?}, {in_bin} times in its bin; it was {ended:?}"
            ));
        }
    }
    let strange = |all: &Told<'_>, known: &Told<'_>, what: &str, found: &mut Vec<String>| {
        for ((key, word), times) in all.iter().filter(|(place, _)| !known.contains_key(*place)) {
            found.push(format!("{what}/{key} has {word} {times} times, and nobody brought it there"));
        }
    };
    strange(&bins, &known.0, "bin", found);
    strange(&couriers, &known.1, "courier", found);
}

/// Each at most once, and nobody has it before the next one.
fn is_prefix_done(steps: &[u32]) -> bool {
    steps.iter().all(|times| *times <= 1) && steps.windows(2).all(|pair| pair[0] <= pair[1])
}

/// Nothing if one of them does not answer, which is the liveness check's to report.
fn told<'a>(history: &'a History, actor_type: &str, read: &str) -> Option<Told<'a>> {
    let mut told = Told::new();
    for call in history.calls.iter().filter(|call| call.probe && call.operation == read) {
        if call.actor_type == actor_type {
            for word in call.reply()?.split_whitespace() {
                *told.entry((&call.actor_key, word)).or_default() += 1;
            }
        }
    }
    Some(told)
}
