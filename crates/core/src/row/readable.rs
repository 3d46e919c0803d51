//! Keys of rows as text, for people who look into a store.
//!
//! Names stand as they are, ids in hexadecimal, numbers in decimal, and what is none of these
//! with its unprintable bytes as `\x..`. What fits no row of the layout is shown like that as a
//! whole, so that every key has a text.

use std::fmt::Write;

use crate::id::ActorId;
use crate::row::parse_wake;

/// A key as text.
pub fn readable(key: &[u8]) -> String {
    known(key).unwrap_or_else(|| escaped(key))
}

fn known(key: &[u8]) -> Option<String> {
    let slash = key.iter().position(|byte| *byte == b'/')?;
    let (kind, rest) = (std::str::from_utf8(&key[..slash]).ok()?, &key[slash + 1..]);
    match kind {
        "own" | "head" | "running" => {
            let (actor, rest) = actor(rest)?;
            rest.is_empty().then(|| format!("{kind}/{actor}"))
        }
        "state" | "reminder" => {
            let (actor, record) = actor(rest)?;
            Some(format!("{kind}/{actor}/{}", escaped(record)))
        }
        "dedup" => {
            let (actor, call) = actor(rest)?;
            (call.len() == 16).then(|| format!("{kind}/{actor}/{}", hex(call)))
        }
        "step" => {
            let (actor, rest) = actor(rest)?;
            let (turn, step) = rest.split_first_chunk::<16>()?;
            Some(format!("{kind}/{actor}/{}/{}", hex(turn), escaped(step)))
        }
        "due" => {
            let (actor, rest) = actor(rest)?;
            let (due_ms, name) = number(rest)?;
            Some(format!("{kind}/{actor}/{due_ms}/{}", escaped(name)))
        }
        "outbox" | "dead" => {
            let (actor, rest) = actor(rest)?;
            Some(format!("{kind}/{actor}/{}", position(rest)?))
        }
        "inbox" => {
            let (receiver, rest) = actor(rest)?;
            let (sender, rest) = actor(rest)?;
            Some(format!("{kind}/{receiver}/{sender}/{}", position(rest)?))
        }
        "low" => {
            let (receiver, rest) = actor(rest)?;
            let (sender, rest) = actor(rest)?;
            rest.is_empty().then(|| format!("{kind}/{receiver}/{sender}"))
        }
        "wake" => {
            let bucket = u16::from_be_bytes(*rest.first_chunk::<2>()?);
            let (due_ms, actor) = parse_wake(key)?;
            Some(format!("{kind}/{bucket}/{due_ms}/{actor}"))
        }
        "index" => {
            let mut parts = rest.splitn(4, |byte| *byte == 0);
            let mut part = || parts.next();
            let names = [name(part()?)?, name(part()?)?, name(part()?)?].join("/");
            Some(format!("{kind}/{names}/{}", escaped(part()?)))
        }
        "protocol" => Some(format!("{kind}/{}", hex(rest))),
        "node" | "store" => Some(format!("{kind}/{}", nul_separated(rest)?)),
        "by-node" => {
            let end = rest.iter().position(|byte| *byte == 0)?;
            let node = name(&rest[..end])?;
            let (incarnation, rest) = number(&rest[end + 1..])?;
            let (actor, rest) = actor(rest)?;
            rest.is_empty().then(|| format!("{kind}/{node}/{incarnation}/{actor}"))
        }
        _ => None,
    }
}

fn actor(bytes: &[u8]) -> Option<(ActorId, &[u8])> {
    let actor = ActorId::decode(bytes)?;
    let rest = bytes.get(actor.encoded().len()..)?;
    Some((actor, rest))
}

fn position(bytes: &[u8]) -> Option<String> {
    let (epoch, rest) = number(bytes)?;
    let (seq, rest) = number(rest)?;
    let index = u32::from_be_bytes(rest.try_into().ok()?);
    Some(format!("{epoch}/{seq}/{index}"))
}

