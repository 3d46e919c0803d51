//! Connections between simulated nodes.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use futures::future::join_all;
use kelpie_cluster::{
    Failure, Identity, InFlight, Links, Listening, Local, Me, Protocols, Refusal, Security, SecurityError,
    Target, Timing,
};
use kelpie_core::advice::Advice;
use kelpie_core::id::Incarnation;
use kelpie_env::Env;
use kelpie_env::sim::{LinkFaults, Node, Options, Sim, same_twice};

use crate::peers::{Echo, after, ask, identity, listen, local, secret};

const SECRET: &str = "a secret of the test";
const PORT: u16 = 7000;

/// Node `a`, which asks, and node `b`, which answers.
struct World<'a> {
    sim: &'a Sim,
    a: Node,
    b: Node,
    links: Links,
    echo: Arc<Echo>,
    listening: Listening,
    target: Target,
}

async fn world(sim: &Sim, change: impl FnOnce(&mut Local, &mut Local)) -> World<'_> {
    let (a, b) = (sim.node("a"), sim.node("b"));
    let (mut asks, mut answers) =
        (local(&a.env(), "a", secret(SECRET)), local(&b.env(), "b", secret(SECRET)));
    change(&mut asks, &mut answers);
    let echo = Echo::new(&b.env());
    let (listening, target) = listen(&answers, (b.ip(), PORT).into(), None, echo.clone()).await;
    World { sim, a, b, links: Links::new(asks), echo, listening, target }
}

