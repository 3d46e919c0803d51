//! Ids that are made from what they name, and tell its position.
//!
//! ```text
//!   message-xxxxxxxx-xxxx-xxxx-pppp-ppppppppppnn     x = owner, p = position, n = part
//! ```
//!
//! An id is the same whoever computes it, before or after a crash, and a cursor finds its row
//! without an index. It has the shape of a UUID because clients expect one.

/// Which part of the entry at a position an id names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The entry.
    pub position: u64,
    /// The part of it.
    pub part: u8,
}

/// Bytes that stand for the owner in an id: two owners in a billion do not meet.
const OWNER_BYTES: usize = 8;
/// Bytes of the position in an id: of its conversation and its place there.
const POSITION_BYTES: usize = 7;
/// Positions that fit into an id.
pub const POSITION_MAX: u64 = (1 << (8 * POSITION_BYTES)) - 1;

fn uuid_shaped(kind: &str, bytes: [u8; 16]) -> String {
    let hex = format!("{:032x}", u128::from_be_bytes(bytes));
    format!("{kind}-{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}

fn digest(kind: &str, parts: &[&[u8]]) -> [u8; 16] {
    let mut hasher = blake3::Hasher::new_derive_key("kelpie agent ids");
    for part in std::iter::once(&kind.as_bytes()).chain(parts) {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
    let mut half = [0; 16];
    half.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
    half
}

/// An id from these bytes.
pub fn plain(kind: &str, bytes: [u8; 16]) -> String {
    uuid_shaped(kind, bytes)
}

/// The id of what is named by `parts`.
pub fn derived(kind: &str, parts: &[&[u8]]) -> String {
    uuid_shaped(kind, digest(kind, parts))
}

/// What the ids of all that an owner has of one kind begin with, by which an index finds it.
pub fn owner_mark(kind: &str, owner: &str) -> [u8; OWNER_BYTES] {
    let mut mark = [0; OWNER_BYTES];
    mark.copy_from_slice(&digest(kind, &[owner.as_bytes()])[..OWNER_BYTES]);
    mark
}

/// The mark of the owner in an id, if it has the shape of one of that kind.
pub fn owner_mark_of(kind: &str, id: &str) -> Option<[u8; OWNER_BYTES]> {
    let mut mark = [0; OWNER_BYTES];
    mark.copy_from_slice(&bytes_of(kind, id)?[..OWNER_BYTES]);
    Some(mark)
}

/// The id of what stands at a place of its owner.
pub fn placed(kind: &str, owner: &str, place: Place) -> String {
    let Place { position, part } = place;
    assert!(position <= POSITION_MAX, "conversations and their entries are counted");
    let mut bytes = [0; 16];
    bytes[..OWNER_BYTES].copy_from_slice(&owner_mark(kind, owner));
    bytes[OWNER_BYTES..15].copy_from_slice(&position.to_be_bytes()[8 - POSITION_BYTES..]);
    bytes[15] = part;
    uuid_shaped(kind, bytes)
}

/// The place that an id tells, if it is one that [`placed`] made for this owner.
pub fn place(kind: &str, owner: &str, id: &str) -> Option<Place> {
    let bytes = bytes_of(kind, id)?;
    let mut position = [0; 8];
    position[8 - POSITION_BYTES..].copy_from_slice(&bytes[OWNER_BYTES..15]);
    let place = Place { position: u64::from_be_bytes(position), part: bytes[15] };
    (placed(kind, owner, place) == id).then_some(place)
}

fn bytes_of(kind: &str, id: &str) -> Option<[u8; 16]> {
    let hex: String = id.strip_prefix(kind)?.strip_prefix('-')?.split('-').collect();
    if hex.len() != 32 {
        return None;
    }
    Some(u128::from_str_radix(&hex, 16).ok()?.to_be_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_tells_its_place_to_its_owner_alone() {
        let at = Place { position: 77_000, part: 3 };
        let id = placed("message", "agent-1", at);
        assert_eq!(id.len(), "message-".len() + 36);
        assert_eq!(place("message", "agent-1", &id), Some(at));
        assert_eq!(place("message", "agent-2", &id), None);
        assert_eq!(place("run", "agent-1", &id), None);
        assert_eq!(owner_mark_of("message", &id), Some(owner_mark("message", "agent-1")));
        assert_ne!(owner_mark_of("message", &id), Some(owner_mark("message", "agent-2")));
        for bad in ["", "message-", "message-zz", "message-12345678-1234-1234-1234-123456789012"] {
            assert_eq!(place("message", "agent-1", bad), None, "{bad:?}");
        }
        for bad in ["", "message-", "message-zz", "run-12345678-1234-1234-1234-123456789012"] {
            assert_eq!(owner_mark_of("message", bad), None, "{bad:?}");
        }
    }

    #[test]
    fn other_parts_give_other_ids() {
        assert_ne!(derived("step", &[b"ab", b"c"]), derived("step", &[b"a", b"bc"]));
        assert_ne!(derived("step", &[b"a"]), derived("tool", &[b"a"]).replace("tool", "step"));
    }
}
