//! Lives and deaths of simulated nodes.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use kelpie_env::sim::{DiskImage, Node, Sim};
use kelpie_env::{Env, Open};

const MS: Duration = Duration::from_millis(1);

/// Counts up every millisecond for as long as its node lives.
fn ticker(env: &Env) -> Arc<AtomicU64> {
    let ticks = Arc::new(AtomicU64::new(0));
    let (inner, count) = (env.clone(), ticks.clone());
    env.spawn("ticker", async move {
        loop {
            inner.sleep(MS).await;
            count.fetch_add(1, Ordering::Relaxed);
        }
    });
    ticks
}

#[test]
fn a_killed_node_never_runs_again() {
    for seed in 0..20 {
        let sim = Sim::new(seed);
        let (node, other) = (sim.node("n"), sim.node("other"));
        let (ticks, others) = (ticker(&node.env()), ticker(&other.env()));
        let env = node.env();
        sim.run_for(10 * MS);
        node.kill();
        let at_death = ticks.load(Ordering::Relaxed);
        assert!(at_death > 5);
        assert_eq!(Arc::strong_count(&ticks), 1, "its tasks are dropped at once");
        // What still holds the old view can do nothing with it.
        env.spawn("ghost", async { panic!("ran") });
        env.spawn_thread("ghost", async { panic!("ran") });
        drop(env.blocking(|| panic!("ran")));
        assert!(env.disk().exists(Path::new("x")).is_err());
        node.restart();
        let again = ticker(&node.env());
        sim.run_for(10 * MS);
        assert_eq!(ticks.load(Ordering::Relaxed), at_death);
        assert!(again.load(Ordering::Relaxed) > 5 && others.load(Ordering::Relaxed) > 12);
        let stays = sim.block_on(async {
            let other = other.env();
            other.timeout(100 * MS, env.sleep(MS)).await
        });
        assert!(stays.is_err(), "a dead node's timer fired");
    }
}

