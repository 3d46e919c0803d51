//! Balances that add up, and others.

use std::collections::BTreeMap;

use kelpie_dst::check::{Conservation, ConservationError, Transfer, TransferOutcome};

use super::histories::Draw;

fn bank() -> Conservation<&'static str> {
    Conservation::new([("a", 10), ("b", 10), ("c", 10)]).at_least(0)
}

fn transfer(
    from: &'static str,
    to: &'static str,
    amount: u32,
    outcome: TransferOutcome,
) -> Transfer<&'static str> {
    Transfer { from, to, amount, outcome }
}

#[test]
fn what_was_made_or_lost_is_found() {
    bank().seen(&BTreeMap::from([("a", 0), ("b", 30), ("c", 0)])).unwrap();
    let made = bank().seen(&BTreeMap::from([("a", 11), ("b", 10), ("c", 10)])).unwrap_err();
    assert!(matches!(made, ConservationError::Total { expected: 30, found: 31, .. }), "{made}");
    // An account that is missing is money that is missing.
    let lost = bank().seen(&BTreeMap::from([("a", 10), ("b", 10)])).unwrap_err();
    assert!(matches!(lost, ConservationError::Total { found: 20, .. }), "{lost}");
    let overdrawn = bank().seen(&BTreeMap::from([("a", -1), ("b", 21), ("c", 10)])).unwrap_err();
    let expected = ConservationError::TooLittle { account: "a", balance: -1, at_least: 0 };
    assert_eq!(overdrawn, expected);
    // Not the total of one moment, but no debt either way.
    bank().settled(&BTreeMap::from([("a", 10), ("b", 10), ("c", 11)]), &[]).unwrap_err();
}

#[test]
fn an_acknowledged_transfer_happened_once() {
    use TransferOutcome::{Done, Unknown};
    let transfers =
        [transfer("a", "b", 3, Done), transfer("b", "c", 4, Done), transfer("c", "a", 2, Unknown)];
    let settled = |a, b, c| bank().settled(&BTreeMap::from([("a", a), ("b", b), ("c", c)]), &transfers);
    settled(7, 9, 14).unwrap();
    settled(9, 9, 12).unwrap();
    for (a, b, c) in [(4, 12, 14), (10, 6, 14), (7, 13, 10), (11, 9, 10), (8, 9, 13)] {
        let wrong = settled(a, b, c).unwrap_err();
        assert!(matches!(wrong, ConservationError::Unexplained { unknown: 1, .. }), "{a} {b} {c}: {wrong}");
    }
}

#[test]
fn a_choice_among_unknown_transfers_is_found_if_there_is_one() {
    const ACCOUNTS: [&str; 3] = ["a", "b", "c"];
    let (mut explained, mut unexplained) = (0, 0);
    for seed in 0..400 {
        let draw = Draw::new(seed);
        let account = || ACCOUNTS[usize::try_from(draw.below(3)).unwrap()];
        let transfers: Vec<_> = (0..10)
            .map(|_| {
                transfer(
                    account(),
                    account(),
                    u32::try_from(1 + draw.below(5)).unwrap(),
                    TransferOutcome::Unknown,
                )
            })
            .collect();
        let book = |happened: &dyn Fn(usize) -> bool| {
            let mut balances = BTreeMap::from(ACCOUNTS.map(|account| (account, 100)));
            for (_, transfer) in transfers.iter().enumerate().filter(|(number, _)| happened(*number)) {
                *balances.get_mut(transfer.from).unwrap() -= i64::from(transfer.amount);
                *balances.get_mut(transfer.to).unwrap() += i64::from(transfer.amount);
            }
            balances
        };
        let chosen = draw.below(1 << 10);
        let mut balances = book(&|number| chosen >> number & 1 == 1);
        let skewed = draw.one_in(2);
        if skewed {
            *balances.get_mut("a").unwrap() += 7;
            *balances.get_mut("b").unwrap() -= 7;
        }
        let bank = Conservation::new(ACCOUNTS.map(|account| (account, 100)));
        let found = bank.settled(&balances, &transfers).is_ok();
        // Every choice, one after the other.
        let exists = (0..1u64 << 10).any(|choice| book(&|number| choice >> number & 1 == 1) == balances);
        assert_eq!(found, exists, "seed {seed}: {balances:?}, {transfers:?}");
        assert!(found || skewed);
        if found { explained += 1 } else { unexplained += 1 }
    }
    assert!(explained > 100 && unexplained > 50, "{explained}, {unexplained}");
}
