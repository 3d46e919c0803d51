//! The simulated executor: same seed, same run; tokio's primitives; panics.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures::stream::{FuturesUnordered, StreamExt};
use kelpie_env::sim::{CHECKPOINT_EVERY, Options, Sim, first_divergence, parting, same_twice};
use kelpie_env::{Env, Open};
use parking_lot::Mutex as SyncMutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{Mutex, Notify, RwLock, Semaphore, broadcast, mpsc, oneshot};

/// Something of everything: tasks that sleep, draw, lock, write and talk, and a kill.
fn busy(sim: &Sim) -> Vec<String> {
    let log = Arc::new(SyncMutex::new(Vec::new()));
    let (a, b) = (sim.node("a"), sim.node("b"));
    let lock = Arc::new(Mutex::new(0));
    for task in 0..20 {
        let (env, log, lock) = (if task % 2 == 0 { a.env() } else { b.env() }, log.clone(), lock.clone());
        a.env().spawn("worker", async move {
            for round in 0..5 {
                env.sleep(Duration::from_micros(env.random_u64() % 900)).await;
                let mut held = lock.lock().await;
                *held += 1;
                env.inline(|| ()).await;
                env.blocking(|| ()).await;
                log.lock().push(format!("{task}.{round} {held} {:?}", env.now()));
            }
        });
    }
    let (env, addr) = (b.env(), (b.ip(), 80).into());
    b.env().spawn("echo", async move {
        let listener = env.net().listen(addr).await.unwrap();
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut bytes = [0; 4000];
        stream.read_exact(&mut bytes).await.unwrap();
        stream.write_all(&bytes).await.unwrap();
    });
    let env = a.env();
    sim.block_on(async {
        let file = env.disk().open(Path::new("x"), Open::New).unwrap();
        env.sleep(Duration::from_millis(3)).await;
        let mut stream = env.net().connect(addr).await.unwrap();
        stream.write_all(&[7; 4000]).await.unwrap();
        stream.read_exact(&mut [0; 4000]).await.unwrap();
        file.write_all_at(&[1; 9000], 0).unwrap();
        log.lock().push(format!("echo {:?}", env.now()));
    });
    b.kill();
    sim.run_until_idle();
    // Some of a's tasks wait forever for a sleep of b.
    std::mem::take(&mut *log.lock())
}

#[test]
fn the_same_seed_is_the_same_run() {
    let mut hashes = BTreeSet::new();
    let mut runs = BTreeSet::new();
    for seed in 0..40 {
        let (hash, log) = same_twice(&Options::new(seed), |sim| {
            let log = busy(sim);
            (sim.trace_hash(), log)
        });
        hashes.insert(hash);
        runs.insert(log);
    }
    assert_eq!(hashes.len(), 40, "different seeds, different hashes");
    assert!(runs.len() > 35, "and different runs: {}", runs.len());
}

#[test]
fn a_run_that_differs_is_named() {
    let runs = AtomicU64::new(0);
    let differs = catch_unwind(AssertUnwindSafe(|| {
        same_twice(&Options::new(1), |sim| {
            let env = sim.node("n").env();
            sim.block_on(env.sleep(Duration::from_millis(5 + runs.fetch_add(1, Ordering::Relaxed))));
        });
    }));
    let differs = differs.unwrap_err();
    let words = differs.downcast_ref::<String>().unwrap();
    assert!(words.contains("seed 1") && words.contains("they part at event "), "{words}");
}

/// What one task of node b does in mid-run depends on how many runs there were before.
fn depends_on_the_process(sim: &Sim, runs: &AtomicU64) {
    let run = runs.fetch_add(1, Ordering::Relaxed);
    for name in ["a", "b"] {
        let env = sim.node(name).env();
        let inner = env.clone();
        env.spawn("worker", async move {
            for _ in 0..2000 {
                inner.sleep(Duration::from_micros(inner.random_u64() % 900)).await;
            }
        });
        let inner = env.clone();
        env.spawn("culprit", async move {
            inner.sleep(Duration::from_millis(200)).await;
            // Drawn one by one, so that two runs part at the draw that only one makes.
            for _ in 0..if name == "b" { run } else { 0 } {
                inner.random_u64();
            }
        });
    }
    sim.run_until_idle();
}

