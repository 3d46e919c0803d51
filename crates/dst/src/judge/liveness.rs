//! What is owed once the faults are over.

use crate::history::{Call, Ended, History};
use crate::workload::Outside;

pub(super) fn judge(history: &History, _: &Outside, found: &mut Vec<String>) {
    for call in &history.calls {
        let refused = match &call.ended {
            Some(Ended::Fix(reason)) => Some(format!("was refused for good: {reason}")),
            Some(Ended::NotRun(reason)) if call.owed => Some(format!("was refused: {reason}")),
            Some(Ended::Unknown) if call.owed => Some("has an unknown outcome".to_owned()),
            None if call.owed => Some("has no answer".to_owned()),
            None | Some(Ended::Reply(_) | Ended::App(_) | Ended::NotRun(_) | Ended::Unknown) => None,
        };
        if let Some(refused) = refused {
            let Call { actor_type, actor_key, operation, .. } = call;
            found.push(format!("{operation} of {actor_type}/{actor_key} ({}) {refused}", call.key));
        }
    }
}
