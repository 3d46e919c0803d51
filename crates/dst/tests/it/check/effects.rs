//! Ledgers in which each effect happened once, and others.

use kelpie_dst::check::{EffectLedger, EffectViolation};

/// The only violation of a ledger.
fn violation(write: impl FnOnce(&EffectLedger<u32, &'static str>)) -> EffectViolation<&'static str> {
    let ledger = EffectLedger::new();
    // One that is in order beside it.
    ledger.attempted(1);
    ledger.happened(1);
    ledger.acknowledged(1, "fine");
    write(&ledger);
    let mut violations = ledger.check_settled().unwrap_err().violations;
    assert_eq!(violations.len(), 1, "{violations:?}");
    let (key, violation) = violations.remove(0);
    assert_eq!(key, 2);
    violation
}

#[test]
fn effects_in_order_are_accepted() {
    let ledger = EffectLedger::new();
    for key in 0..4 {
        ledger.attempted(key);
    }
    ledger.check().unwrap();
    ledger.happened(0);
    ledger.acknowledged(0, "once");
    ledger.acknowledged(0, "once");
    // Refused first, done at the second attempt.
    ledger.refused(1);
    ledger.attempted(1);
    ledger.happened(1);
    ledger.acknowledged(1, "at last");
    ledger.refused(2);
    // Whether the third happened nobody was told.
    ledger.happened(3);
    ledger.check().unwrap();
    let open = ledger.check_settled().unwrap_err();
    assert_eq!(open.violations, [(3, EffectViolation::Unanswered)]);
    ledger.acknowledged(3, "late");
    ledger.check_settled().unwrap();
}

#[test]
fn each_wrong_effect_is_found() {
    let twice = violation(|ledger| {
        ledger.attempted(2);
        ledger.happened(2);
        ledger.happened(2);
        ledger.acknowledged(2, "done");
    });
    assert_eq!(twice, EffectViolation::Repeated { effects: 2 });
    let lost = violation(|ledger| {
        ledger.attempted(2);
        ledger.acknowledged(2, "done");
    });
    assert_eq!(lost, EffectViolation::Lost);
    let refused = violation(|ledger| {
        ledger.attempted(2);
        ledger.attempted(2);
        ledger.refused(2);
        ledger.refused(2);
        ledger.happened(2);
    });
    assert_eq!(refused, EffectViolation::RefusedAndHappened);
    let unasked = violation(|ledger| ledger.happened(2));
    assert_eq!(unasked, EffectViolation::Unasked);
    let two = violation(|ledger| {
        ledger.attempted(2);
        ledger.happened(2);
        ledger.acknowledged(2, "seven");
        ledger.acknowledged(2, "eight");
    });
    assert_eq!(two, EffectViolation::TwoReplies { replies: vec!["seven", "eight"] });
}

#[test]
fn violations_are_told_one_a_line() {
    let ledger = EffectLedger::<_, ()>::new();
    ledger.attempted("a");
    ledger.acknowledged("a", ());
    ledger.happened("b");
    let said = ledger.check().unwrap_err().to_string();
    assert_eq!(said, "\"a\" was acknowledged and did not happen\n\"b\" happened and nobody had asked for it");
}