#[test]
fn the_first_event_that_differs_is_found_and_its_task_named() {
    let runs = AtomicU64::new(0);
    let found = first_divergence(&Options::new(1), |sim| depends_on_the_process(sim, &runs)).unwrap();
    assert_eq!(runs.load(Ordering::Relaxed), 4, "one pair to see that they differ, one to see where");
    let (first, second) = (found.first.unwrap(), found.second.unwrap());
    // The first run of a pair makes fewer draws: its turn has ended when the other goes on.
    let ended = ("b", "culprit", "state of the node after a turn");
    assert_eq!((&*first.node, &*first.task, &*first.what), ended);
    assert_eq!((&*second.node, &*second.task, &*second.what), ("b", "culprit", "random bytes"));
    assert!(second.started.contains("schedule.rs:"), "where it was started: {}", second.started);
    assert!(second.at > Duration::from_millis(200) && found.event > 2000);
    assert_eq!((first.number, second.number), (found.event, found.event));
}

#[test]
fn what_was_found_is_true_of_runs_that_part_elsewhere_each_time() {
    let runs = AtomicU64::new(0);
    let found = first_divergence(&Options::new(1), |sim| {
        let env = sim.node("n").env();
        // The first two part late, all others early.
        let run = runs.fetch_add(1, Ordering::Relaxed);
        let longer = if run == 1 { 5000 } else { 7 };
        for draw in 0..6000 {
            if draw >= longer && run % 2 == 1 {
                env.random_u128()
            } else {
                env.random_u64().into()
            };
        }
    });
    let found = found.unwrap();
    assert!(found.event < 20, "{found}");
    let (first, second) = (found.first.unwrap(), found.second.unwrap());
    assert_eq!((&*first.what, &*second.what), ("random bytes", "random bytes"));
    assert_ne!(first.value, second.value);
}

#[test]
fn a_run_that_ends_earlier_differs() {
    let runs = AtomicU64::new(0);
    let found = first_divergence(&Options::new(1), |sim| {
        let env = sim.node("n").env();
        for _ in 0..runs.fetch_add(1, Ordering::Relaxed) {
            env.random_u64();
        }
    });
    let found = found.unwrap();
    assert_eq!(found.first, None);
    assert_eq!(found.second.as_ref().unwrap().what, "random bytes");
    assert!(found.to_string().contains("the other run ends before it"), "{found}");
}

#[test]
fn equal_runs_do_not_part() {
    assert_eq!(first_divergence(&Options::new(1), busy), None);
}

#[test]
fn bytes_written_and_sent_are_part_of_the_trace() {
    let runs = AtomicU64::new(0);
    let write = |sim: &Sim| {
        let byte = u8::try_from(runs.fetch_add(1, Ordering::Relaxed)).unwrap();
        let file = sim.node("n").env().disk().open(Path::new("f"), Open::New).unwrap();
        file.write_all_at(&[byte], 0).unwrap();
    };
    assert_eq!(first_divergence(&Options::new(1), write).unwrap().first.unwrap().what, "disk");
    let send = |sim: &Sim| {
        let byte = u8::try_from(runs.fetch_add(1, Ordering::Relaxed)).unwrap();
        let env = sim.node("n").env();
        sim.block_on(async {
            let listener = env.net().listen(([127, 0, 0, 1], 0).into()).await.unwrap();
            let mut stream = env.net().connect(listener.local_addr().unwrap()).await.unwrap();
            stream.write_all(&[byte]).await.unwrap();
        });
    };
    let found = first_divergence(&Options::new(1), send).unwrap().first.unwrap();
    assert_eq!((&*found.what, &*found.task), ("network", "block_on"));
}

