//! Streams between simulated nodes.

use std::collections::BTreeSet;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::time::Duration;

use kelpie_env::Stream;
use kelpie_env::sim::{Node, Sim};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const SECOND: Duration = Duration::from_secs(1);
const PORT: u16 = 7000;

struct Pair {
    a: Node,
    b: Node,
    near: Box<dyn Stream>,
    far: Box<dyn Stream>,
}

/// Node `a` connected to node `b`.
async fn connected(sim: &Sim) -> Pair {
    let (a, b) = (sim.node("a"), sim.node("b"));
    let listener = b.env().net().listen((b.ip(), PORT).into()).await.unwrap();
    let near = a.env().net().connect(listener.local_addr().unwrap()).await.unwrap();
    let (far, peer) = listener.accept().await.unwrap();
    assert_eq!(peer.ip(), a.ip());
    Pair { a, b, near, far }
}

#[test]
fn bytes_arrive_whole_and_in_order_in_any_portions() {
    let mut portions = BTreeSet::new();
    for seed in 0..30 {
        let sim = Sim::new(seed);
        sim.block_on(async {
            let Pair { a, mut near, mut far, .. } = connected(&sim).await;
            let sent: Vec<u8> = (0..200_000_u32).map(|at| at.to_le_bytes()[1]).collect();
            let copy = sent.clone();
            a.env().spawn("writer", async move {
                near.write_all(&copy).await.unwrap();
                near.shutdown().await.unwrap();
                // The way back is open still.
                let mut answer = Vec::new();
                near.read_to_end(&mut answer).await.unwrap();
                assert_eq!(answer, b"got it");
            });
            let mut got = Vec::new();
            let mut buffer = [0; 10_000];
            loop {
                let read = far.read(&mut buffer).await.unwrap();
                if read == 0 {
                    break;
                }
                portions.insert(read);
                got.extend_from_slice(&buffer[..read]);
            }
            assert!(got == sent, "seed {seed}");
            far.write_all(b"got it").await.unwrap();
        });
        sim.run_until_idle();
    }
    assert!(portions.len() > 20);
}

#[test]
fn nobody_listens() {
    let sim = Sim::new(1);
    let (a, b) = (sim.node("a"), sim.node("b"));
    sim.block_on(async {
        let connect = async |addr: SocketAddr| a.env().net().connect(addr).await.err().unwrap().kind();
        assert_eq!(connect((b.ip(), PORT).into()).await, ErrorKind::ConnectionRefused);
        assert_eq!(connect(([10, 9, 9, 9], PORT).into()).await, ErrorKind::HostUnreachable);
        let listener = b.env().net().listen((b.ip(), PORT).into()).await.unwrap();
        let taken = b.env().net().listen((b.ip(), PORT).into()).await.err().unwrap();
        assert_eq!(taken.kind(), ErrorKind::AddrInUse);
        let foreign = b.env().net().listen((a.ip(), PORT).into()).await.err().unwrap();
        assert_eq!(foreign.kind(), ErrorKind::AddrNotAvailable);
        drop(listener);
        assert_eq!(connect((b.ip(), PORT).into()).await, ErrorKind::ConnectionRefused);
    });
}

#[test]
fn who_has_connected_before_a_listener_closes_is_not_reset() {
    let sim = Sim::new(1);
    let (a, b) = (sim.node("a"), sim.node("b"));
    sim.block_on(async {
        let addr = SocketAddr::from((b.ip(), PORT));
        let listener = b.env().net().listen(addr).await.unwrap();
        let mut near = a.env().net().connect(addr).await.unwrap();
        let mut waiting = listener.close().await;
        let refused = a.env().net().connect(addr).await.err().unwrap();
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
        let (mut far, peer) = waiting.pop().unwrap();
        assert!(waiting.is_empty() && peer.ip() == a.ip());
        far.write_all(b"served").await.unwrap();
        let mut bytes = [0; 6];
        near.read_exact(&mut bytes).await.unwrap();
        assert_eq!(&bytes, b"served");
    });
}