fn run<T>(seed: u64, test: impl AsyncFnOnce(World<'_>) -> T) -> T {
    let sim = Sim::new(seed);
    sim.block_on(async { test(world(&sim, |_, _| {}).await).await })
}

#[test]
fn many_requests_share_a_connection_and_each_gets_its_answer() {
    for seed in 0..10 {
        run(seed, async |World { links, target, echo, .. }| {
            let bodies: Vec<Bytes> = (0..100_usize).map(|size| Bytes::from(vec![b'x'; size * 200])).collect();
            let answers = join_all(bodies.iter().map(|body| ask(&links, &target, body.clone()))).await;
            assert!(answers.into_iter().map(Result::unwrap).eq(bodies), "seed {seed}");
            assert_eq!(echo.begun.load(Ordering::Relaxed), 100);
            let remaining = echo.remaining.lock().unwrap();
            assert!(
                remaining > Duration::from_secs(25) && remaining <= Duration::from_secs(30),
                "{remaining:?}"
            );
            // Says it, and some time later it is there.
            assert!(links.note(&target, Bytes::from_static(b"by the way")));
            ask(&links, &target, after(Duration::from_secs(1))).await.unwrap();
            assert_eq!(*echo.notes.lock(), [Bytes::from_static(b"by the way")]);
        });
    }
}

#[test]
fn two_versions_of_the_protocol_live_side_by_side_and_others_are_told_apart() {
    let talk = |asks: (u8, u8), answers: (u8, u8)| {
        let sim = Sim::new(1);
        sim.block_on(async {
            let World { links, target, echo, listening: _listening, .. } = world(&sim, |a, b| {
                a.protocols = Protocols { min: asks.0, max: asks.1 };
                b.protocols = Protocols { min: answers.0, max: answers.1 };
            })
            .await;
            let asked = ask(&links, &target, Bytes::from_static(b"hello")).await;
            (asked, echo.begun.load(Ordering::Relaxed))
        })
    };
    for (asks, answers) in [((1, 2), (1, 1)), ((1, 1), (1, 2)), ((1, 2), (2, 3)), ((2, 2), (2, 2))] {
        let talked = talk(asks, answers);
        assert_eq!(talked, (Ok(Bytes::from_static(b"hello")), 1), "{asks:?} {answers:?}");
    }
    for (asks, answers) in [((1, 1), (2, 2)), ((2, 2), (1, 1))] {
        let (failure, through) = talk(asks, answers);
        let Err(Failure::Rejected { refusal, .. }) = failure else {
            panic!("nothing in common: {failure:?}")
        };
        assert_eq!(refusal, Refusal::NoCommonVersion { min: asks.0, max: asks.1 });
        assert_eq!(through, 0);
    }
}

#[test]
fn a_node_is_reached_by_its_name_and_one_without_a_name_is_not() {
    run(1, async |World { links, mut target, .. }| {
        target.address = format!("b:{PORT}");
        assert_eq!(ask(&links, &target, Bytes::from_static(b"hello")).await.unwrap(), "hello");
        for nowhere in [format!("nobody:{PORT}"), "b".to_owned()] {
            target.address = nowhere;
            let failure = ask(&links, &target, Bytes::from_static(b"hello")).await.unwrap_err();
            assert_eq!(failure.advice(), Advice::NotRun, "{failure}");
        }
    });
}

#[test]
fn a_long_request_outlives_any_silence_while_its_peer_lives() {
    run(1, async |World { links, target, .. }| {
        ask(&links, &target, after(Duration::from_secs(25))).await.unwrap();
    });
}

#[test]
fn who_stops_waiting_cancels() {
    run(1, async |World { a, links, target, echo, .. }| {
        ask(&links, &target, after(Duration::ZERO)).await.unwrap();
        let env = a.env();
        let long = ask(&links, &target, after(Duration::from_secs(20)));
        assert!(env.timeout(Duration::from_secs(1), long).await.is_err());
        assert_eq!(
            links.request(&target, after(Duration::from_secs(20)), Duration::from_secs(1)).await,
            Err(Failure::TimedOut)
        );
        env.sleep(Duration::from_secs(1)).await;
        assert_eq!((echo.begun.load(Ordering::Relaxed), echo.over.load(Ordering::Relaxed)), (3, 3));
    });
}

#[test]
fn a_request_whose_work_panics_is_lost_at_once_and_the_next_is_answered() {
    let panics = run(1, async |World { sim, links, target, a, .. }| {
        let began = a.env().now();
        let lost = ask(&links, &target, Bytes::from_static(b"panic")).await.unwrap_err();
        assert_eq!(lost.advice(), Advice::Unknown, "{lost}");
        assert!(a.env().now() - began < Duration::from_secs(1));
        ask(&links, &target, Bytes::from_static(b"next")).await.unwrap();
        sim.take_panics()
    });
    assert_eq!(panics.len(), 1);
}

#[test]
fn more_than_was_agreed_on_waits_or_is_told_that_it_was_not_sent() {
    let sim = Sim::new(1);
    sim.block_on(async {
        let few = InFlight { requests_max: 3, kib_max: 16 };
        let World { links, target, echo, a, listening: _listening, .. } =
            world(&sim, |_, answers| answers.in_flight = few).await;
        ask(&links, &target, after(Duration::ZERO)).await.unwrap();
        let began = a.env().now();
        let asked = join_all((0..9).map(|_| ask(&links, &target, after(Duration::from_secs(1))))).await;
        assert!(asked.iter().all(Result::is_ok));
        assert!(a.env().now() - began >= Duration::from_secs(3));
        let long = (0..3).map(|_| ask(&links, &target, after(Duration::from_secs(10))));
        let late = links.request(&target, after(Duration::ZERO), Duration::from_secs(1));
        let (long, late) = futures::join!(join_all(long), late);
        assert!(long.iter().all(Result::is_ok));
        assert!(matches!(&late, Err(Failure::NotSent { .. })), "{late:?}");
        let large = ask(&links, &target, vec![0; 17 << 10].into()).await;
        assert!(matches!(&large, Err(Failure::NotSent { .. })), "{large:?}");
        assert_eq!(echo.begun.load(Ordering::Relaxed), 13);
    });
}

#[test]
fn a_process_that_is_gone_is_told_from_one_that_cannot_be_reached() {
    run(1, async |World { sim, a, b, links, target, .. }| {
        ask(&links, &target, after(Duration::ZERO)).await.unwrap();
        // Its requests are lost with it; then nobody listens.
        let env = a.env();
        let (killed, lost) = futures::join!(
            async {
                env.sleep(Duration::from_secs(1)).await;
                b.kill();
                env.now()
            },
            ask(&links, &target, after(Duration::from_secs(20)))
        );
        assert!(matches!(&lost, Err(Failure::Lost { .. })), "{lost:?}");
        assert!(env.now() - killed < Duration::from_secs(1), "noticed at once");
        for _ in 0..2 {
            let refused = ask(&links, &target, after(Duration::ZERO)).await;
            assert_eq!(refused, Err(Failure::ConnectionRefused { address: target.address.clone() }));
        }
        // Behind a partition nobody refuses.
        b.restart();
        sim.partition(&a, &b);
        let cut = ask(&links, &target, after(Duration::ZERO)).await;
        assert!(matches!(&cut, Err(Failure::Unreachable { .. })), "{cut:?}");
    });
}

#[test]
fn a_peer_behind_a_partition_is_noticed_whichever_way_it_cuts() {
    for (seed, (there, back)) in [(true, true), (true, false), (false, true)].into_iter().enumerate() {
        run(seed as u64, async |World { sim, a, b, links, target, .. }| {
            ask(&links, &target, after(Duration::ZERO)).await.unwrap();
            let env = a.env();
            let cut = async {
                env.sleep(Duration::from_secs(1)).await;
                for (from, to) in [(there, (&a, &b)), (back, (&b, &a))]
                    .into_iter()
                    .filter_map(|(cut, way)| cut.then_some(way))
                {
                    sim.partition_one_way(from, to);
                }
                env.now()
            };
            let (cut, lost) = futures::join!(cut, ask(&links, &target, after(Duration::from_secs(25))));
            assert!(matches!(&lost, Err(Failure::Lost { .. })), "{there} {back} {lost:?}");
            let noticed = env.now() - cut;
            assert!(noticed < Duration::from_millis(4_500), "{there} {back}: after {noticed:?}");
            sim.heal(&a, &b);
            sim.heal(&b, &a);
            ask(&links, &target, after(Duration::ZERO)).await.unwrap();
        });
    }
}

#[test]
fn a_node_whose_end_is_known_is_not_waited_for() {
    run(1, async |World { a, links, target, listening, .. }| {
        let env = a.env();
        let close = async {
            env.sleep(Duration::from_secs(1)).await;
            links.close(&Identity { incarnation: Incarnation(9), ..target.identity.clone() });
            env.sleep(Duration::from_secs(1)).await;
            links.close(&target.identity);
            env.now()
        };
        let (closed, lost) = futures::join!(close, ask(&links, &target, after(Duration::from_secs(20))));
        assert!(matches!(&lost, Err(Failure::Lost { .. })), "{lost:?}");
        assert!(env.now() - closed < Duration::from_millis(10));
        // The other end knows that the caller is gone.
        let close = async {
            env.sleep(Duration::from_secs(1)).await;
            listening.close(&identity("a"));
        };
        let ((), lost) = futures::join!(close, ask(&links, &target, after(Duration::from_secs(20))));
        assert!(matches!(&lost, Err(Failure::Lost { .. })), "{lost:?}");
    });
}

#[test]
fn a_peer_that_must_not_call_gets_the_reason_and_no_request_through() {
    let refused = |change: &dyn Fn(&mut Local, &mut Local), gone: Option<&'static str>| {
        let sim = Sim::new(3);
        let (a, b) = (sim.node("a"), sim.node("b"));
        sim.block_on(async {
            let mut asks = local(&a.env(), "a", secret(SECRET));
            let mut answers = local(&b.env(), "b", secret(SECRET));
            change(&mut asks, &mut answers);
            let echo = Echo::new(&b.env());
            let (_listening, mut target) = listen(&answers, (b.ip(), PORT).into(), gone, echo.clone()).await;
            target.identity = identity("b");
            let failure = ask(&Links::new(asks), &target, after(Duration::ZERO)).await.unwrap_err();
            assert_eq!(echo.begun.load(Ordering::Relaxed), 0);
            assert_eq!(failure.advice(), Advice::NotRun);
            let Failure::Rejected { refusal, .. } = failure else { panic!("{failure:?}") };
            refusal
        })
    };
    let other_cluster = refused(&|asks, _| asks.cluster.0 += 1, None);
    assert_eq!(other_cluster, Refusal::WrongCluster);
    let reborn = |_: &mut Local, answers: &mut Local| {
        answers.me = Me::new(|| Identity { incarnation: Incarnation(2), ..identity("b") });
    };
    let found = Identity { incarnation: Incarnation(2), ..identity("b") };
    assert_eq!(
        refused(&reborn, None),
        Refusal::WrongNode { wanted: identity("b").into(), found: found.into() }
    );
    assert_eq!(refused(&|_, _| {}, Some("a")), Refusal::StaleIncarnation { from: identity("a") });
    for (ours, theirs) in [
        (secret("another secret, as long"), secret(SECRET)),
        (Security::Loopback, secret(SECRET)),
        (secret(SECRET), Security::Loopback),
    ] {
        let change = |asks: &mut Local, answers: &mut Local| {
            (asks.security, answers.security) = (ours.clone(), theirs.clone());
        };
        assert_eq!(refused(&change, None), Refusal::WrongSecret);
    }
}

