//! What a peer that keeps to no rule can make the answering end do.

use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::{BufMut, BytesMut};
use futures::future::join_all;
use kelpie_core::id::{Boot, Incarnation, NodeId};
use kelpie_env::sim::Sim;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_util::codec::Decoder;

use super::*;
use crate::codec::{Codec, prefix};
use crate::frame::FRAME_BYTES_MAX;
use crate::handshake::InFlight;

pub(super) const LIMITS: InFlight = InFlight { requests_max: 4, kib_max: 16 };
const TERM: Duration = Duration::from_secs(3);

pub(super) fn agreed() -> Agreed {
    Agreed { protocol: 1, in_flight: LIMITS }
}

pub(super) fn timing() -> Timing {
    Timing::of_term(TERM)
}

pub(super) fn peer() -> Identity {
    Identity { node: NodeId::new("a").unwrap(), incarnation: Incarnation(1), boot: Boot(1) }
}

/// How a peer takes what it is told.
#[derive(Clone, Copy)]
pub(super) struct Pace {
    /// What is under way to it, at most.
    pub(super) pipe: usize,
    /// It reads so much,
    bytes: usize,
    /// so often.
    every: Duration,
}

pub(super) const FAST: Pace = Pace { pipe: 1 << 20, bytes: 1 << 20, every: Duration::ZERO };
/// It reads just enough not to be given up.
pub(super) const SLOW: Pace = Pace { pipe: 64, bytes: 1, every: Duration::from_secs(1) };

impl Pace {
    /// Reads until the other end closes.
    pub(super) async fn read(self, env: &Env, mut from: impl AsyncReadExt + Unpin) -> Vec<u8> {
        let (mut all, mut some) = (Vec::new(), vec![0; self.bytes]);
        loop {
            env.sleep(self.every).await;
            match from.read(&mut some).await {
                Ok(0) | Err(_) => return all,
                Ok(read) => all.extend(&some[..read]),
            }
        }
    }
}

/// Never answers; counts what it holds.
#[derive(Default)]
struct Busy {
    begun: AtomicUsize,
    now: AtomicUsize,
    most: AtomicUsize,
    kib_now: AtomicUsize,
    kib_most: AtomicUsize,
    notes: AtomicUsize,
}

struct Held(Arc<Busy>, usize);

impl Drop for Held {
    fn drop(&mut self) {
        self.0.now.fetch_sub(1, Ordering::Relaxed);
        self.0.kib_now.fetch_sub(self.1, Ordering::Relaxed);
    }
}

impl Service for Busy {
    fn serve(self: Arc<Self>, _: Identity, body: Bytes, _: Duration) -> BoxFuture<'static, Bytes> {
        self.begun.fetch_add(1, Ordering::Relaxed);
        let kib = usize::try_from(kib(&body)).unwrap();
        for (now, most, more) in [(&self.now, &self.most, 1), (&self.kib_now, &self.kib_most, kib)] {
            let now = now.fetch_add(more, Ordering::Relaxed) + more;
            most.fetch_max(now, Ordering::Relaxed);
        }
        let held = Held(self, kib);
        Box::pin(async move {
            std::future::pending::<()>().await;
            drop(held);
            Bytes::new()
        })
    }

    fn note(&self, _: &Identity, _: Bytes) {
        self.notes.fetch_add(1, Ordering::Relaxed);
    }
}

/// Says these bytes to an answering end, then nothing. Why the connection ended, and what it
/// had said.
fn say(bytes: Vec<u8>, busy: &Arc<Busy>) -> (String, Vec<u8>) {
    say_at(FAST, bytes, busy)
}

fn say_at(pace: Pace, bytes: Vec<u8>, busy: &Arc<Busy>) -> (String, Vec<u8>) {
    let sim = Sim::new(1);
    let env = sim.node("b").env();
    let (near, far) = tokio::io::duplex(pace.pipe);
    let (reads, mut writes) = tokio::io::split(near);
    let wire = Wire::new(&env, Box::new(far)).shaken();
    let answering = Answering::new(&env, wire, peer(), agreed(), timing(), busy.clone());
    let ended = sim.block_on(async {
        // Whoever is cut off cannot say the rest.
        let saying = writes.write_all(&bytes);
        let (why, said, _cut) = futures::join!(answering.run(), pace.read(&env, reads), saying);
        // The tasks of its requests end in their own time.
        env.sleep(Duration::from_millis(1)).await;
        (why, said)
    });
    assert_eq!(busy.now.load(Ordering::Relaxed), 0, "requests outlive their connection");
    ended
}

