//! Links that fail: what each fault does to messages and to streams, and that it is counted.

use std::io::ErrorKind;
use std::num::NonZeroU64;
use std::time::Duration;

use bytes::Bytes;
use kelpie_env::Stream;
use kelpie_env::sim::{FAULTS, LinkFaults, Mailbox, Node, Sim};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::messages::{drained, numbered};

const SECOND: Duration = Duration::from_secs(1);
const MS: Duration = Duration::from_millis(1);
const ALWAYS: u32 = 1_000_000;
const HALF: u32 = ALWAYS / 2;

struct Pair {
    sim: Sim,
    a: Node,
    b: Node,
    from: Mailbox,
    to: Mailbox,
}

impl Pair {
    fn new(seed: u64, faults: LinkFaults) -> Self {
        let sim = Sim::new(seed);
        let (a, b) = (sim.node("a"), sim.node("b"));
        let (from, to) = (a.mailbox(1), b.mailbox(1));
        sim.set_link_faults(&a, &b, faults);
        assert_eq!(sim.link_faults(&a, &b), faults);
        assert_eq!(sim.link_faults(&b, &a), LinkFaults::default());
        Self { sim, a, b, from, to }
    }

    fn send(&self, messages: u32) {
        for number in 0..messages {
            self.from.send(self.to.addr(), numbered(number));
        }
    }

    /// What arrives at b, in order.
    fn got(&self) -> Vec<Bytes> {
        self.sim.block_on(drained(&self.b, &self.to))
    }

    fn fired(&self, fault: &str) -> u64 {
        self.sim.fired()[fault]
    }

    async fn connected(&self) -> (Box<dyn Stream>, Box<dyn Stream>) {
        let listener = self.b.env().net().listen((self.b.ip(), 0).into()).await.unwrap();
        let near = self.a.env().net().connect(listener.local_addr().unwrap()).await.unwrap();
        (near, listener.accept().await.unwrap().0)
    }
}

/// Exactly the faults named have fired.
#[track_caller]
fn only(pair: &Pair, faults: &[&str]) {
    let mut fired: Vec<_> = pair.sim.fired().into_iter().filter(|(_, count)| *count > 0).collect();
    // What every world has is counted too.
    let always = ["reorder", "clock-drift", "crash", "crash-before-sync"];
    fired.retain(|(name, _)| !always.contains(name) || faults.contains(name));
    let names: Vec<_> = fired.iter().map(|(name, _)| *name).collect();
    assert_eq!(names, faults, "{fired:?}");
}

#[test]
fn every_fault_has_a_count_from_the_start() {
    let sim = Sim::new(1);
    let fired = sim.fired();
    assert!(FAULTS.iter().all(|fault| fired[fault] == 0));
    assert_eq!(fired.len(), FAULTS.len(), "no name twice");
    let kebab = |name: &str| name.chars().all(|c| c.is_ascii_lowercase() || c == '-');
    assert!(FAULTS.iter().all(|fault| kebab(fault)));
}

#[test]
fn sound_links_fire_nothing_but_reordering() {
    let pair = Pair::new(1, LinkFaults::default());
    pair.send(50);
    assert_eq!(pair.got().len(), 50);
    only(&pair, &["reorder"]);
}

#[test]
fn messages_are_dropped() {
    let pair = Pair::new(1, LinkFaults { drop_ppm: HALF, ..LinkFaults::default() });
    pair.send(100);
    let lost = pair.fired("drop");
    assert!((20..80).contains(&lost), "{lost}");
    assert_eq!(pair.got().len() as u64, 100 - lost);
    only(&pair, &["drop"]);
    // The way back is sound.
    pair.to.send(pair.from.addr(), numbered(1));
    assert_eq!(pair.sim.block_on(drained(&pair.a, &pair.from)).len(), 1);
    pair.sim.heal_all();
    pair.send(100);
    assert_eq!(pair.got().len(), 100);
}