#[test]
fn who_comes_while_too_many_shake_hands_is_told_so() {
    run(1, async |World { sim, links, target, echo, .. }| {
        let stranger = sim.node("stranger").env();
        let at = target.address.parse().unwrap();
        let silent = join_all((0..64).map(|_| stranger.net().connect(at))).await;
        let failure = ask(&links, &target, after(Duration::ZERO)).await.unwrap_err();
        let Failure::Rejected { refusal, .. } = failure else { panic!("{failure:?}") };
        assert_eq!((refusal, echo.begun.load(Ordering::Relaxed)), (Refusal::Busy, 0));
        // They are not waited for any longer than a handshake may take.
        stranger.sleep(Duration::from_millis(500)).await;
        ask(&links, &target, after(Duration::ZERO)).await.unwrap();
        drop(silent);
    });
}

/// How long it takes from each of several failed attempts to the next.
async fn pauses(env: &Env, links: &Links, target: &Target, attempts: usize) -> Vec<Duration> {
    let mut failed = Vec::new();
    while failed.len() < attempts {
        let failure = ask(links, target, after(Duration::ZERO)).await.unwrap_err();
        assert!(matches!(failure, Failure::ConnectionRefused { .. }), "{failure:?}");
        failed.push(env.now());
    }
    failed.windows(2).map(|pair| pair[1] - pair[0]).collect()
}

