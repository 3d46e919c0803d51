//! A world as the specification sees it: its variables, with its values.

use kelpie_core::ownership::Own;
use kelpie_core::session::Session;

use super::step::number;
use super::{Call, Claiming, Commit, Held, Key, Node, Read, ReadPhase, World};

/// An owner: node, incarnation, epoch.
type AbsOwn = (Option<Node>, u64, u64);
/// A session: incarnation, and whether it is live.
type AbsSession = (u64, bool);
/// A claim under way: the owner and the own session that it has read, and for which incarnation.
type AbsClaim = (AbsOwn, AbsSession, u64);
/// What a read was computed from: incarnation, epoch, sequence, state.
type AbsComputed = (u64, u64, u64, Vec<Key>);
/// The read: its phase, where, what it must show, and what it was computed from.
type AbsRead = (ReadPhase, Option<Node>, u64, Option<AbsComputed>);

/// The specification's variables: `sess`, `my`, `db`, `claim`, `act`, `wire`, `call`, `read`,
/// `wrong`, `faults`. (`old` has one value where no bug is seeded.)
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Abs {
    sess: Vec<AbsSession>,
    my: Vec<u64>,
    db: (AbsOwn, u64, Vec<Key>, Vec<u64>, Vec<u64>),
    claim: Vec<Option<AbsClaim>>,
    act: Vec<Option<AbsActivation>>,
    wire: Vec<Commit>,
    call: Vec<(&'static str, Option<Node>, u64)>,
    read: AbsRead,
    wrong: Vec<&'static str>,
    faults: u32,
}

/// `act` of the specification, of one node.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct AbsActivation {
    phase: &'static str,
    key: Option<Key>,
    inc: u64,
    epoch: u64,
    seq: u64,
    view: Vec<Key>,
    nth: u32,
}

impl Abs {
    /// What the specification sees of a world.
    pub fn of(world: &World) -> Self {
        let store = &world.store;
        let replies = store.replies.iter().map(|reply| reply.unwrap_or(0)).collect();
        Self {
            sess: world.sessions.iter().map(session).collect(),
            my: world.my.iter().map(|incarnation| incarnation.0).collect(),
            db: (own(store.own.as_ref()), store.seq, store.log.clone(), replies, store.done.clone()),
            claim: world.claims.iter().map(|claim| claim.as_ref().map(claiming)).collect(),
            act: world.activations.iter().map(|held| held.as_ref().map(activation)).collect(),
            wire: world.wire.clone(),
            call: world.calls.iter().map(call).collect(),
            read: read(&world.read),
            wrong: world.wrong.iter().copied().collect(),
            faults: world.faults,
        }
    }
}

fn session(session: &Session) -> AbsSession {
    (session.incarnation.0, session.is_live())
}

fn own(own: Option<&Own>) -> AbsOwn {
    own.map_or((None, 0, 0), |own| (Some(number(own)), own.incarnation.0, own.epoch.0))
}

fn claiming(claim: &Claiming) -> AbsClaim {
    (own(claim.own.as_ref()), session(&claim.mine), claim.take.incarnation.0)
}

fn activation(held: &Held) -> AbsActivation {
    let phase = match held.sent {
        None => {
            assert!(held.machine.is_idle(), "nothing was sent, and it is not idle");
            "idle"
        }
        Some(sent) => {
            assert!(!held.machine.is_settled(), "something was sent, and it knows of nothing");
            if sent.unknown { "settling" } else { "committing" }
        }
    };
    AbsActivation {
        phase,
        key: held.sent.map(|sent| sent.key),
        inc: held.own.incarnation.0,
        epoch: held.own.epoch.0,
        seq: held.seq,
        view: held.state.clone(),
        nth: held.nth,
    }
}

fn call(call: &Call) -> (&'static str, Option<Node>, u64) {
    match call {
        Call::New => ("new", None, 0),
        Call::Waiting(node) => ("waiting", Some(*node), 0),
        Call::Acked(reply) => ("acked", None, *reply),
        Call::Denied(node) => ("denied", Some(*node), 0),
    }
}

fn read(read: &Read) -> AbsRead {
    let computed = read.computed.as_ref();
    let computed = computed.map(|(own, seq, view)| (own.incarnation.0, own.epoch.0, *seq, view.clone()));
    (read.phase, read.at, read.floor, computed)
}
