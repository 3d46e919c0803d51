//! Limits that cross crates. Every queue, size and count has one.

use std::time::Duration;

/// Bytes of a tenant's name.
pub const TENANT_BYTES_MAX: usize = 64;
/// Bytes of an actor type's name.
pub const ACTOR_TYPE_BYTES_MAX: usize = 64;
/// Bytes of an actor's key. With tenant and type it stays far below the store's 10,000.
pub const ACTOR_KEY_BYTES_MAX: usize = 256;
/// Bytes of a node's name.
pub const NODE_ID_BYTES_MAX: usize = 64;
/// Bytes of a record's key inside its actor.
pub const RECORD_KEY_BYTES_MAX: usize = 1_024;
/// Bytes of an idempotency key: room for a URL-shaped one.
pub const IDEMPOTENCY_KEY_BYTES_MAX: usize = 256;
/// Bytes of a step's key: together with the turn's id it is an idempotency key.
pub const STEP_KEY_BYTES_MAX: usize = IDEMPOTENCY_KEY_BYTES_MAX - 33;
/// Bytes of an operation's name.
pub const OPERATION_BYTES_MAX: usize = 64;
/// Bytes of a call's payload. Kept in the running record, so far below one transaction.
pub const PAYLOAD_BYTES_MAX: usize = 2 << 20;
/// Bytes of a reminder's name.
pub const REMINDER_NAME_BYTES_MAX: usize = 256;
/// Bytes of a reminder's payload: its row is written again each time it fires.
pub const REMINDER_PAYLOAD_BYTES_MAX: usize = 64 << 10;
/// The shortest period of a reminder: each time is a durable turn.
pub const REMINDER_PERIOD_MIN: Duration = Duration::from_secs(1);
/// Calls that wait for one actor; a further one is refused, so that memory is bounded and
/// the caller learns of the overload at once.
pub const MAILBOX_CALLS_MAX: usize = 1_024;
/// How many actors may call each other in one chain.
pub const CALL_DEPTH_MAX: usize = 16;
/// Waits that a probe for circles follows: no chain is deeper, but roots can add up.
pub const PROBE_EDGES_MAX: usize = 4 * CALL_DEPTH_MAX;
/// How long a call waits behind a turn before it asks whether that turn waits for it.
pub const PROBE_AFTER: Duration = Duration::from_millis(50);
/// How long a call may take when its caller does not say.
pub const CALL_DEADLINE_DEFAULT: Duration = Duration::from_secs(60);
/// How long a user's idempotency key is remembered.
pub const KEY_RETENTION: Duration = Duration::from_hours(24);
/// How long the record of a call is kept that an actor made for something owed, a message or
/// a reminder: after an outage of any length up to this the work is done again, not the call.
pub const KEY_RETENTION_OWED: Duration = Duration::from_hours(30 * 24);
/// How long a key that Kelpie made outlives its call's deadline: covers every re-route.
pub const KEY_MARGIN: Duration = Duration::from_secs(60);
/// Buckets of the wake index: lets many nodes share the scanning.
pub const WAKE_BUCKETS: u16 = 256;
/// Redirects a call follows before it is refused.
pub const REDIRECTS_MAX: usize = 8;

/// The lease T: how long a node may be silent before others may take its place.
pub const LEASE_TERM: Duration = Duration::from_secs(3);
/// The shortest lease: a beat in a third of a second still has room for a slow commit.
pub const LEASE_TERM_MIN: Duration = Duration::from_secs(1);
/// The longest lease: what a dead node had waits for so long.
pub const LEASE_TERM_MAX: Duration = Duration::from_secs(60);
/// Three beats a term, so that one lost renewal is harmless.
pub const LEASE_BEATS_PER_TERM: u32 = 3;
const _: () = assert!(
    LEASE_TERM_MIN.as_secs() <= LEASE_TERM.as_secs() && LEASE_TERM.as_secs() <= LEASE_TERM_MAX.as_secs()
);

const _: () =
    assert!(RECORD_KEY_BYTES_MAX + TENANT_BYTES_MAX + ACTOR_TYPE_BYTES_MAX + ACTOR_KEY_BYTES_MAX < 9_000);
