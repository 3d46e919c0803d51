//! Virtual time, and every node's own idea of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use kelpie_env::sim::{Drift, Options, Sim, TimerError};

const SECOND: Duration = Duration::from_secs(1);

fn exact(seed: u64) -> Options {
    Options {
        drift_ppm_max: 0,
        wall_spread_ms_max: 0,
        timer_lateness_max: Duration::ZERO,
        ..Options::new(seed)
    }
}

#[test]
fn time_jumps_to_the_next_timer() {
    let sim = Sim::with(exact(1));
    let env = sim.node("n").env();
    sim.block_on(async {
        let before = env.now();
        env.sleep(3600 * SECOND).await;
        let slept = env.now() - before;
        assert!(slept >= 3600 * SECOND && slept < 3601 * SECOND, "{slept:?}");
        env.sleep(Duration::ZERO).await;
        env.sleep_until(SECOND).await;
    });
}

#[test]
fn timers_fire_in_order_and_never_early() {
    for seed in 0..50 {
        let sim = Sim::new(seed);
        let env = sim.node("n").env();
        let (tx, mut rx) = tokio::sync::mpsc::unbounded_channel();
        for ms in [30, 10, 20] {
            let (inner, tx) = (env.clone(), tx.clone());
            env.spawn("sleeps", async move {
                let due = inner.now() + Duration::from_millis(ms);
                inner.sleep_until(due).await;
                assert!(inner.now() >= due);
                tx.send(ms).unwrap();
            });
        }
        drop(tx);
        let order = sim.block_on(async {
            let mut order = Vec::new();
            while let Some(ms) = rx.recv().await {
                order.push(ms);
            }
            order
        });
        assert_eq!(order, [10, 20, 30]);
    }
}

#[test]
fn timers_are_sometimes_late() {
    let late = |seed| {
        let sim = Sim::with(Options { drift_ppm_max: 0, ..Options::new(seed) });
        let env = sim.node("n").env();
        sim.block_on(async {
            env.sleep(SECOND).await;
            env.now() - SECOND
        })
    };
    let late: Vec<_> = (0..40).map(late).collect();
    assert!(late.iter().any(|by| *by < Duration::from_micros(1)), "{late:?}");
    assert!(late.iter().any(|by| *by > Duration::from_micros(100)), "{late:?}");
}

#[test]
fn a_dropped_timer_does_not_move_time() {
    let sim = Sim::new(1);
    let env = sim.node("n").env();
    sim.block_on(async {
        let done = env.timeout(3600 * SECOND, env.sleep(SECOND)).await;
        assert_eq!(done, Ok(()));
        let late = env.timeout(SECOND, env.sleep(3600 * SECOND)).await;
        assert_eq!(late.unwrap_err().limit, SECOND);
        assert!(env.timeout(SECOND, std::future::pending::<()>()).await.is_err());
        assert_eq!(env.timeout(Duration::MAX, async { 1 }).await, Ok(1));
    });
    sim.run_until_idle();
    assert!(sim.elapsed() < 5 * SECOND, "{:?}", sim.elapsed());
}

#[test]
fn a_loop_that_looks_at_the_clock_ends() {
    let sim = Sim::new(1);
    let env = sim.node("n").env();
    sim.block_on(async {
        while env.now() < Duration::from_micros(50) {
            tokio::task::yield_now().await;
        }
    });
}

#[test]
fn clocks_drift_and_timers_with_them() {
    let sim = Sim::with(exact(1));
    let (fast, slow) = (sim.node("fast"), sim.node("slow"));
    fast.set_drift(Drift { monotonic_ppm: 500_000, wall_ppm: 0 });
    slow.set_drift(Drift { monotonic_ppm: -500_000, wall_ppm: 100_000 });
    let (fast_env, slow_env) = (fast.env(), slow.env());
    let wall = slow_env.wall_ms();
    sim.block_on(async {
        fast_env.sleep(3 * SECOND).await;
        assert!(sim.elapsed().abs_diff(2 * SECOND) < SECOND / 100, "{:?}", sim.elapsed());
        assert!(slow_env.now().abs_diff(SECOND) < SECOND / 100, "{:?}", slow_env.now());
        slow_env.sleep(SECOND).await;
        assert!(sim.elapsed().abs_diff(4 * SECOND) < SECOND / 100, "{:?}", sim.elapsed());
        assert!((slow_env.wall_ms() - wall).abs_diff(4400) <= 1, "{}", slow_env.wall_ms() - wall);
    });
}

#[test]
fn a_changed_rate_moves_running_timers() {
    let sim = Sim::with(exact(1));
    let node = sim.node("n");
    let env = node.env();
    let sleep = env.sleep(10 * SECOND);
    sim.block_on(async {
        let changes = async {
            env.sleep(SECOND).await;
            node.set_drift(Drift { monotonic_ppm: 2_000_000, wall_ppm: 0 });
        };
        futures::future::join(sleep, changes).await;
    });
    assert!(sim.elapsed().abs_diff(4 * SECOND) < SECOND / 100, "{:?}", sim.elapsed());
}

#[test]
fn timers_that_are_set_anew_for_the_same_instant_do_not_take_each_others_place() {
    let sim = Sim::with(exact(1));
    let node = sim.node("n");
    let ended = Arc::new(AtomicU64::new(0));
    for second in 1..=10 {
        let (env, ended) = (node.env(), ended.clone());
        node.env().spawn("sleeps", async move {
            env.sleep_until(second * SECOND).await;
            ended.fetch_add(1, Ordering::Relaxed);
        });
    }
    sim.run_for(SECOND / 2);
    node.set_drift(Drift::default());
    sim.run_until_idle();
    assert_eq!(ended.load(Ordering::Relaxed), 10);
}