#[test]
fn the_state_of_a_node_is_part_of_the_trace() {
    let runs = AtomicU64::new(0);
    let found = first_divergence(&Options::new(1), |sim| {
        let node = sim.node("n");
        // Nothing that runs looks at the clock.
        node.jump_wall(i64::try_from(runs.fetch_add(1, Ordering::Relaxed)).unwrap());
        node.env().spawn("bystander", async {});
        sim.run_until_idle();
    });
    let found = found.unwrap().first.unwrap();
    let expected = ("n", "bystander", "state of the node after a turn");
    assert_eq!((&*found.node, &*found.task, &*found.what), expected);
}

#[test]
fn two_recordings_from_anywhere_are_compared() {
    let run = |seed, record: &std::ops::Range<u64>| {
        let sim = Sim::with(Options {
            checkpoint_every: Some(CHECKPOINT_EVERY),
            record: record.clone(),
            ..Options::new(seed)
        });
        busy(&sim);
        Ok::<_, String>(sim.recording())
    };
    assert_eq!(parting(|record| run(1, record), |record| run(1, record)).unwrap(), None);
    let found = parting(|record| run(1, record), |record| run(2, record)).unwrap().unwrap();
    assert!(found.first.is_some() && found.second.is_some(), "{found}");
    let failed = parting(|record| run(1, record), |_| Err("no such machine".to_owned()));
    assert_eq!(failed.unwrap_err(), "no such machine");
}

#[test]
fn which_task_runs_and_where_is_part_of_the_trace() {
    let runs = AtomicU64::new(0);
    let odd = || runs.fetch_add(1, Ordering::Relaxed) % 2 == 1;
    let place = |sim: &Sim| {
        let nodes = [sim.node("a"), sim.node("b")];
        nodes[usize::from(odd())].env().spawn("task", async {});
        sim.run_until_idle();
    };
    assert_eq!(first_divergence(&Options::new(1), place).unwrap().first.unwrap().what, "spawn");
    let order = |sim: &Sim| {
        let env = sim.node("n").env();
        let bells = [Arc::new(Notify::new()), Arc::new(Notify::new())];
        for bell in bells.clone() {
            env.spawn("task", async move { bell.notified().await });
        }
        sim.run_until_idle();
        let first = usize::from(odd());
        bells[first].notify_one();
        bells[1 - first].notify_one();
        sim.run_until_idle();
    };
    assert_eq!(first_divergence(&Options::new(1), order).unwrap().first.unwrap().what, "turn");
}

#[test]
fn checkpoints_and_recorded_events() {
    let run = |options: Options| {
        let sim = Sim::with(options);
        busy(&sim);
        (sim.trace_hash(), sim.events(), sim.checkpoints(), sim.recorded())
    };
    let (hash, events, checkpoints, recorded) = run(Options::new(1));
    assert!(checkpoints.is_empty() && recorded.is_empty());
    let (same, _, coarse, _) = run(Options { checkpoint_every: Some(40), ..Options::new(1) });
    assert_eq!(same, hash, "looking changes nothing");
    assert_eq!(coarse.len() as u64, events / 40);
    let window = Options { checkpoint_every: Some(20), record: 150..300, ..Options::new(1) };
    let (same, _, fine, recorded) = run(window);
    assert_eq!(same, hash);
    assert_eq!(fine.iter().skip(1).step_by(2).copied().collect::<Vec<_>>(), coarse);
    let numbers: Vec<_> = recorded.iter().map(|event| event.number).collect();
    assert_eq!(numbers, (150..300).collect::<Vec<_>>());
    assert!(recorded.iter().any(|event| event.node == "a" && event.task == "worker"));
    let (_, _, _, all) = run(Options { record: 0..u64::MAX, ..Options::new(1) });
    assert_eq!(all.len() as u64, events);
    assert_eq!(all[150..300], recorded);
}

/// Not a test by itself: the child process of the test below, which wants its hashes.
#[test]
fn prints_hashes() {
    for seed in 0..10 {
        let sim = Sim::new(seed);
        busy(&sim);
        println!("hash {seed} {:x}", sim.trace_hash());
    }
}

