//! An answer leaves its machine only once its record is in the store.

use super::Answer;

pub(super) fn check(answer: &Answer<'_>) -> Result<(), String> {
    // A store that is told of a commit later than its clients are.
    let recorded = answer.ledger.rows.contains_key(answer.row) || answer.ledger.may_change(answer.row);
    if recorded {
        return Ok(());
    }
    Err(format!("the call under {} was answered and is not recorded", answer.row.escape_ascii()))
}
