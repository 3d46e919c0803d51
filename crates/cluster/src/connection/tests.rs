//! What a peer that keeps to no rule can make the answering end do.

use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::{BufMut, BytesMut};
use kelpie_core::id::{Boot, Incarnation, NodeId};
use kelpie_env::sim::Sim;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

use super::*;
use crate::codec::prefix;
use crate::frame::FRAME_BYTES_MAX;
use crate::handshake::InFlight;

const LIMITS: InFlight = InFlight { requests_max: 4, kib_max: 16 };

/// Never answers; counts what it holds.
#[derive(Default)]
struct Busy {
    now: AtomicUsize,
    most: AtomicUsize,
    notes: AtomicUsize,
}

struct Held(Arc<Busy>);

impl Drop for Held {
    fn drop(&mut self) {
        self.0.now.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Service for Busy {
    fn serve(self: Arc<Self>, _: Identity, _: Bytes, _: Duration) -> BoxFuture<'static, Bytes> {
        let now = self.now.fetch_add(1, Ordering::Relaxed) + 1;
        self.most.fetch_max(now, Ordering::Relaxed);
        let held = Held(self);
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
    let sim = Sim::new(1);
    let env = sim.node("b").env();
    let (mut near, far): (DuplexStream, _) = tokio::io::duplex(1 << 20);
    let peer = Identity { node: NodeId::new("a").unwrap(), incarnation: Incarnation(1), boot: Boot(1) };
    let agreed = Agreed { protocol: 1, in_flight: LIMITS };
    let wire = Wire::new(&env, Box::new(far)).shaken();
    let answering =
        Answering::new(&env, wire, peer, agreed, Timing::of_term(Duration::from_secs(3)), busy.clone());
    let ended = sim.block_on(async {
        near.write_all(&bytes).await.unwrap();
        let why = answering.run().await;
        // The tasks of its requests end in their own time.
        env.sleep(Duration::from_millis(1)).await;
        let mut said = Vec::new();
        near.read_to_end(&mut said).await.unwrap();
        (why, said)
    });
    assert_eq!(busy.now.load(Ordering::Relaxed), 0, "requests outlive their connection");
    ended
}

fn framed(frames: &[Frame]) -> Vec<u8> {
    let mut bytes = BytesMut::new();
    for frame in frames {
        let body = frame::encode(1, frame);
        bytes.put_slice(&prefix(u32::try_from(body.len()).unwrap()));
        bytes.put_slice(&body);
    }
    bytes.to_vec()
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
    let frames: Vec<Frame> =
        (0..4).map(|id| request(id, 10)).chain((0..4).map(|id| Frame::Cancel { id })).collect();
    let (why, said) = say(framed(&frames), &busy);
    assert_eq!(why, "nothing came for 3s");
    for id in 0..4 {
        let end = framed(&[Frame::Ended { id }]);
        assert!(said.windows(end.len()).any(|part| part == end), "the end of {id}");
    }
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
        let busy = Arc::<Busy>::default();
        let mut bytes = Vec::new();
        for (kind, id, body) in script {
            let (id, body) = (u64::from(*id % 8), Bytes::from(body.clone()));
            bytes.extend(match kind % 6 {
                0 => framed(&[Frame::Request { id, remaining_us: id, body }]),
                1 => framed(&[Frame::Cancel { id }]),
                2 => framed(&[Frame::Note { body }]),
                3 => framed(&[Frame::Ping]),
                4 => {
                    let length = prefix(u32::try_from(body.len()).unwrap());
                    [&length[..], &body].concat()
                }
                _ => body.to_vec(),
            });
        }
        bytes.truncate(1 << 20);
        say(bytes, &busy);
        assert!(busy.most.load(Ordering::Relaxed) <= 4);
    });
}