#[test]
fn messages_are_duplicated() {
    let pair = Pair::new(1, LinkFaults { duplicate_ppm: HALF, ..LinkFaults::default() });
    pair.send(100);
    let got = pair.got();
    let twice = pair.fired("duplicate");
    assert!((20..80).contains(&twice), "{twice}");
    assert_eq!(got.len() as u64, 100 + twice);
    only(&pair, &["duplicate"]);
}

#[test]
fn a_copy_arrives_late_at_the_next_life() {
    let faults = LinkFaults { replay_ppm: ALWAYS, replay_after_max: 20 * SECOND, ..LinkFaults::default() };
    for seed in 0..20 {
        late_copy(&Pair::new(seed, faults));
    }
}

fn late_copy(pair: &Pair) {
    pair.send(1);
    pair.sim.run_for(SECOND);
    assert_eq!(pair.sim.block_on(pair.to.recv()).unwrap().1, numbered(0));
    pair.sim.run_for(8 * SECOND);
    assert_eq!(pair.fired("late-replay"), 0, "not before half of the time");
    pair.b.kill();
    pair.b.restart();
    let again = pair.b.mailbox(1);
    assert_eq!(pair.sim.block_on(drained(&pair.b, &again)), [numbered(0)]);
    only(pair, &["late-replay", "stale-address"]);
}

#[test]
fn a_later_message_overtakes() {
    let faults = LinkFaults { reorder_ppm: HALF, reorder_max: SECOND, ..LinkFaults::default() };
    let pair = Pair::new(1, faults);
    for number in 0..100 {
        pair.from.send(pair.to.addr(), numbered(number));
        // Far apart enough that no delay of the world's own changes their order.
        pair.sim.run_for(10 * MS);
    }
    let got = pair.got();
    assert_eq!(got.len(), 100);
    assert!(!got.is_sorted_by_key(|message| u32::from_le_bytes(message[..].try_into().unwrap())));
    assert!(pair.fired("reorder") > 10);
    only(&pair, &["reorder"]);
}

#[test]
fn a_link_is_slow_and_now_and_then_very_slow() {
    let faults = LinkFaults { delay: SECOND, ..LinkFaults::default() };
    let pair = Pair::new(1, faults);
    pair.send(1);
    pair.sim.block_on(pair.to.recv());
    assert!((SECOND..SECOND + 3 * MS).contains(&pair.sim.elapsed()), "{:?}", pair.sim.elapsed());
    only(&pair, &["delay"]);

    let faults = LinkFaults { tail_ppm: ALWAYS, tail_max: 10 * SECOND, ..LinkFaults::default() };
    let times: Vec<_> = (0..200)
        .map(|seed| {
            let pair = Pair::new(seed, faults);
            pair.send(1);
            pair.sim.block_on(pair.to.recv());
            only(&pair, &["heavy-tail-delay"]);
            pair.sim.elapsed()
        })
        .collect();
    let above = |limit: Duration| times.iter().filter(|time| **time > limit).count();
    assert!((1..40).contains(&above(3 * SECOND)), "{}", above(3 * SECOND));
    assert!((40..180).contains(&above(50 * MS)), "{}", above(50 * MS));
}

#[test]
fn messages_are_harmed() {
    let message = Bytes::from_static(b"0123456789");
    for seed in 0..20 {
        let pair = Pair::new(seed, LinkFaults { flip_bit_ppm: ALWAYS, ..LinkFaults::default() });
        pair.from.send(pair.to.addr(), message.clone());
        let got = pair.got().remove(0);
        let flipped: u32 = got.iter().zip(&message).map(|(a, b)| (a ^ b).count_ones()).sum();
        assert_eq!((got.len(), flipped), (10, 1));
        only(&pair, &["bit-flip"]);

        let pair = Pair::new(seed, LinkFaults { truncate_ppm: ALWAYS, ..LinkFaults::default() });
        pair.from.send(pair.to.addr(), message.clone());
        let got = pair.got().remove(0);
        assert!(got.len() < 10 && message.starts_with(&got));
        only(&pair, &["truncated-frame"]);
        // Of nothing nothing can be lost.
        pair.from.send(pair.to.addr(), Bytes::new());
        assert_eq!(pair.got(), [Bytes::new()]);
        assert_eq!(pair.fired("truncated-frame"), 1);
    }
}