#[test]
fn a_node_may_kill_itself_in_mid_turn() {
    let sim = Sim::new(1);
    let node = sim.node("n");
    let ticks = ticker(&node.env());
    let dropped = Arc::new(AtomicBool::new(false));
    struct Tells(Arc<AtomicBool>);
    impl Drop for Tells {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
    let (tells, me, env) = (Tells(dropped.clone()), node.clone(), node.env());
    node.env().spawn("suicide", async move {
        let _tells = tells;
        me.kill();
        env.spawn("ghost", async { panic!("ran") });
        env.sleep(Duration::ZERO).await;
        panic!("ran after its death");
    });
    sim.run_until_idle();
    assert!(dropped.load(Ordering::Relaxed));
    assert!(!node.is_alive());
    assert_eq!(Arc::strong_count(&ticks), 1);
}

#[test]
fn a_power_cut_outside_of_any_turn_stops_the_tasks_as_well() {
    for seed in 0..20 {
        let sim = Sim::new(seed);
        let node = sim.node("n");
        let ran = Arc::new(AtomicBool::new(false));
        let inner = ran.clone();
        node.env().spawn("ready", async move { inner.store(true, Ordering::Relaxed) });
        node.disk().crash_at(1);
        node.env().disk().create_dir(Path::new("d")).unwrap_err();
        sim.run_until_idle();
        assert!(!ran.load(Ordering::Relaxed));
    }
}

#[test]
fn work_ends_with_the_node_that_it_is_done_for() {
    let sim = Sim::new(1);
    let node = sim.node("n");
    let env = node.env();
    assert_eq!(sim.block_on(node.while_alive(env.blocking(|| 5))), Some(5));
    let other = sim.node("other").env();
    let killer = node.clone();
    let clock = other.clone();
    other.spawn("killer", async move {
        clock.sleep(50 * MS).await;
        killer.kill();
    });
    assert_eq!(sim.block_on(node.while_alive(env.sleep(3600 * 1000 * MS))), None);
    assert!(sim.elapsed() < 100 * MS);
    assert_eq!(sim.block_on(node.while_alive(async { 1 })), None);
    node.restart();
    // Also when the work itself is what ends it.
    node.disk().crash_at(1);
    let env = node.env();
    let work = async { env.inline(|| env.disk().create_dir(Path::new("d")).is_ok()).await };
    assert_eq!(sim.block_on(node.while_alive(work)), None);
}

#[test]
fn random_numbers_go_on_after_a_restart() {
    let draw = |seed: u64| {
        let sim = Sim::new(seed);
        let (a, b) = (sim.node("a"), sim.node("b"));
        let first = a.env().random_u128();
        a.kill();
        [first, a.restart().random_u128(), b.env().random_u128()]
    };
    let drawn = draw(1);
    assert_eq!(drawn, draw(1));
    let other = draw(2);
    let mut all = [drawn, other].concat();
    all.sort_unstable();
    all.dedup();
    assert_eq!(all.len(), 6);
}

#[test]
fn one_nodes_draws_do_not_change_anothers() {
    let sim = |draws: usize| {
        let sim = Sim::new(1);
        let (a, b) = (sim.node("a").env(), sim.node("b").env());
        for _ in 0..draws {
            a.random_u64();
        }
        b.random_u64()
    };
    assert_eq!(sim(0), sim(5));
}

#[test]
fn the_monotonic_clock_starts_anew_and_the_wall_clock_goes_on() {
    let sim = Sim::new(1);
    let node = sim.node("n");
    sim.run_for(1000 * MS);
    let wall = node.env().wall_ms();
    node.kill();
    sim.run_for(1000 * MS);
    let env = node.restart();
    assert_eq!(env.now(), Duration::ZERO);
    assert!((env.wall_ms() - wall).abs_diff(1000) < 5);
}

#[test]
fn a_paused_node_stands_while_time_goes_on() {
    let sim = Sim::new(1);
    let node = sim.node("n");
    let ticks = ticker(&node.env());
    sim.run_for(10 * MS);
    node.pause();
    let before = ticks.load(Ordering::Relaxed);
    sim.run_for(100 * MS);
    assert_eq!(ticks.load(Ordering::Relaxed), before);
    node.resume();
    sim.run_for(MS / 2);
    assert_eq!(ticks.load(Ordering::Relaxed), before + 1);
    assert!(node.env().now() > 109 * MS);
    // Killed while paused, it starts unpaused.
    node.pause();
    sim.run_for(10 * MS);
    node.kill();
    let ticks = ticker(&node.restart());
    sim.run_for(10 * MS);
    assert!(ticks.load(Ordering::Relaxed) > 5);
}

fn written(node: &Node) -> Vec<u8> {
    let file = node.env().disk().open(Path::new("f"), Open::Existing).unwrap();
    let mut bytes = vec![0; usize::try_from(file.len().unwrap()).unwrap()];
    file.read_exact_at(&mut bytes, 0).unwrap();
    bytes
}

#[test]
fn a_killed_process_leaves_all_that_it_wrote() {
    for seed in 0..50 {
        let sim = Sim::new(seed);
        let node = sim.node("n");
        let file = node.env().disk().open(Path::new("f"), Open::New).unwrap();
        file.write_all_at(b"not synced", 0).unwrap();
        node.kill_process();
        node.restart();
        assert_eq!(written(&node), b"not synced");
    }
}

#[test]
fn processes_on_one_machine_share_its_page_cache_and_its_locks() {
    for seed in 0..50 {
        let sim = Sim::new(seed);
        let a = sim.node("a");
        let b = sim.node_on_disk_of(&a, "b");
        a.env().disk().create_dir(Path::new("d")).unwrap();
        let held = a.env().disk().lock_dir(Path::new("d")).unwrap();
        let refused = b.env().disk().lock_dir(Path::new("d")).unwrap_err();
        assert!(refused.to_string().contains("node a"), "{refused}");
        let file = a.env().disk().open(Path::new("f"), Open::New).unwrap();
        file.write_all_at(b"not synced", 0).unwrap();
        a.kill();
        assert_eq!(written(&b), b"not synced", "b keeps the machine up");
        b.disk().flip_bit(Path::new("f"), 0, 0).unwrap();
        assert_eq!((sim.fired()["bit-rot"], a.disk().fired()["bit-rot"]), (1, 1), "one disk, counted once");
        assert_eq!((sim.fired()["crash"], sim.fired()["process-kill"]), (0, 1), "the machine goes on");
        let taken = b.env().disk().lock_dir(Path::new("d")).unwrap();
        drop(held);
        a.restart();
        assert!(a.env().disk().lock_dir(Path::new("d")).is_err(), "a dead holder cannot free it");
        drop(taken);
        a.env().disk().lock_dir(Path::new("d")).unwrap();
    }
}

#[test]
fn a_slow_node_gets_less_done_and_the_others_do_not() {
    for seed in 0..10 {
        let sim = Sim::new(seed);
        let (slow, other) = (sim.node("slow"), sim.node("other"));
        slow.set_turn_cost(20 * MS);
        let tickers: Vec<_> = (0..10).map(|_| ticker(&slow.env())).collect();
        let others = ticker(&other.env());
        sim.run_for(1000 * MS);
        let counts: Vec<_> = tickers.iter().map(|ticks| ticks.load(Ordering::Relaxed)).collect();
        // A turn takes 10 ms on average, and one of ten tasks has it.
        let all: u64 = counts.iter().sum();
        assert!((50..200).contains(&all), "{counts:?}");
        assert!(counts.iter().all(|count| *count > 0), "none starves: {counts:?}");
        assert!(others.load(Ordering::Relaxed) > 700);
        assert!(sim.fired()["slow-node"] > 100);
        slow.set_turn_cost(Duration::ZERO);
        sim.run_for(1000 * MS);
        assert!(tickers.iter().all(|ticks| ticks.load(Ordering::Relaxed) > 500), "all at once again");
        assert_eq!(sim.fired()["process-pause"], 0);
    }
}

#[test]
fn a_slow_node_can_be_paused_and_killed() {
    for seed in 0..20 {
        let sim = Sim::new(seed);
        let node = sim.node("n");
        node.set_turn_cost(5 * MS);
        let tickers: Vec<_> = (0..5).map(|_| ticker(&node.env())).collect();
        let all =
            |tickers: &[Arc<AtomicU64>]| tickers.iter().map(|ticks| ticks.load(Ordering::Relaxed)).sum();
        sim.run_for(50 * MS);
        node.pause();
        let before: u64 = all(&tickers);
        sim.run_for(50 * MS);
        assert_eq!(all(&tickers), before);
        assert_eq!(sim.fired()["process-pause"], 1);
        node.resume();
        sim.run_for(50 * MS);
        assert!(all(&tickers) > before + 3);
        node.kill();
        let env = node.restart();
        let tickers: Vec<_> = (0..5).map(|_| ticker(&env)).collect();
        sim.run_for(100 * MS);
        assert!((10..80).contains(&all(&tickers)), "{}", all(&tickers));
        node.kill();
        sim.run_until_idle();
    }
}

#[test]
fn a_new_process_does_not_wait_for_the_turn_of_the_old_one() {
    let sim = Sim::new(1);
    let node = sim.node("n");
    node.set_turn_cost(100_000 * MS);
    ticker(&node.env());
    sim.run_for(MS);
    node.kill();
    node.set_turn_cost(Duration::ZERO);
    let ticks = ticker(&node.restart());
    sim.run_for(10 * MS);
    assert!(ticks.load(Ordering::Relaxed) > 5);
}

#[test]
fn a_node_restarts_over_an_empty_or_an_old_disk() {
    let sim = Sim::new(1);
    let node = sim.node("n");
    let fired = |fault: &str| sim.fired()[fault];
    let write = |bytes: &[u8]| {
        let disk = node.env().disk().clone();
        let file = disk.open(Path::new("f"), Open::Existing);
        let file = file.or_else(|_| disk.open(Path::new("f"), Open::New)).unwrap();
        file.write_all_at(bytes, 0).unwrap();
        file.sync().unwrap();
        disk.sync_dir(Path::new("")).unwrap();
    };
    write(b"old");
    let old = node.disk().image();
    write(b"new");
    let operations = node.disk().operations();
    node.kill();
    node.restart_with(&old);
    assert_eq!(node.disk().operations(), operations, "it counts on");
    assert_eq!(written(&node), b"old");
    assert_eq!((fired("restart-with-old-disk"), fired("restart-with-empty-disk")), (1, 0));
    write(b"more");
    node.kill();
    let env = node.restart_with(&DiskImage::empty());
    assert!(!env.disk().exists(Path::new("f")).unwrap());
    assert_eq!((fired("restart-with-old-disk"), fired("restart-with-empty-disk")), (1, 1));
    write(b"anew");
    assert_eq!(written(&node), b"anew");
    assert_eq!(fired("crash"), 2);
    node.kill_process();
    assert_eq!((fired("crash"), fired("process-kill")), (2, 1));
    // The image is the same after all that.
    node.restart_with(&old);
    assert_eq!(written(&node), b"old");
}

#[test]
fn a_disk_in_use_cannot_be_swapped() {
    let sim = Sim::new(1);
    let a = sim.node("a");
    let b = sim.node_on_disk_of(&a, "b");
    a.kill();
    let swapped = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        a.restart_with(&DiskImage::empty());
    }));
    assert!(swapped.is_err() && b.is_alive());
    b.kill();
    a.restart_with(&DiskImage::empty());
}
