//! Machines that go in order, and actors that are moved, cost no call.

use crate::history::{Call, Ended, History};
use crate::workload::Outside;

pub(super) fn judge(history: &History, _: &Outside, found: &mut Vec<String>) {
    if !history.orderly {
        return;
    }
    for call in &history.calls {
        let failed = match &call.ended {
            Some(Ended::Unknown) => true,
            // Who asks once may come to a machine that has just stopped to take calls.
            Some(Ended::NotRun(_)) => call.attempts > 1,
            Some(Ended::Reply(_) | Ended::App(_) | Ended::Fix(_)) | None => false,
        };
        if failed || call.lost > 0 {
            let Call { actor_type, actor_key, operation, key, lost, attempts, ended, .. } = call;
            found.push(format!(
                "{operation} of {actor_type}/{actor_key} ({key}): {lost} of {attempts} attempts were lost, and it ended with {ended:?}"
            ));
        }
    }
}