pub(super) fn framed(frames: &[Frame]) -> Vec<u8> {
    let mut bytes = BytesMut::new();
    for frame in frames {
        let body = frame::encode(1, frame);
        bytes.put_slice(&prefix(u32::try_from(body.len()).unwrap()));
        bytes.put_slice(&body);
    }
    bytes.to_vec()
}

/// The whole frames in what was said.
pub(super) fn frames(said: &[u8]) -> Vec<Frame> {
    let (mut codec, mut said) = (Codec::new(FRAME_BYTES_MAX), BytesMut::from(said));
    let mut next = || codec.decode(&mut said).unwrap();
    std::iter::from_fn(|| next().map(|bytes| frame::decode(1, &bytes).unwrap())).collect()
}

fn request(id: u64, bytes: usize) -> Frame {
    Frame::Request { id, remaining_us: 1_000_000, body: vec![0; bytes].into() }
}

#[test]
fn a_silent_peer_is_given_up() {
    let (why, said) = say(Vec::new(), &Arc::default());
    assert_eq!(why, "nothing came for 3s");
    assert!(said.is_empty(), "it has heard nothing, and says nothing");
    let (_, said) = say(framed(&[Frame::Ping]), &Arc::default());
    assert_eq!(said, framed(&[Frame::Ping]), "it says that it hears");
}

#[test]
fn who_exceeds_what_was_agreed_on_is_cut_off() {
    let busy = Arc::<Busy>::default();
    let many: Vec<Frame> = (0..100).map(|id| request(id, 10)).collect();
    assert_eq!(say(framed(&many), &busy).0, Violation::TooMany.to_string());
    assert_eq!(busy.most.load(Ordering::Relaxed), 4);
    let large = [request(1, 8 << 10), request(2, 8 << 10)];
    assert_eq!(say(framed(&large), &Arc::default()).0, Violation::TooMany.to_string());
    let twice = [request(1, 1), request(1, 1)];
    assert_eq!(say(framed(&twice), &Arc::default()).0, Violation::Twice { id: 1 }.to_string());
    let wrong = [Frame::Reply { id: 1, body: Bytes::new() }];
    assert_eq!(say(framed(&wrong), &Arc::default()).0, Violation::WrongEnd { what: "reply" }.to_string());
}

#[test]
fn a_cancelled_request_makes_room_and_its_end_is_told() {
    let busy = Arc::<Busy>::default();
    let script: Vec<Frame> =
        (0..4).map(|id| request(id, 10)).chain((0..4).map(|id| Frame::Cancel { id })).collect();
    let (why, said) = say(framed(&script), &busy);
    assert_eq!(why, "nothing came for 3s");
    let told = frames(&said);
    for id in 0..4 {
        assert!(told.contains(&Frame::Ended { id }), "the end of {id}");
    }
}

/// What an answering end held at most for a peer: requests that had begun and whose end was not
/// told. Those whose frames it has begun to write are as many again.
fn held(busy: &Busy, said: &[u8]) -> usize {
    let told = frames(said).iter().filter(|frame| matches!(frame, Frame::Ended { .. })).count();
    busy.begun.load(Ordering::Relaxed) - told
}

const HELD_MAX: usize = 2 * LIMITS.requests_max as usize;

#[test]
fn requests_that_a_peer_cancels_and_does_not_hear_of_keep_their_places() {
    let busy = Arc::<Busy>::default();
    let pairs: Vec<Frame> = (0..1_000).flat_map(|id| [request(id, 10), Frame::Cancel { id }]).collect();
    let (why, said) = say_at(SLOW, framed(&pairs), &busy);
    assert_eq!(why, Violation::TooMany.to_string());
    assert!(held(&busy, &said) <= HELD_MAX, "{} of {:?}", held(&busy, &said), busy.begun);
}

#[cfg(feature = "mutants")]
#[test]
fn a_place_that_a_cancel_frees_is_caught() {
    let _armed = kelpie_core::mutant::arm("cancels_free_a_place");
    std::panic::catch_unwind(requests_that_a_peer_cancels_and_does_not_hear_of_keep_their_places)
        .unwrap_err();
}