#[test]
fn the_same_seed_is_the_same_run_in_another_process() {
    let hashes = || {
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "schedule::prints_hashes", "--nocapture"])
            .output()
            .unwrap();
        let printed = String::from_utf8(output.stdout).unwrap();
        let hashes: Vec<_> = printed.lines().filter_map(|line| line.split_once("hash ")).collect();
        hashes.iter().map(|(_, hash)| (*hash).to_owned()).collect::<Vec<_>>()
    };
    let first = hashes();
    assert_eq!(first.len(), 10);
    assert_eq!(first, hashes());
}

#[test]
fn any_order_of_ready_tasks_happens() {
    let mut orders = BTreeSet::new();
    for seed in 0..200 {
        let sim = Sim::new(seed);
        let env = sim.node("n").env();
        let order = Arc::new(SyncMutex::new(Vec::new()));
        for task in 0..4 {
            let order = order.clone();
            env.spawn("task", async move { order.lock().push(task) });
        }
        sim.run_until_idle();
        orders.insert(order.lock().clone());
    }
    assert_eq!(orders.len(), 24);
}

#[test]
fn tokio_primitives_work() {
    for seed in 0..20 {
        let sim = Sim::new(seed);
        let env = sim.node("n").env();
        sim.block_on(primitives(&env));
    }
}

async fn primitives(env: &Env) {
    let (tx, mut rx) = mpsc::channel(2);
    let (done, finished) = oneshot::channel();
    let (semaphore, notify) = (Arc::new(Semaphore::new(2)), Arc::new(Notify::new()));
    let (value, inside) = (Arc::new(RwLock::new(0)), Arc::new(AtomicU64::new(0)));
    let (news, mut heard) = broadcast::channel(100);
    for task in 0..10_u64 {
        let (env, tx, semaphore, value) = (env.clone(), tx.clone(), semaphore.clone(), value.clone());
        let (inside, news) = (inside.clone(), news.clone());
        env.clone().spawn("worker", async move {
            let permit = semaphore.acquire().await.unwrap();
            assert!(inside.fetch_add(1, Ordering::Relaxed) < 2);
            env.sleep(Duration::from_millis(task)).await;
            inside.fetch_sub(1, Ordering::Relaxed);
            drop(permit);
            *value.write().await += task;
            news.send(task).unwrap();
            tx.send(task).await.unwrap();
        });
    }
    drop(tx);
    let waiter = notify.clone();
    env.spawn("waiter", async move {
        waiter.notified().await;
        done.send(()).unwrap();
    });
    let mut sum = 0;
    while let Some(task) = rx.recv().await {
        sum += task;
    }
    notify.notify_one();
    finished.await.unwrap();
    assert_eq!((sum, *value.read().await), (45, 45));
    let mut told = 0;
    while let Ok(task) = heard.try_recv() {
        told += task;
    }
    assert_eq!(told, 45);
    let all: FuturesUnordered<_> =
        (0..5_u64).map(|i| async move { env.sleep(Duration::from_millis(5 - i)).await }).collect();
    assert_eq!(all.count().await, 5);
}

#[test]
fn a_panic_ends_its_task_alone() {
    let sim = Sim::new(1);
    let env = sim.node("n").env();
    let (tx, rx) = oneshot::channel();
    let inner = env.clone();
    env.spawn("falls", async move {
        inner.sleep(Duration::from_millis(1)).await;
        panic!("on purpose");
    });
    let inner = env.clone();
    env.spawn("stands", async move {
        inner.sleep(Duration::from_millis(5)).await;
        tx.send(()).unwrap();
    });
    sim.block_on(rx).unwrap();
    let panics = sim.take_panics();
    assert_eq!(panics.len(), 1);
    let panic = &panics[0];
    assert_eq!((&*panic.node, panic.task, &*panic.message), ("n", "falls", "on purpose"));
    // A panic in blocking work comes out at its caller.
    let inner = env.clone();
    env.spawn("caller", async move { inner.blocking(|| panic!("in its work")).await });
    sim.run_until_idle();
    assert_eq!(sim.take_panics()[0].task, "caller");
}

#[test]
fn an_unexpected_panic_fails_the_test() {
    let dropped = catch_unwind(|| {
        let sim = Sim::new(1);
        sim.node("n").env().spawn("falls", async { panic!("on purpose") });
        sim.run_until_idle();
    });
    assert!(dropped.is_err());
}

