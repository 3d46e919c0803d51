//! What the history says of calls that got no result of their own.

use kelpie_core::run::Closing;

const DENIED: &str = "DENIED: the call was not approved and not made";
const EXPIRED: &str = "DENIED: nobody approved the call in time; it was not made.";
const NOT_RUN: &str = "NOT RUN: the run was cancelled before the tool was called.";
const CANCELLED: &str =
    "UNKNOWN: the run was cancelled while the tool was being called; it may have had its effect.";
const CRASHED: &str = "UNKNOWN: the process ended while the tool was being called; it may have had its effect. \
     Find out before you call it again.";

/// What the model is told about a call that was decided against.
pub(crate) fn denied(reason: Option<&String>) -> String {
    match reason {
        Some(reason) => format!("{DENIED}: {reason}"),
        None => format!("{DENIED}."),
    }
}

/// What the model is told about a call that was closed for this reason; `reason` is somebody's
/// for deciding against it.
pub(crate) fn text(why: Closing, reason: Option<&String>) -> String {
    match why {
        Closing::Denied => denied(reason),
        Closing::Expired => EXPIRED.to_owned(),
        Closing::NotRun => NOT_RUN.to_owned(),
        Closing::CancelledUnknown => CANCELLED.to_owned(),
        Closing::CrashedUnknown => CRASHED.to_owned(),
    }
}

/// Why a call was closed that has this text as its result; `None` for a result of its own.
pub(crate) fn why(text: &str) -> Option<Closing> {
    let known = [
        (DENIED, Closing::Denied),
        (EXPIRED, Closing::Expired),
        (NOT_RUN, Closing::NotRun),
        (CANCELLED, Closing::CancelledUnknown),
        (CRASHED, Closing::CrashedUnknown),
    ];
    known.into_iter().find(|(begins, _)| text.starts_with(begins)).map(|(_, why)| why)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reason_is_read_from_what_the_model_was_told() {
        let all = [
            Closing::Denied,
            Closing::Expired,
            Closing::NotRun,
            Closing::CancelledUnknown,
            Closing::CrashedUnknown,
        ];
        for closing in all {
            assert_eq!(why(&text(closing, None)), Some(closing));
        }
        assert_eq!(why(&denied(Some(&"too late".to_owned()))), Some(Closing::Denied));
        assert_eq!(why("UNKNOWN room"), None);
    }
}
