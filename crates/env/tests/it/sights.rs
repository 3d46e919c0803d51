//! What there is to see of a run.

use std::time::Duration;

use bytes::Bytes;
use kelpie_env::sim::{LinkFaults, Options, Sight, Sim};

/// Sends two messages, of which a cut link loses the second, and kills the receiver.
fn seen(sights_max: usize) -> Vec<Sight> {
    let sim = Sim::with(Options { sights_max, ..Options::new(3) });
    let (a, b) = (sim.node("a"), sim.node("b"));
    let (from, to) = (a.mailbox(1), b.mailbox(2));
    from.send(to.addr(), Bytes::from_static(b"hello"));
    sim.run_for(Duration::from_secs(1));
    sim.set_link_faults(&a, &b, LinkFaults { drop_ppm: 1_000_000, ..LinkFaults::default() });
    from.send(to.addr(), Bytes::from_static(b"lost"));
    b.pause();
    b.resume();
    b.kill();
    b.restart();
    assert_eq!(sim.nodes().iter().map(|node| node.name().to_owned()).collect::<Vec<_>>(), ["a", "b"]);
    let sights = sim.sights();
    assert!(sights.is_sorted_by_key(|(at, _)| *at));
    sights.into_iter().map(|(_, sight)| sight).collect()
}

#[test]
fn messages_and_lives_are_seen_as_far_as_there_is_room() {
    let all = [
        Sight::Sent { letter: 1, from: 0, to: 1, bytes: 5 },
        Sight::Arrived { letter: 1 },
        Sight::Sent { letter: 2, from: 0, to: 1, bytes: 4 },
        Sight::Paused { node: 1 },
        Sight::Resumed { node: 1 },
        Sight::Ended { node: 1 },
        Sight::Started { node: 1 },
    ];
    assert_eq!(seen(100), all);
    assert_eq!(seen(3), all[..3]);
    assert_eq!(seen(0), []);
}