#[test]
fn waiting_for_nothing_is_found_and_names_the_tasks() {
    let sim = Sim::new(1);
    sim.node("n").env().spawn("forever", std::future::pending());
    let stuck = catch_unwind(AssertUnwindSafe(|| sim.block_on(std::future::pending::<()>()))).unwrap_err();
    let words = stuck.downcast_ref::<String>().unwrap();
    assert!(words.contains("n: forever"), "{words}");
}

#[test]
fn an_endless_loop_is_found() {
    let sim = Sim::with(Options { turns_max: 1000, ..Options::new(1) });
    let env = sim.node("n").env();
    env.clone().spawn("loop", async move {
        loop {
            env.sleep(Duration::from_millis(1)).await;
        }
    });
    assert!(catch_unwind(AssertUnwindSafe(|| sim.run_until_idle())).is_err());
}

#[test]
fn the_future_of_block_on_may_borrow_and_need_not_be_send() {
    let sim = Sim::new(1);
    let env = sim.node("n").env();
    let seen = RefCell::new(0);
    sim.block_on(async {
        let held = std::rc::Rc::new(5);
        env.sleep(Duration::from_millis(1)).await;
        *seen.borrow_mut() += *held;
    });
    assert_eq!(seen.into_inner(), 5);
}

#[test]
fn a_watcher_sees_the_state_after_each_turn() {
    let sim = Sim::new(1);
    let env = sim.node("n").env();
    let count = Arc::new(AtomicU64::new(0));
    let (counts, inner) = (count.clone(), env.clone());
    env.spawn("counts", async move {
        for _ in 0..100 {
            counts.fetch_add(1, Ordering::Relaxed);
            inner.sleep(Duration::from_millis(1)).await;
        }
    });
    let mut seen = Vec::new();
    sim.block_on_watching(env.sleep(Duration::from_millis(50)), |node| {
        assert_eq!(node, "n");
        seen.push(count.load(Ordering::Relaxed));
    });
    let all: Vec<_> = (1..=count.load(Ordering::Relaxed)).collect();
    assert!(all.len() > 30);
    seen.dedup();
    assert_eq!(seen, all);
}

#[test]
fn dropping_the_world_drops_what_its_tasks_hold() {
    let held = Arc::new(());
    {
        let sim = Sim::new(1);
        let env = sim.node("n").env();
        let inside = (held.clone(), env.clone());
        env.spawn("waits", async move {
            std::future::pending::<()>().await;
            drop(inside);
        });
        sim.run_until_idle();
        assert_eq!(Arc::strong_count(&held), 2);
    }
    assert_eq!(Arc::strong_count(&held), 1);
}

#[test]
fn a_task_that_a_dying_one_starts_is_dropped_too() {
    struct Starts(Env, Arc<()>);
    impl Drop for Starts {
        fn drop(&mut self) {
            let held = (self.0.clone(), self.1.clone());
            self.0.spawn("last will", async move {
                std::future::pending::<()>().await;
                drop(held);
            });
        }
    }
    let held = Arc::new(());
    let sim = Sim::new(1);
    let env = sim.node("n").env();
    let starts = Starts(env.clone(), held.clone());
    env.spawn("waits", async move {
        std::future::pending::<()>().await;
        drop(starts);
    });
    sim.run_until_idle();
    drop(sim);
    assert_eq!(Arc::strong_count(&held), 1);
}

#[test]
fn wakers_may_be_called_from_other_threads() {
    let sim = Sim::new(1);
    let env = sim.node("n").env();
    let (tx, rx) = oneshot::channel();
    let got = Arc::new(AtomicU64::new(0));
    let seen = got.clone();
    env.spawn("waits", async move { seen.store(rx.await.unwrap(), Ordering::Relaxed) });
    sim.run_until_idle();
    std::thread::scope(|scope| {
        scope.spawn(move || tx.send(7).unwrap());
    });
    sim.run_until_idle();
    assert_eq!(got.load(Ordering::Relaxed), 7);
}
