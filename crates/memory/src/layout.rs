//! Where the rows of each tier stand inside their actor's records.
//!
//! Positions are big-endian, so that the order of the bytes is the order of time.

/// What all blocks' keys begin with.
pub const BLOCKS: &[u8] = b"block/";
/// What the keys of all entries of working memory begin with.
pub const WORKING: &[u8] = b"working/";
/// What all log entries' keys begin with.
pub const LOG: &[u8] = b"log/";
/// What all passages' keys begin with.
pub const PASSAGES: &[u8] = b"passage/";
/// What the keys of all rows for searches begin with.
pub const SEGMENTS: &[u8] = b"segment/";

/// Of a position, the bits of the place in its conversation; those above are the conversation's
/// number. So the entries of a conversation stand side by side, and an id tells both.
const PLACE_BITS: u32 = 32;
/// Conversations that an agent may begin.
pub const CONVERSATIONS_MAX: u64 = 1 << 24;

/// The first position of a conversation.
pub fn first_of(conversation: u64) -> u64 {
    conversation << PLACE_BITS
}

/// The conversation that a position belongs to.
pub fn conversation_of(position: u64) -> u64 {
    position >> PLACE_BITS
}

/// The row of a block.
pub fn block(label: &str) -> Vec<u8> {
    [BLOCKS, label.as_bytes()].concat()
}

/// The row of an entry of working memory.
pub fn working(key: &str) -> Vec<u8> {
    [WORKING, key.as_bytes()].concat()
}

/// The row of a log entry.
pub fn log(position: u64) -> Vec<u8> {
    [LOG, &position.to_be_bytes()].concat()
}

/// The row of a passage.
pub fn passage(position: u64) -> Vec<u8> {
    [PASSAGES, &position.to_be_bytes()].concat()
}

/// The row for searches whose first passage stands at a position.
pub fn segment(position: u64) -> Vec<u8> {
    [SEGMENTS, &position.to_be_bytes()].concat()
}

/// The position in a row's key, which begins with `prefix`.
pub fn position(prefix: &[u8], key: &[u8]) -> Option<u64> {
    let position = key.strip_prefix(prefix)?;
    Some(u64::from_be_bytes(position.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_of_conversations_do_not_meet_and_fit_into_ids() {
        assert_eq!(conversation_of(first_of(3) + 7), 3);
        assert!(log(first_of(1) - 1) < log(first_of(1)));
        assert_eq!(first_of(CONVERSATIONS_MAX) - 1, crate::name::POSITION_MAX);
    }

    #[test]
    fn keys_are_in_the_order_of_positions_and_read_back() {
        assert!(log(255) < log(256));
        assert_eq!(position(LOG, &log(256)), Some(256));
        assert_eq!(position(LOG, &passage(256)), None);
        assert_eq!(position(LOG, b"log/short"), None);
    }
}
