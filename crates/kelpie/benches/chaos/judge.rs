//! What the clients' histories say.

use kelpie_dst::check::spec::{Counter, Register};
use kelpie_dst::check::{Linearizability, LinearizabilityError, by_object};

use crate::load::Load;
use crate::round::Verdict;

/// Reads every total once more and judges. Nobody else calls meanwhile.
pub(crate) async fn judge(load: &Load) -> Verdict {
    let (mut lost, mut doubled, mut broken) = (0, 0, Vec::new());
    for key in load.keys() {
        let Some(total) = load.get(0, &key).await else {
            broken.push(format!("counter {key} does not answer"));
            continue;
        };
        let of = |counted: &std::collections::BTreeMap<String, i64>| counted.get(&key).copied().unwrap_or(0);
        let seen = load.seen.lock();
        lost += (of(&seen.added) - total).max(0);
        doubled += (total - of(&seen.added) - of(&seen.unknown)).max(0);
    }
    for (key, operations) in by_object(load.counters.operations(), |(key, input)| (key, input)) {
        broken.extend(said("counter", &key, Linearizability::new(Counter::default()).check(&operations)));
    }
    for (key, operations) in by_object(load.registers.operations(), |(key, input)| (key, input)) {
        broken.extend(said("register", &key, Linearizability::new(Register::empty()).check(&operations)));
    }
    Verdict { lost, doubled, broken, seen: load.seen.lock().clone() }
}

fn said(what: &str, key: &str, checked: Result<Vec<usize>, LinearizabilityError>) -> Option<String> {
    checked.err().map(|error| format!("{what} {key}: {error}"))
}