#[test]
fn loopback_is_a_nodes_own() {
    let sim = Sim::new(1);
    let (a, b) = (sim.node("a"), sim.node("b"));
    sim.block_on(async {
        let loopback = |port| SocketAddr::from(([127, 0, 0, 1], port));
        let first = a.env().net().listen(loopback(0)).await.unwrap();
        let second = a.env().net().listen(loopback(0)).await.unwrap();
        let port = first.local_addr().unwrap().port();
        assert_ne!(port, second.local_addr().unwrap().port());
        let mut out = a.env().net().connect(loopback(port)).await.unwrap();
        let (mut inward, _) = first.accept().await.unwrap();
        out.write_all(b"me").await.unwrap();
        let mut bytes = [0; 2];
        inward.read_exact(&mut bytes).await.unwrap();
        assert_eq!(&bytes, b"me");
        let refused = b.env().net().connect(loopback(port)).await.err().unwrap();
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    });
}

#[test]
fn a_kill_resets_connections_and_frees_addresses() {
    for seed in 0..20 {
        let sim = Sim::new(seed);
        sim.block_on(async {
            let Pair { a, b, mut near, mut far } = connected(&sim).await;
            let listener = b.env().net().listen((b.ip(), 1).into()).await.unwrap();
            b.kill();
            let reset = near.read(&mut [0; 8]).await.unwrap_err();
            assert_eq!(reset.kind(), ErrorKind::ConnectionReset);
            assert!(near.write_all(b"x").await.is_err());
            assert!(far.write_all(b"from the dead").await.is_err());
            assert!(listener.accept().await.is_err());
            let refused = a.env().net().connect((b.ip(), PORT).into()).await.err().unwrap();
            assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
            let env = b.restart();
            let again = env.net().listen((b.ip(), 1).into()).await.unwrap();
            drop(listener);
            let connect = a.env().net().connect((b.ip(), 1).into()).await;
            connect.unwrap();
            again.accept().await.unwrap();
        });
    }
}

#[test]
fn a_silent_death_is_learnt_when_the_node_is_back() {
    for seed in 0..20 {
        let sim = Sim::new(seed);
        sim.block_on(async {
            let Pair { a, b, mut near, .. } = connected(&sim).await;
            let c = sim.node("c");
            let listener = a.env().net().listen((a.ip(), PORT).into()).await.unwrap();
            let env = a.env();
            b.kill_silently();
            assert_eq!(sim.fired()["silent-crash"], 0);
            assert!(env.timeout(3600 * SECOND, near.read(&mut [0])).await.is_err());
            near.write_all(b"x").await.unwrap();
            assert_eq!(sim.fired()["silent-crash"], 1);
            assert!(
                env.timeout(SECOND, near.write_all(&vec![0; 100_000])).await.is_err(),
                "its window is full"
            );
            let late = env.net().connect((b.ip(), PORT).into()).await.err().unwrap();
            assert_eq!(late.kind(), ErrorKind::TimedOut);
            // The others go on.
            c.env().net().connect(listener.local_addr().unwrap()).await.unwrap();
            let restarts = async {
                env.sleep(SECOND).await;
                b.restart();
            };
            let mut bytes = [0];
            let (read, ()) = futures::future::join(near.read(&mut bytes), restarts).await;
            assert_eq!(read.unwrap_err().kind(), ErrorKind::ConnectionReset);
            let refused = env.net().connect((b.ip(), PORT).into()).await.err().unwrap();
            assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
        });
    }
}

#[test]
fn a_dropped_end_is_the_end_of_the_other() {
    let sim = Sim::new(1);
    sim.block_on(async {
        let Pair { mut near, mut far, .. } = connected(&sim).await;
        near.write_all(b"last words").await.unwrap();
        drop(near);
        let mut got = Vec::new();
        far.read_to_end(&mut got).await.unwrap();
        assert_eq!(got, b"last words");
        assert_eq!(far.write_all(b"x").await.unwrap_err().kind(), ErrorKind::BrokenPipe);
    });
}

