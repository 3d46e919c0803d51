//! Money: what all accounts hold at the end is what they held at the beginning.

use std::collections::BTreeMap;

use crate::history::{Call, Ended, History};
use crate::workload::{OPENING, Outside};

pub(super) fn judge(history: &History, _: &Outside, found: &mut Vec<String>) {
    let mut balances: BTreeMap<&str, i64> = BTreeMap::new();
    for call in history.calls.iter().filter(|call| call.probe && call.operation == "balance") {
        match call.reply().map(str::parse) {
            Some(Ok(balance)) => {
                balances.insert(&call.actor_key, balance);
            }
            Some(Err(_)) => found.push(format!("{}: {:?} is no balance", call.key, call.reply())),
            // An account that does not answer is the liveness check's to report.
            None => return,
        }
    }
    if balances.is_empty() {
        return;
    }
    let accounts = i64::try_from(balances.len()).expect("few accounts");
    let (held, opened) = (balances.values().sum::<i64>(), accounts * OPENING);
    if held != opened {
        found
            .push(format!("{accounts} accounts opened with {opened} together and hold {held}: {balances:?}"));
    }
    each_account(history, &balances, found);
}

/// The parts, which the sum does not show: each acknowledged transfer has left its account and
/// has come to the other, and nothing else has.
fn each_account(history: &History, balances: &BTreeMap<&str, i64>, found: &mut Vec<String>) {
    let transfers: Vec<&Call> = history.calls.iter().filter(|call| call.operation == "transfer").collect();
    if transfers
        .iter()
        .any(|call| !matches!(call.ended, Some(Ended::Reply(_) | Ended::App(_) | Ended::NotRun(_))))
    {
        // Some transfer may or may not have happened: only the sum is known.
        return;
    }
    let mut expected: BTreeMap<&str, i64> = balances.keys().map(|key| (*key, OPENING)).collect();
    for call in transfers.iter().filter(|call| call.reply().is_some()) {
        let Some((to, amount)) = call.payload.split_once(' ') else { continue };
        let Ok(amount) = amount.parse::<i64>() else { continue };
        *expected.entry(&call.actor_key).or_insert(OPENING) -= amount;
        *expected.entry(to).or_insert(OPENING) += amount;
    }
    for (account, balance) in balances {
        if expected.get(account) != Some(balance) {
            let expected = expected.get(account);
            found.push(format!("account/{account} holds {balance}; its transfers leave {expected:?}"));
        }
    }
}
