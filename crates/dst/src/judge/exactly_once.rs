//! Effects outside: once for each order that was acknowledged, at most once for any other.

use std::collections::BTreeMap;

use crate::history::{Ended, History};
use crate::workload::{Effect, Outside};

pub(super) fn judge(history: &History, outside: &Outside, found: &mut Vec<String>) {
    let mut done: BTreeMap<String, u32> = BTreeMap::new();
    for effect in outside.effects().into_values() {
        if let Some(other) = &effect.other_terms {
            let Effect { what, terms, .. } = &effect;
            found.push(format!("{what} was asked for at {terms} and then at {other}"));
        }
        *done.entry(effect.what).or_default() += 1;
    }
    for (key, calls) in history.by_actor("shop") {
        let mut acknowledged = 0;
        let mut possible = 0;
        for call in calls.iter().filter(|call| call.operation == "order") {
            for step in ["charge", "ship"] {
                let what = format!("{step} {}", call.payload);
                let times = done.remove(&what).unwrap_or_default();
                let allowed = match call.ended {
                    Some(Ended::Reply(_)) => times == 1,
                    // A turn that was begun and refused leaves what its steps have done.
                    Some(Ended::App(_) | Ended::NotRun(_) | Ended::Fix(_) | Ended::Unknown) | None => {
                        times <= 1
                    }
                };
                if !allowed {
                    found.push(format!(
                        "shop/{key}: {what} happened {times} times; the order: {:?}",
                        call.ended
                    ));
                }
            }
            acknowledged += u64::from(call.reply().is_some());
            possible += u64::from(call.may_have_happened());
        }
        for call in calls.iter().filter(|call| call.operation == "orders" && call.probe) {
            // A shop that does not answer is the liveness check's to report.
            let Some(reply) = call.reply() else { continue };
            let Ok(counted) = reply.parse::<u64>() else {
                found.push(format!("shop/{key} counts {reply:?} orders"));
                continue;
            };
            if !(acknowledged..=possible).contains(&counted) {
                found.push(format!(
                    "shop/{key} counts {counted} orders; {acknowledged} were acknowledged, {possible} may have happened"
                ));
            }
        }
    }
    for what in done.keys() {
        found.push(format!("{what} happened and nobody ordered it"));
    }
}