#[test]
fn a_bandwidth_makes_messages_wait_and_a_full_queue_loses_them() {
    let faults = LinkFaults { bytes_per_second: NonZeroU64::new(1000), ..LinkFaults::default() };
    let pair = Pair::new(1, faults);
    let kilobyte = Bytes::from(vec![7; 1000]);
    for _ in 0..10 {
        pair.from.send(pair.to.addr(), kilobyte.clone());
    }
    let last = pair.sim.block_on(async {
        for _ in 0..10 {
            pair.to.recv().await.unwrap();
        }
        pair.sim.elapsed()
    });
    assert!((10 * SECOND..10 * SECOND + 3 * MS).contains(&last), "{last:?}");
    only(&pair, &["bandwidth-cap"]);
    assert_eq!(pair.fired("bandwidth-cap"), 9);

    let pair = Pair::new(1, LinkFaults { queue_bytes_max: Some(3500), ..faults });
    for _ in 0..10 {
        pair.from.send(pair.to.addr(), kilobyte.clone());
    }
    assert_eq!(pair.got().len(), 3);
    only(&pair, &["bandwidth-cap", "queue-overflow"]);
    assert_eq!(pair.fired("queue-overflow"), 7);
}

#[test]
fn a_clog_holds_messages_back_and_lets_them_go() {
    let clogged = LinkFaults { clogged: true, queue_bytes_max: Some(40), ..LinkFaults::default() };
    let pair = Pair::new(1, LinkFaults::default());
    pair.send(1);
    // That one is under way when the clog begins.
    pair.sim.set_link_faults(&pair.a, &pair.b, clogged);
    pair.send(12);
    assert!(pair.got().is_empty());
    pair.sim.set_link_faults(&pair.a, &pair.b, LinkFaults::default());
    assert_eq!(pair.got().len(), 11, "ten of four bytes had room, and one was under way");
    only(&pair, &["clog", "queue-overflow"]);
}

#[test]
fn partitions_lose_messages_and_are_told_apart() {
    let pair = Pair::new(1, LinkFaults::default());
    let c = pair.sim.node("c");
    let third = c.mailbox(1);
    pair.sim.partition_one_way(&pair.a, &pair.b);
    pair.send(1);
    assert!(pair.got().is_empty());
    only(&pair, &["asymmetric-partition"]);
    pair.sim.partition(&pair.a, &pair.b);
    pair.send(1);
    assert!(pair.got().is_empty());
    only(&pair, &["asymmetric-partition", "symmetric-partition"]);
    pair.sim.heal(&pair.a, &pair.b);
    pair.send(1);
    assert_eq!(pair.got().len(), 1);
    // It is lost though the partition is over by the time it would have arrived.
    pair.sim.partition(&pair.a, &pair.b);
    pair.send(1);
    pair.sim.heal(&pair.a, &pair.b);
    assert!(pair.got().is_empty());
    pair.send(1);
    // What is under way when a partition begins is lost too.
    pair.sim.isolate(&pair.a);
    pair.from.send(third.addr(), numbered(1));
    assert!(pair.got().is_empty());
    only(&pair, &["asymmetric-partition", "isolate-one", "symmetric-partition"]);
    assert_eq!(pair.fired("isolate-one"), 2);
    // The others reach each other.
    pair.to.send(third.addr(), numbered(1));
    assert_eq!(pair.sim.block_on(drained(&c, &third)).len(), 1);
    pair.sim.heal_all();
    pair.send(1);
    assert_eq!(pair.got().len(), 1);
}