fn number(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let (number, rest) = bytes.split_first_chunk::<8>()?;
    Some((u64::from_be_bytes(*number), rest))
}

fn name(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes).ok().filter(|name| !name.chars().any(char::is_control))
}

fn nul_separated(bytes: &[u8]) -> Option<String> {
    let names: Option<Vec<&str>> = bytes.split(|byte| *byte == 0).map(name).collect();
    names.map(|names| names.join("/"))
}

/// Bytes in hexadecimal.
fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        write!(text, "{byte:02x}").expect("a string takes all");
    }
    text
}

/// Printable ASCII as it is, everything else as `\x..`.
fn escaped(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for byte in bytes {
        match byte {
            b'\\' => text.push_str("\\\\"),
            b' '..=b'~' => text.push(char::from(*byte)),
            _ => write!(text, "\\x{byte:02x}").expect("a string takes all"),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::readable;
    use crate::call::{CallKey, OutboxPosition, TurnId};
    use crate::id::{ActorId, Epoch, Incarnation, NodeId, Seq};
    use crate::row;

    #[test]
    fn every_row_of_the_layout_can_be_read() {
        let actor = ActorId::new("default", "agent", "ada").unwrap();
        let sender = ActorId::new("t", "bot", "bob").unwrap();
        let node = NodeId::new("node-1").unwrap();
        let turn = TurnId([0xab; 16]);
        let position = OutboxPosition { epoch: Epoch(2), seq: Seq(9), index: 1 };
        let (bucket, ab) = (row::wake_bucket(&actor), "ab".repeat(16));
        for (key, text) in [
            (row::own(&actor), "own/default/agent/ada".to_owned()),
            (row::head(&actor), "head/default/agent/ada".to_owned()),
            (row::state(&actor, b"log/\x00\x07"), "state/default/agent/ada/log/\\x00\\x07".to_owned()),
            (row::dedup(&actor, CallKey([0xab; 16])), format!("dedup/default/agent/ada/{ab}")),
            (row::running(&actor), "running/default/agent/ada".to_owned()),
            (row::step(&actor, turn, "ask"), format!("step/default/agent/ada/{ab}/ask")),
            (row::outbox(&actor, position), "outbox/default/agent/ada/2/9/1".to_owned()),
            (row::dead_letter(&actor, position), "dead/default/agent/ada/2/9/1".to_owned()),
            (row::inbox(&actor, &sender, position), "inbox/default/agent/ada/t/bot/bob/2/9/1".to_owned()),
            (row::low(&actor, &sender), "low/default/agent/ada/t/bot/bob".to_owned()),
            (row::reminder(&actor, "tea"), "reminder/default/agent/ada/tea".to_owned()),
            (row::due(&actor, 1_700, "tea"), "due/default/agent/ada/1700/tea".to_owned()),
            (row::wake(&actor, 1_700), format!("wake/{bucket}/1700/default/agent/ada")),
            (
                row::index("default", "agent", "name", b"ada\0x"),
                "index/default/agent/name/ada\\x00x".to_owned(),
            ),
            (row::session(&node), "node/node-1/session".to_owned()),
            (row::lease(&node), "node/node-1/lease".to_owned()),
            (row::by_node(&node, Incarnation(3), &actor), "by-node/node-1/3/default/agent/ada".to_owned()),
            (row::generation(), "store/generation".to_owned()),
        ] {
            assert_eq!(readable(&key), text);
        }
    }

    #[test]
    fn what_is_no_row_of_ours_has_a_text_too() {
        for (key, text) in [
            (&b""[..], ""),
            (b"\xfe/run/1", "\\xfe/run/1"),
            (b"own/x", "own/x"),
            (b"own/\xff", "own/\\xff"),
            (b"outbox/t\0a\0k\0short", "outbox/t\\x00a\\x00k\\x00short"),
            (b"back\\slash", "back\\\\slash"),
        ] {
            assert_eq!(readable(key), text);
        }
    }
}