#[test]
fn who_refuses_is_tried_less_and_less_often_and_at_once_after_it_was_back() {
    for seed in 0..10 {
        let sim = Sim::new(seed);
        let (a, b) = (sim.node("a"), sim.node("b"));
        sim.block_on(async {
            let (env, at) = (a.env(), (b.ip(), PORT).into());
            let (asks, answers) = (local(&env, "a", secret(SECRET)), local(&b.env(), "b", secret(SECRET)));
            let Timing { retry_min, retry_max, .. } = asks.timing;
            let (links, echo) = (Links::new(asks), Echo::new(&b.env()));
            // The way there and back.
            let way = Duration::from_millis(5);
            for _ in 0..2 {
                let target = Target { identity: identity("b"), address: format!("{}:{PORT}", b.ip()) };
                let pauses = pauses(&env, &links, &target, 12).await;
                let mut longest = retry_min;
                for pause in &pauses {
                    let wanted = longest / 2..=longest + way;
                    assert!(wanted.contains(pause), "seed {seed}: {pause:?} of {wanted:?} in {pauses:?}");
                    longest = (2 * longest).min(retry_max);
                }
                assert_eq!(longest, retry_max);
                let (listening, _) = listen(&answers, at, None, echo.clone()).await;
                ask(&links, &target, after(Duration::ZERO)).await.unwrap();
                drop(listening);
                // Until its connection has ended.
                env.sleep(Duration::from_secs(1)).await;
            }
        });
    }
}

