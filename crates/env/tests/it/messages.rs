//! Messages between simulated nodes, while their links are sound.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use kelpie_env::sim::{Mailbox, Node, Options, Sim, same_twice};

const SECOND: Duration = Duration::from_secs(1);
const PORT: u16 = 9;

pub(crate) fn numbered(number: u32) -> Bytes {
    Bytes::copy_from_slice(&number.to_le_bytes())
}

/// Everything that arrives until nothing has for a minute.
pub(crate) async fn drained(node: &Node, mailbox: &Mailbox) -> Vec<Bytes> {
    let env = node.env();
    let mut got = Vec::new();
    while let Ok(Some((_, message))) = env.timeout(60 * SECOND, mailbox.recv()).await {
        got.push(message);
    }
    got
}

#[test]
fn each_message_arrives_once_and_in_any_order() {
    let mut orders = BTreeSet::new();
    for seed in 0..50 {
        let sim = Sim::new(seed);
        let (a, b) = (sim.node("a"), sim.node("b"));
        let (from, to) = (a.mailbox(PORT), b.mailbox(PORT));
        for number in 0..4 {
            from.send(to.addr(), numbered(number));
        }
        let order = sim.block_on(async {
            let mut order = Vec::new();
            for _ in 0..4 {
                let (sender, message) = to.recv().await.unwrap();
                assert_eq!(sender, from.addr());
                order.push(message);
            }
            order
        });
        assert!(sim.elapsed() < Duration::from_millis(3));
        assert!(sim.block_on(drained(&b, &to)).is_empty());
        let once: BTreeSet<_> = order.iter().cloned().collect();
        assert_eq!(once, (0..4).map(numbered).collect());
        orders.insert(order);
    }
    assert!(orders.len() > 15, "{}", orders.len());
}

#[test]
fn messages_to_oneself_arrive_and_those_to_nobody_do_not() {
    let sim = Sim::new(1);
    let node = sim.node("n");
    let mailbox = node.mailbox(PORT);
    mailbox.send(SocketAddr::from(([127, 0, 0, 1], PORT)), Bytes::from_static(b"me"));
    mailbox.send((node.ip(), PORT + 1).into(), Bytes::from_static(b"no such port"));
    mailbox.send(([10, 9, 9, 9], PORT).into(), Bytes::from_static(b"no such node"));
    mailbox.send(([1, 1, 1, 1], PORT).into(), Bytes::from_static(b"no such place"));
    mailbox.send(([0, 0, 0, 0, 0, 0, 0, 9], PORT).into(), Bytes::from_static(b"nor that"));
    let got = sim.block_on(drained(&node, &mailbox));
    assert_eq!(got, [Bytes::from_static(b"me")]);
}

#[test]
fn a_mailbox_lasts_as_long_as_its_life() {
    for seed in 0..20 {
        let sim = Sim::new(seed);
        let (a, b) = (sim.node("a"), sim.node("b"));
        let (from, old) = (a.mailbox(PORT), b.mailbox(PORT));
        let taken = catch_unwind(AssertUnwindSafe(|| b.mailbox(PORT)));
        assert!(taken.is_err());
        let waits = async { old.recv().await };
        let kills = async {
            a.env().sleep(SECOND).await;
            from.send(old.addr(), Bytes::from_static(b"on its way"));
            b.kill();
        };
        let (ended, ()) = sim.block_on(futures::future::join(waits, kills));
        assert_eq!(ended, None);
        assert_eq!(sim.block_on(old.recv()), None);
        assert!(catch_unwind(AssertUnwindSafe(|| b.mailbox(PORT))).is_err(), "it is dead");
        sim.run_for(SECOND);
        b.restart();
        let new = b.mailbox(PORT);
        // The old one, dropped late, leaves the port to the new one, and is mute.
        old.send(from.addr(), Bytes::from_static(b"from the dead"));
        drop(old);
        from.send(new.addr(), Bytes::from_static(b"hello"));
        assert_eq!(sim.block_on(drained(&b, &new)), [Bytes::from_static(b"hello")]);
        assert!(sim.block_on(drained(&a, &from)).is_empty());
        drop(new);
        b.mailbox(PORT);
    }
}

#[test]
fn any_free_port_is_another_one_each_time() {
    let sim = Sim::new(1);
    let node = sim.node("n");
    let (first, second) = (node.mailbox(0), node.mailbox(0));
    assert_ne!(first.addr(), second.addr());
    let next = node.mailbox(second.addr().port() + 1);
    assert_ne!(node.mailbox(0).addr(), next.addr());
}

#[test]
fn one_that_gives_up_does_not_keep_a_message_from_others() {
    for seed in 0..20 {
        let sim = Sim::new(seed);
        let node = sim.node("n");
        let env = node.env();
        let mailbox = Arc::new(node.mailbox(PORT));
        let got = Arc::new(AtomicU64::new(0));
        for waits in [100, 1, 100] {
            let (env, mailbox, got) = (env.clone(), mailbox.clone(), got.clone());
            env.clone().spawn("receiver", async move {
                env.sleep(SECOND / waits).await;
                let received = env.timeout(waits * SECOND, mailbox.recv()).await;
                got.fetch_add(received.is_ok().into(), Ordering::Relaxed);
                // Its waker is still where it was.
                std::future::pending::<()>().await;
            });
        }
        sim.run_for(10 * SECOND);
        for number in 0..2 {
            mailbox.send(mailbox.addr(), numbered(number));
        }
        sim.run_for(SECOND);
        assert_eq!(got.load(Ordering::Relaxed), 2);
    }
}

#[test]
fn what_a_message_says_is_part_of_the_trace() {
    let hash = |message: &'static [u8]| {
        same_twice(&Options::new(1), |sim| {
            let node = sim.node("n");
            let mailbox = node.mailbox(PORT);
            mailbox.send(mailbox.addr(), Bytes::from_static(message));
            sim.run_until_idle();
            sim.trace_hash()
        })
    };
    let hashes = [hash(b""), hash(b"\0"), hash(b"12345678"), hash(b"123456789"), hash(b"123456780")];
    assert_eq!(BTreeSet::from(hashes).len(), hashes.len());
}