#[test]
fn a_place_is_free_before_the_peer_can_know_it() {
    let (sim, busy) = (Sim::new(1), Arc::<Busy>::default());
    let env = sim.node("b").env();
    let (there_end, mut there) = tokio::io::simplex(1 << 12);
    // Half of an end.
    let (mut back_end, back) = tokio::io::simplex(8);
    let wire = Wire::new(&env, Box::new(tokio::io::join(there_end, back))).shaken();
    let answering = Answering::new(&env, wire, peer(), agreed(), timing(), busy.clone());
    let cancelled = |ids: std::ops::Range<u64>| {
        let requests: Vec<Frame> = ids.clone().map(|id| request(id, 10)).collect();
        framed(&[requests, ids.map(|id| Frame::Cancel { id }).collect()].concat())
    };
    let say = async {
        there.write_all(&cancelled(0..1)).await.unwrap();
        env.sleep(Duration::from_millis(1)).await;
        // While the end of the first one is on its way, the ends of these wait, and are then written
        // together.
        there.write_all(&cancelled(1..5)).await.unwrap();
        env.sleep(Duration::from_millis(1)).await;
        let mut known = framed(&[Frame::Ended { id: 0 }, Frame::Ended { id: 1 }]);
        back_end.read_exact(&mut known).await.unwrap();
        there.write_all(&framed(&[request(5, 10)])).await.unwrap();
        env.sleep(Duration::from_millis(1)).await;
        there.shutdown().await.unwrap();
    };
    let (why, ()) = sim.block_on(async { futures::join!(answering.run(), say) });
    assert_eq!((why.as_str(), busy.begun.load(Ordering::Relaxed)), ("the peer has closed it", 6));
}

#[test]
fn who_keeps_to_what_was_agreed_on_is_not_cut_off() {
    let (sim, busy) = (Sim::new(1), Arc::<Busy>::default());
    let (a, b) = (sim.node("a").env(), sim.node("b").env());
    let (near, far) = tokio::io::duplex(SLOW.pipe);
    let asks = Wire::new(&a, Box::new(near)).shaken();
    let answers = Wire::new(&b, Box::new(far)).shaken();
    let asking = Asking::start(&a, asks, peer(), agreed(), timing());
    let answering = Answering::new(&b, answers, peer(), agreed(), timing(), busy.clone());
    let closer = answering.closer();
    let why = sim.block_on(async {
        let asks = async {
            for _ in 0..100 {
                // All four are given up at once, and the next four wait for their places.
                let given_up = (0..4).map(|_| asking.request(Bytes::new(), Duration::from_millis(10)));
                join_all(given_up).await;
            }
            assert!(!asking.has_ended());
            closer.close();
        };
        futures::join!(answering.run(), asks).0
    });
    assert_eq!(why, "it is not needed any more");
    assert!(busy.begun.load(Ordering::Relaxed) > 100);
}

#[test]
fn a_frame_that_is_announced_too_large_ends_the_connection_before_it_is_read() {
    for length in [u32::try_from(FRAME_BYTES_MAX + 1).unwrap(), u32::MAX] {
        let why = say(prefix(length).to_vec(), &Arc::default()).0;
        assert_eq!(why, format!("a message of {length} bytes, of {FRAME_BYTES_MAX} allowed"));
        let sim = Sim::new(1);
        let (mut near, far) = tokio::io::duplex(64);
        let mut wire = Wire::new(&sim.node("b").env(), Box::new(far)).shaken();
        sim.block_on(async {
            near.write_all(&prefix(length)).await.unwrap();
            assert!(wire.hear().await.is_err());
        });
        assert!(wire.framed.read_buffer().capacity() <= 8 << 10, "it made room for it");
    }
}

#[test]
fn no_bytes_make_it_panic_or_exceed_its_limits() {
    bolero::check!().with_iterations(500).with_type::<Vec<(u8, u8, Vec<u8>)>>().for_each(|script| {
        let mut bytes = Vec::new();
        for (kind, id, body) in script {
            // Some are as large as a few of them may be together.
            let size = body.len() * if id % 16 == 0 { 1 << 10 } else { 1 };
            let (id, body) = (u64::from(*id % 32), Bytes::from(body.clone()));
            bytes.extend(match kind % 16 {
                0..8 => framed(&[Frame::Request { id, remaining_us: id, body: vec![0; size].into() }]),
                8..11 => framed(&[Frame::Cancel { id }]),
                11 | 12 => framed(&[Frame::Note { body }]),
                13 => framed(&[Frame::Ping]),
                14 => {
                    let length = prefix(u32::try_from(body.len()).unwrap());
                    [&length[..], &body].concat()
                }
                _ => body.to_vec(),
            });
        }
        for pace in [FAST, SLOW] {
            let busy = Arc::<Busy>::default();
            let (_, said) = say_at(pace, bytes.clone(), &busy);
            assert!(held(&busy, &said) <= HELD_MAX);
            let most = [&busy.most, &busy.kib_most].map(|most| most.load(Ordering::Relaxed));
            let [requests, kib] = most;
            assert!(requests <= LIMITS.requests_max as usize && kib <= LIMITS.kib_max as usize, "{most:?}");
        }
    });
}