/// Writes for as long as it is let, and returns what arrives and how it ends.
async fn stream_through(pair: &Pair, bytes: &[u8]) -> (Vec<u8>, Option<ErrorKind>) {
    let (mut near, mut far) = pair.connected().await;
    let writes = async {
        let written = near.write_all(bytes).await;
        drop(written);
        drop(near.shutdown().await);
    };
    let reads = async {
        let mut got = Vec::new();
        let end = far.read_to_end(&mut got).await.map_err(|error| error.kind());
        (got, end.err())
    };
    futures::future::join(writes, reads).await.1
}

#[test]
fn a_stream_is_reset_within_a_frame_or_before_it() {
    let (mut within, mut before) = (0, 0);
    for seed in 0..60 {
        let pair = Pair::new(seed, LinkFaults { reset_ppm: HALF, ..LinkFaults::default() });
        let sent: Vec<u8> = (0..200_u8).collect();
        let (got, end) = pair.sim.block_on(stream_through(&pair, &sent));
        assert!(sent.starts_with(&got));
        let (mid, lost) = (pair.fired("reset-mid-frame"), pair.fired("request-lost"));
        assert_eq!(end, (mid + lost > 0).then_some(ErrorKind::ConnectionReset), "seed {seed}");
        assert!(got.len() < 200 || end.is_none());
        within += mid;
        before += lost;
    }
    assert!(within > 5 && before > 5, "{within} {before}");
}

#[test]
fn a_reset_is_learnt_by_both_ends() {
    let pair = Pair::new(1, LinkFaults { reset_ppm: ALWAYS, ..LinkFaults::default() });
    pair.sim.block_on(async {
        let (mut near, mut far) = pair.connected().await;
        near.write_all(b"x").await.unwrap();
        assert_eq!(near.write_all(b"y").await.unwrap_err().kind(), ErrorKind::ConnectionReset);
        assert_eq!(near.read(&mut [0]).await.unwrap_err().kind(), ErrorKind::ConnectionReset);
        assert_eq!(far.read(&mut [0]).await.unwrap_err().kind(), ErrorKind::ConnectionReset);
        assert_eq!(far.write_all(b"z").await.unwrap_err().kind(), ErrorKind::ConnectionReset);
    });
}

#[test]
fn an_answer_is_lost_though_the_request_arrived() {
    let pair = Pair::new(1, LinkFaults::default());
    pair.sim.set_link_faults(&pair.b, &pair.a, LinkFaults { reset_ppm: ALWAYS, ..LinkFaults::default() });
    for _ in 0..10 {
        pair.sim.block_on(async {
            let (mut near, mut far) = pair.connected().await;
            near.write_all(b"request").await.unwrap();
            far.read_exact(&mut [0; 7]).await.unwrap();
            far.write_all(b"r").await.unwrap();
            assert_eq!(near.read(&mut [0]).await.unwrap_err().kind(), ErrorKind::ConnectionReset);
        });
    }
    only(&pair, &["reply-lost"]);
}

#[test]
fn a_lossy_link_makes_streams_slow_and_in_the_end_breaks_them() {
    let pair = Pair::new(1, LinkFaults { drop_ppm: HALF, ..LinkFaults::default() });
    let sent = vec![9; 100_000];
    let (got, end) = pair.sim.block_on(stream_through(&pair, &sent));
    assert!(got == sent && end.is_none());
    assert!(pair.sim.elapsed() > 200 * MS, "{:?}", pair.sim.elapsed());
    only(&pair, &["drop"]);

    let pair = Pair::new(1, LinkFaults::default());
    pair.sim.block_on(async {
        let (mut near, mut far) = pair.connected().await;
        pair.sim.set_link_faults(&pair.a, &pair.b, LinkFaults { drop_ppm: ALWAYS, ..LinkFaults::default() });
        near.write_all(b"x").await.unwrap();
        let began = pair.sim.elapsed();
        assert_eq!(far.read(&mut [0]).await.unwrap_err().kind(), ErrorKind::ConnectionReset);
        assert!(pair.sim.elapsed() - began > 10 * SECOND);
        let connect = pair.a.env().net().connect((pair.b.ip(), 1).into()).await;
        assert_eq!(connect.err().unwrap().kind(), ErrorKind::TimedOut);
    });
    only(&pair, &["drop", "request-lost"]);
}