#[test]
fn a_standing_clock_fires_no_timer_until_it_goes_on() {
    let sim = Sim::with(exact(1));
    let node = sim.node("n");
    let (env, other) = (node.env(), sim.node("other").env());
    node.set_drift(Drift { monotonic_ppm: -1_000_000, wall_ppm: 0 });
    sim.block_on(async {
        let waits = other.timeout(3600 * SECOND, env.sleep(SECOND));
        assert!(waits.await.is_err());
        node.set_drift(Drift::default());
        env.sleep(SECOND).await;
    });
}

#[test]
fn the_wall_clock_jumps_and_timers_do_not_care() {
    let sim = Sim::with(exact(1));
    let node = sim.node("n");
    let env = node.env();
    sim.run_for(SECOND);
    let (now, before) = (env.now(), env.wall_ms());
    node.jump_wall(3_600_000);
    assert_eq!(env.wall_ms() - before, 3_600_000);
    assert_eq!(env.now(), now);
    node.jump_wall(-7_200_000);
    assert_eq!(before - env.wall_ms(), 3_600_000);
    assert_eq!(env.now(), now);
    sim.block_on(env.sleep(SECOND));
    assert!(sim.elapsed() < 3 * SECOND);
}

#[test]
fn nodes_disagree_about_the_time_from_the_start() {
    let sim = Sim::new(1);
    let (a, b) = (sim.node("a").env(), sim.node("b").env());
    assert_ne!(a.wall_ms(), b.wall_ms());
    sim.run_for(1000 * SECOND);
    assert_ne!(a.now(), b.now());
    assert!(a.now().abs_diff(b.now()) < SECOND, "but not by much");
}

#[test]
fn a_wall_clock_stands_and_catches_up() {
    let sim = Sim::with(exact(1));
    let node = sim.node("n");
    let env = node.env();
    let before = env.wall_ms();
    node.freeze_wall(true);
    sim.block_on(env.sleep(10 * SECOND));
    assert_eq!(env.wall_ms(), before);
    node.freeze_wall(true);
    node.jump_wall(5);
    assert_eq!(env.wall_ms(), before + 5, "it can be set though it stands");
    assert_eq!(sim.fired()["clock-freeze"], 2);
    node.freeze_wall(false);
    assert_eq!(env.wall_ms(), before + 10_005);
    assert_eq!(sim.fired()["clock-freeze"], 2);
}

#[test]
fn a_coarse_clock_goes_in_steps_and_no_sleep_ends_before_its_deadline() {
    for seed in 0..20 {
        let sim = Sim::with(exact(seed));
        let node = sim.node("n");
        let env = node.env();
        node.set_clock_granularity(SECOND);
        sim.run_for(SECOND * 3 / 2);
        assert_eq!(env.now(), SECOND);
        assert_eq!(env.wall_ms() % 1000, 0);
        assert_eq!(sim.fired()["coarse-clock"], 2);
        sim.block_on(env.sleep_until(SECOND * 5 / 2));
        assert_eq!(env.now(), 3 * SECOND);
        assert!(sim.elapsed() >= 3 * SECOND);
        node.set_clock_granularity(Duration::ZERO);
        sim.run_for(SECOND / 2);
        assert!(env.now() > 3 * SECOND + SECOND / 4);
    }
}

#[test]
fn timers_end_early_or_late() {
    let slept = |ppm, offset_ms| {
        let sim = Sim::with(exact(1));
        let node = sim.node("n");
        let env = node.env();
        sim.run_for(5 * SECOND);
        node.set_timer_error(TimerError { ppm, offset_ms });
        let before = sim.elapsed();
        sim.block_on(async {
            env.sleep(10 * SECOND).await;
            env.sleep(Duration::ZERO).await;
        });
        let fired = sim.fired();
        (sim.elapsed() - before, fired["timer-early"], fired["timer-late"])
    };
    let near = |slept: Duration, seconds: u32| slept.abs_diff(seconds * SECOND) < SECOND / 100;
    let (time, early, late) = slept(0, 0);
    assert!(near(time, 10) && (early, late) == (0, 0), "{time:?}");
    let (time, early, late) = slept(-500_000, 0);
    assert!(near(time, 5) && (early, late) == (1, 0), "{time:?}");
    let (time, early, late) = slept(200_000, 1000);
    assert!(near(time, 13) && (early, late) == (0, 1), "{time:?}");
    let (time, early, _) = slept(0, i32::MIN);
    assert!(near(time, 1) && early == 1, "never before a tenth: {time:?}");
}

#[test]
fn what_is_wrong_with_a_clock_counts_when_it_is_read() {
    let sim = Sim::with(exact(1));
    let node = sim.node("n");
    let fired = |fault: &str| sim.fired()[fault];
    node.jump_wall(5);
    node.jump_wall(-5);
    node.set_drift(Drift { monotonic_ppm: 5, wall_ppm: 0 });
    let env = node.env();
    let counts = || ["clock-drift", "clock-skew", "wall-jump-forward", "wall-jump-back"].map(fired);
    assert_eq!(counts(), [0; 4]);
    env.wall_ms();
    assert_eq!(counts(), [0, 0, 1, 1]);
    env.now();
    env.now();
    env.wall_ms();
    assert_eq!(counts(), [1, 0, 1, 1]);
    node.kill();
    node.restart().now();
    assert_eq!(counts(), [2, 0, 1, 1]);
    let skewed = Sim::new(1);
    skewed.node("n").env().wall_ms();
    assert_eq!(skewed.fired()["clock-skew"], 1);
}