#[test]
fn without_security_a_node_listens_on_loopback_alone() {
    let address = ([10, 0, 0, 1], 1).into();
    assert_eq!(Security::Loopback.check(address), Err(SecurityError::Open { address }));
    assert_eq!(Security::Loopback.check(([127, 0, 0, 1], 1).into()), Ok(()));
    assert_eq!(secret(SECRET).check(address), Ok(()));
    let short = kelpie_cluster::SecretKey::new(b"fifteen bytes!!");
    assert_eq!(short, Err(SecurityError::SecretShort { bytes: 15 }));
}

#[test]
fn a_bad_network_loses_no_answer_that_was_sent_and_a_run_repeats_itself() {
    let work = |sim: &Sim| {
        sim.block_on(async {
            let World { sim, a, b, links, target, listening: _listening, .. } = world(sim, |_, _| {}).await;
            for (from, to) in [(&a, &b), (&b, &a)] {
                let faults = LinkFaults {
                    reset_ppm: 20_000,
                    flip_bit_ppm: 5_000,
                    truncate_ppm: 5_000,
                    tail_ppm: 50_000,
                    tail_max: Duration::from_secs(2),
                    ..LinkFaults::default()
                };
                sim.set_link_faults(from, to, faults);
            }
            let mut answered = 0;
            for number in 0..60_u32 {
                let body = Bytes::from(format!("request {number}").repeat(1 + 500 * (number as usize % 3)));
                match links.request(&target, body.clone(), Duration::from_secs(5)).await {
                    Ok(answer) => {
                        assert_eq!(answer, body);
                        answered += 1;
                    }
                    Err(failure) => assert!(matches!(failure.advice(), Advice::NotRun | Advice::Unknown)),
                }
            }
            answered
        })
    };
    let mut lost = 0;
    for seed in 0..10 {
        let answered = same_twice(&Options::new(seed), work);
        assert!(answered >= 10, "seed {seed}: {answered}");
        lost += 60 - answered;
    }
    assert!(lost > 0, "no fault had an effect");
}

#[test]
fn bits_that_were_flipped_on_the_way_swallow_no_later_call() {
    for seed in 0..20 {
        run(seed, async |World { sim, a, b, links, target, .. }| {
            let ask = |time| links.request(&target, Bytes::from_static(b"."), time);
            sim.set_link_faults(&a, &b, LinkFaults { flip_bit_ppm: 300_000, ..LinkFaults::default() });
            for _ in 0..10 {
                // What comes of these does not matter.
                let _answered = ask(Duration::from_millis(50)).await;
            }
            sim.set_link_faults(&a, &b, LinkFaults::default());
            // One may still be lost with its connection for what came before.
            let answered = [ask(Duration::from_secs(5)).await, ask(Duration::from_secs(5)).await];
            assert!(answered.iter().any(Result::is_ok), "seed {seed}: {answered:?}");
        });
    }
}

#[cfg(feature = "mutants")]
mod mutants {
    use std::panic::{UnwindSafe, catch_unwind};

    fn is_caught(mutant: &'static str, test: impl FnOnce() + UnwindSafe) {
        let _armed = kelpie_core::mutant::arm(mutant);
        catch_unwind(test).expect_err(mutant);
    }

    #[test]
    fn sim_mutant_silence_is_no_end() {
        is_caught("silence_is_no_end", super::a_peer_behind_a_partition_is_noticed_whichever_way_it_cuts);
    }

    #[test]
    fn sim_mutant_frame_length_unchecked() {
        is_caught("frame_length_unchecked", super::bits_that_were_flipped_on_the_way_swallow_no_later_call);
    }

    #[test]
    fn sim_mutant_sessions_of_callers_unchecked() {
        is_caught(
            "sessions_of_callers_unchecked",
            super::a_peer_that_must_not_call_gets_the_reason_and_no_request_through,
        );
    }

    #[test]
    fn sim_mutant_any_secret_will_do() {
        is_caught(
            "any_secret_will_do",
            super::a_peer_that_must_not_call_gets_the_reason_and_no_request_through,
        );
    }

    #[test]
    fn sim_mutant_cancels_are_lost() {
        is_caught("cancels_are_lost", super::who_stops_waiting_cancels);
    }
}