#[test]
fn a_partition_holds_everything_back_until_it_is_mended() {
    for seed in 0..20 {
        let sim = Sim::new(seed);
        sim.block_on(async {
            let Pair { a, b, mut near, mut far } = connected(&sim).await;
            let env = a.env();
            sim.partition(&a, &b);
            near.write_all(b"hello").await.unwrap();
            let mut bytes = [0; 5];
            assert!(env.timeout(60 * SECOND, far.read_exact(&mut bytes)).await.is_err());
            let listener = b.env().net().listen((b.ip(), 1).into()).await.unwrap();
            let late = env.net().connect(listener.local_addr().unwrap()).await.err().unwrap();
            assert_eq!(late.kind(), ErrorKind::TimedOut);
            sim.heal(&a, &b);
            far.read_exact(&mut bytes).await.unwrap();
            assert_eq!(&bytes, b"hello");
            env.net().connect(listener.local_addr().unwrap()).await.unwrap();
        });
    }
}

#[test]
fn whoever_waits_at_a_partition_is_woken_by_its_end() {
    let sim = Sim::new(1);
    sim.block_on(async {
        let Pair { a, b, mut near, mut far } = connected(&sim).await;
        let env = a.env();
        sim.partition(&a, &b);
        near.write_all(b"hello").await.unwrap();
        let mends = async {
            env.sleep(SECOND).await;
            sim.heal(&a, &b);
        };
        let mut bytes = [0; 5];
        let (read, ()) = futures::future::join(far.read_exact(&mut bytes), mends).await;
        read.unwrap();
    });
}

#[test]
fn bytes_take_their_time() {
    let mut travelled = Vec::new();
    for seed in 0..40 {
        let sim = Sim::new(seed);
        sim.block_on(async {
            let Pair { mut near, mut far, .. } = connected(&sim).await;
            near.write_all(b"x").await.unwrap();
            let sent = sim.elapsed();
            far.read_exact(&mut [0]).await.unwrap();
            travelled.push(sim.elapsed() - sent);
        });
    }
    assert!(travelled.iter().any(|time| *time < Duration::from_micros(1)));
    assert!(travelled.iter().any(|time| *time > Duration::from_millis(1)));
    assert!(travelled.iter().all(|time| *time < Duration::from_millis(3)));
}

#[test]
fn a_writer_waits_when_nothing_gets_through() {
    let sim = Sim::new(1);
    sim.block_on(async {
        let Pair { a, b, mut near, mut far } = connected(&sim).await;
        sim.partition(&a, &b);
        let big = vec![5; 200_000];
        let env = a.env();
        assert!(env.timeout(SECOND, near.write_all(&big)).await.is_err());
        sim.heal(&a, &b);
        let mut some = vec![0; 50_000];
        far.read_exact(&mut some).await.unwrap();
        env.timeout(SECOND, near.write_all(&big[..10_000])).await.unwrap().unwrap();
    });
}

#[test]
fn a_partition_can_be_one_way() {
    let sim = Sim::new(1);
    sim.block_on(async {
        let Pair { a, b, mut near, mut far } = connected(&sim).await;
        sim.partition_one_way(&a, &b);
        far.write_all(b"x").await.unwrap();
        near.read_exact(&mut [0]).await.unwrap();
        near.write_all(b"y").await.unwrap();
        assert!(a.env().timeout(SECOND, far.read_exact(&mut [0])).await.is_err());
    });
}

#[test]
fn a_death_across_a_partition_is_learnt_when_it_is_mended() {
    let sim = Sim::new(1);
    sim.block_on(async {
        let Pair { a, b, mut near, .. } = connected(&sim).await;
        sim.partition(&a, &b);
        b.kill();
        assert!(a.env().timeout(60 * SECOND, near.read(&mut [0])).await.is_err());
        near.write_all(b"into the void").await.unwrap();
        sim.heal(&a, &b);
        let reset: io::Result<usize> = near.read(&mut [0]).await;
        assert_eq!(reset.unwrap_err().kind(), ErrorKind::ConnectionReset);
    });
}
