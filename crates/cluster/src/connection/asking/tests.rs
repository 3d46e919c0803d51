//! What a peer that keeps to no rule can make the end that asks do.

use futures::future::{Either, join_all, select};
use kelpie_env::sim::Sim;
use tokio::io::AsyncWriteExt;

use super::*;
use crate::codec::prefix;
use crate::connection::tests::{FAST, LIMITS, Pace, SLOW, agreed, framed, frames, peer, timing};

const REMAINING: Duration = Duration::from_secs(1);
/// What a node asks while its peer says whatever it likes.
const REQUESTS: usize = 24;

/// What it holds never exceeds what was agreed on.
fn check(asking: &Asking) {
    let Shared { requests, kib, waiting, .. } = &*asking.shared;
    let waiting = waiting.lock();
    let kib_max = usize::try_from(LIMITS.kib_max).unwrap();
    let requests_max = usize::try_from(LIMITS.requests_max).unwrap();
    assert!(waiting.answers.len() + requests.available_permits() <= requests_max, "more requests");
    // Each of those below counts for 3 KiB.
    assert!(3 * waiting.answers.len() + kib.available_permits() <= kib_max, "more bytes");
}

/// Asks while the peer says these bytes. The frames that the peer was told, and the answers.
fn ask(pace: Pace, bytes: &[u8]) -> (Vec<Frame>, Vec<Result<Bytes, Failure>>) {
    let sim = Sim::new(1);
    let env = sim.node("a").env();
    let (near, far) = tokio::io::duplex(pace.pipe);
    let (reads, mut writes) = tokio::io::split(near);
    let wire = Wire::new(&env, Box::new(far)).shaken();
    let asking = Asking::start(&env, wire, peer(), agreed(), timing());
    sim.block_on(async {
        let began = env.now();
        let asks = async {
            let body = Bytes::from(vec![0; 2 << 10]);
            let requests = (0..REQUESTS).map(|number| {
                let (asking, env, body) = (&asking, &env, body.clone());
                async move {
                    let asked = asking.request(body, REMAINING);
                    // Every third one is given up before.
                    let patience = if number % 3 == 0 { REMAINING / 100 } else { 2 * REMAINING };
                    env.timeout(patience, asked).await.unwrap_or(Err(Failure::TimedOut))
                }
            });
            let watch = async {
                loop {
                    check(&asking);
                    env.sleep(Duration::from_millis(1)).await;
                }
            };
            let answers = join_all(requests);
            let answers = match select(std::pin::pin!(answers), std::pin::pin!(watch)).await {
                Either::Left((answers, _)) => answers,
                Either::Right((never, _)) => never,
            };
            assert!(env.now() - began <= REMAINING + Duration::from_millis(1), "each ends in its time");
            check(&asking);
            asking.close();
            answers
        };
        // Whoever is cut off cannot say the rest.
        let saying = writes.write_all(bytes);
        let (told, answers, _cut) = futures::join!(pace.read(&env, reads), asks, saying);
        assert!(asking.has_ended() && asking.shared.waiting.lock().answers.is_empty());
        (frames(&told), answers)
    })
}

#[test]
fn no_bytes_make_it_panic_or_exceed_its_limits() {
    bolero::check!().with_iterations(500).with_type::<Vec<(u8, u8, Vec<u8>)>>().for_each(|script| {
        let (mut bytes, mut replies) = (Vec::new(), 0);
        for (kind, id, body) in script {
            let (id, body) = (u64::from(*id % 32), Bytes::from(body.clone()));
            bytes.extend(match kind % 16 {
                0..6 => {
                    replies += 1;
                    framed(&[Frame::Reply { id, body }])
                }
                6..11 => framed(&[Frame::Ended { id }]),
                11 => framed(&[Frame::Ping]),
                12 => framed(&[Frame::Request { id, remaining_us: id, body }]),
                13 => framed(&[Frame::Cancel { id }, Frame::Note { body }]),
                14 => {
                    let length = prefix(u32::try_from(body.len()).unwrap());
                    [&length[..], &body].concat()
                }
                _ => body.to_vec(),
            });
        }
        for pace in [FAST, SLOW] {
            let (told, answers) = ask(pace, &bytes);
            let count = |of: fn(&Frame) -> bool| told.iter().filter(|frame| of(frame)).count();
            let asked = count(|frame| matches!(frame, Frame::Request { .. }));
            let cancelled = count(|frame| matches!(frame, Frame::Cancel { .. }));
            assert!(asked <= REQUESTS && cancelled <= REQUESTS, "{asked} asked, {cancelled} cancelled");
            assert!(answers.iter().filter(|answer| answer.is_ok()).count() <= replies);
        }
    });
}