#[test]
fn a_stream_is_harmed_and_cut_short() {
    let sent = vec![0; 100];
    let pair = Pair::new(1, LinkFaults { flip_bit_ppm: ALWAYS, ..LinkFaults::default() });
    let (got, end) = pair.sim.block_on(stream_through(&pair, &sent));
    let flipped: u32 = got.iter().map(|byte| byte.count_ones()).sum();
    assert_eq!((got.len(), u64::from(flipped), end), (100, pair.fired("bit-flip"), None));
    only(&pair, &["bit-flip"]);

    let pair = Pair::new(1, LinkFaults { truncate_ppm: ALWAYS, ..LinkFaults::default() });
    let (got, end) = pair.sim.block_on(stream_through(&pair, &sent));
    assert!(got.len() < 100 && end.is_none());
    only(&pair, &["truncated-frame"]);
}

#[test]
fn a_bandwidth_slows_streams_and_a_full_queue_resets_them() {
    let faults = LinkFaults { bytes_per_second: NonZeroU64::new(10_000), ..LinkFaults::default() };
    let pair = Pair::new(1, faults);
    let sent = vec![9; 100_000];
    let (got, _) = pair.sim.block_on(stream_through(&pair, &sent));
    assert_eq!(got.len(), 100_000);
    assert!((10 * SECOND..11 * SECOND).contains(&pair.sim.elapsed()), "{:?}", pair.sim.elapsed());
    only(&pair, &["bandwidth-cap"]);

    let pair = Pair::new(1, LinkFaults { queue_bytes_max: Some(10_000), ..faults });
    let (got, end) = pair.sim.block_on(stream_through(&pair, &sent));
    assert!(got.len() <= 10_000 && end == Some(ErrorKind::ConnectionReset), "{} {end:?}", got.len());
    assert_eq!(pair.fired("queue-overflow"), 1);
}

#[test]
fn a_clog_holds_streams_back_and_lets_them_go() {
    let pair = Pair::new(1, LinkFaults::default());
    pair.sim.block_on(async {
        let (mut near, mut far) = pair.connected().await;
        pair.sim.set_link_faults(&pair.a, &pair.b, LinkFaults { clogged: true, ..LinkFaults::default() });
        near.write_all(b"x").await.unwrap();
        let env = pair.b.env();
        assert!(env.timeout(SECOND, far.read_exact(&mut [0])).await.is_err());
        let connect = pair.a.env().net().connect((pair.b.ip(), 1).into()).await;
        assert_eq!(connect.err().unwrap().kind(), ErrorKind::TimedOut);
        let opens = async {
            env.sleep(SECOND).await;
            pair.sim.set_link_faults(&pair.a, &pair.b, LinkFaults::default());
        };
        let mut bytes = [0];
        let (read, ()) = futures::future::join(far.read_exact(&mut bytes), opens).await;
        read.unwrap();
    });
    only(&pair, &["clog"]);
}

#[test]
fn an_old_address_leads_to_the_new_process() {
    let pair = Pair::new(1, LinkFaults::default());
    pair.send(1);
    assert_eq!(pair.got().len(), 1);
    pair.b.kill();
    pair.b.restart();
    let again = pair.b.mailbox(1);
    pair.send(1);
    assert_eq!(pair.sim.block_on(drained(&pair.b, &again)).len(), 1);
    only(&pair, &["stale-address"]);
    pair.b.kill();
    pair.b.restart();
    pair.sim.block_on(async {
        pair.connected().await;
    });
    assert_eq!(pair.fired("stale-address"), 2);
}
