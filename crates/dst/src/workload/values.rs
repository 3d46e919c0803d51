//! Actors whose answers tell what they held: registers that are compared and set, and sets.

use bytes::Bytes;
use futures::FutureExt;
use kelpie_runtime::{Actor, HandlerError, RecordRange, Turn, View};

use super::Size;
use super::actors::{Answer, unknown};
use crate::schedule::Draw;

/// What a register may hold: so few values that a comparison often succeeds.
const VALUES: u64 = 4;
/// The words that clients put into a set and take out of it.
const WORDS: u64 = 6;

/// Draws a call of a register.
pub(super) fn register(draw: &mut Draw, _: Size, _: &str) -> (&'static str, String) {
    let new = draw.below(VALUES);
    match draw.below(6) {
        0 | 1 => ("read", String::new()),
        2 => ("write", new.to_string()),
        _ => ("compare-and-set", format!("{} {new}", draw.below(VALUES))),
    }
}

/// Draws a call of a set.
pub(super) fn set(draw: &mut Draw, _: Size, _: &str) -> (&'static str, String) {
    let word = format!("w{}", draw.below(WORDS));
    match draw.below(6) {
        0 => ("all", String::new()),
        1 => ("contains", word),
        2 | 3 => ("insert", word),
        _ => ("remove", word),
    }
}

/// The record that holds what was written to a register.
const VALUE: &[u8] = b"value";

/// What a register holds that nobody has written to.
pub(crate) const UNWRITTEN: &str = "0";

/// `write` a value, `compare-and-set` it (`<old> <new>`; answers whether it was set), `read` it.
pub(super) struct Register;

impl Actor for Register {
    fn actor_type(&self) -> &str {
        "register"
    }

    fn is_read(&self, operation: &str) -> bool {
        operation == "read"
    }

    fn handle<'a>(&'a self, turn: &'a mut Turn, operation: &'a str, payload: &'a [u8]) -> Answer<'a> {
        async move {
            match operation {
                "write" => {
                    turn.set(VALUE, Bytes::copy_from_slice(payload));
                    Ok(Bytes::from_static(b"written"))
                }
                "compare-and-set" => {
                    let words = std::str::from_utf8(payload).unwrap_or_default().split_once(' ');
                    let (old, new) = words.ok_or_else(|| {
                        HandlerError::app("compare", "say what it has to hold, and what then")
                    })?;
                    let held = turn.get(VALUE).await?.unwrap_or_else(|| UNWRITTEN.into());
                    let equal = held == old.as_bytes();
                    if equal {
                        turn.set(VALUE, Bytes::copy_from_slice(new.as_bytes()));
                    }
                    Ok(was(equal))
                }
                _ => Err(unknown(operation)),
            }
        }
        .boxed()
    }

    fn read<'a>(&'a self, view: &'a View, _operation: &'a str, _payload: &'a [u8]) -> Answer<'a> {
        async move { Ok(view.get(VALUE).await?.unwrap_or_else(|| UNWRITTEN.into())) }.boxed()
    }
}

fn was(so: bool) -> Bytes {
    Bytes::from_static(if so { b"yes" } else { b"no" })
}

/// `insert` a word and `remove` it, which answer whether that changed anything; whether it
/// `contains` one; `all` of them. Each word is a record of its own.
pub(super) struct Set;

fn member(word: &[u8]) -> Vec<u8> {
    [b"member/", word].concat()
}

impl Actor for Set {
    fn actor_type(&self) -> &str {
        "set"
    }

    fn is_read(&self, operation: &str) -> bool {
        matches!(operation, "contains" | "all")
    }

    fn handle<'a>(&'a self, turn: &'a mut Turn, operation: &'a str, payload: &'a [u8]) -> Answer<'a> {
        async move {
            let member = member(payload);
            let is_in = turn.get(&member).await?.is_some();
            match operation {
                "insert" => {
                    turn.set(member, Bytes::new());
                    Ok(was(!is_in))
                }
                "remove" => {
                    turn.clear(member);
                    Ok(was(is_in))
                }
                _ => Err(unknown(operation)),
            }
        }
        .boxed()
    }

    fn read<'a>(&'a self, view: &'a View, operation: &'a str, payload: &'a [u8]) -> Answer<'a> {
        async move {
            if operation == "contains" {
                return Ok(was(view.get(&member(payload)).await?.is_some()));
            }
            let rows = view.range(RecordRange::prefix(b"member/")).await?;
            let words: Vec<_> =
                rows.iter().map(|(record, _)| String::from_utf8_lossy(&record[b"member/".len()..])).collect();
            Ok(Bytes::from(words.join(" ")))
        }
        .boxed()
    }
}
