//! All faults at once: what holds in spite of them, that each of them happens, that the
//! run can be repeated, and that nothing is left of them once they are over.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::num::NonZeroU64;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use kelpie_env::sim::{
    DiskFaults, DiskImage, Drift, FAULTS, LinkFaults, Mailbox, Node, Options, Sim, TimerError, same_twice,
};
use kelpie_env::{Env, Open};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const MS: Duration = Duration::from_millis(1);
const NODES: usize = 4;
const PORT: u16 = 5;

/// Starts what a node does in each of its lives: talk, write, and look at its clocks.
fn boot(node: &Node, env: &Env, peers: &[SocketAddr]) {
    let mailbox = Arc::new(node.mailbox(PORT));
    env.spawn("receives", receives(mailbox.clone()));
    env.spawn("sends", sends(env.clone(), mailbox, peers.to_vec()));
    env.spawn("serves", serves(env.clone(), SocketAddr::new(node.ip(), PORT)));
    env.spawn("asks", asks(env.clone(), peers.to_vec()));
    env.spawn("writes", writes(env.clone()));
}

async fn receives(mailbox: Arc<Mailbox>) {
    while let Some((from, message)) = mailbox.recv().await {
        if message.first() == Some(&b'?') {
            mailbox.send(from, Bytes::from_static(b"!"));
        }
    }
}

async fn sends(env: Env, mailbox: Arc<Mailbox>, peers: Vec<SocketAddr>) {
    loop {
        env.sleep(MS * 5).await;
        let length = usize::try_from(env.random_u64() % 2000).unwrap();
        mailbox.send(pick(&env, &peers), vec![b'?'; length].into());
    }
}

async fn serves(env: Env, addr: SocketAddr) {
    let Ok(listener) = env.net().listen(addr).await else { return };
    while let Ok((mut stream, _)) = listener.accept().await {
        env.spawn("answers", async move {
            let mut bytes = [0; 500];
            while let Ok(read @ 1..) = stream.read(&mut bytes).await {
                if stream.write_all(&bytes[..read]).await.is_err() {
                    break;
                }
            }
        });
    }
}

async fn asks(env: Env, peers: Vec<SocketAddr>) {
    loop {
        env.sleep(MS * 20).await;
        let peer = pick(&env, &peers);
        drop(env.timeout(MS * 500, echoes(&env, peer)).await);
    }
}

/// Whether what is written to a peer comes back.
async fn echoes(env: &Env, peer: SocketAddr) -> std::io::Result<bool> {
    let mut stream = env.net().connect(peer).await?;
    let sent = [7; 3000];
    let mut got = [0; 3000];
    for (sent, got) in sent.chunks(1000).zip(got.chunks_mut(1000)) {
        stream.write_all(sent).await?;
        stream.read_exact(got).await?;
    }
    Ok(sent == got)
}

/// Writes and renames as badly as it can: nothing counts on it.
async fn writes(env: Env) {
    let disk = env.disk().clone();
    for round in 0.. {
        let (new, old) = (format!("new-{round}"), format!("old-{}", round % 3));
        let turn = env.inline(|| -> std::io::Result<()> {
            let file = disk.open(Path::new(&new), Open::New)?;
            for at in [0, 500, 2000, 100] {
                file.write_all_at(&[u8::try_from(at % 251).unwrap(); 1000], at)?;
            }
            file.sync()?;
            file.read_exact_at(&mut [0; 1500], 0)?;
            file.write_all_at(&[9; 700], 200)?;
            file.read_exact_at(&mut [0; 1500], 0)?;
            disk.rename(Path::new(&new), Path::new(&old))?;
            if round % 4 == 0 { disk.sync_dir(Path::new("")) } else { Ok(()) }
        });
        // Files that are there already, and all that faults do.
        drop(turn.await);
        env.wall_ms();
        env.sleep(MS * 10).await;
    }
}

fn pick<T: Clone>(env: &Env, from: &[T]) -> T {
    from[usize::try_from(env.random_u64()).unwrap() % from.len()].clone()
}

fn ppm(env: &Env) -> u32 {
    // Mostly off: what all harm together shows nothing.
    if env.random_u64().is_multiple_of(3) { u32::try_from(env.random_u64() % 300_000).unwrap() } else { 0 }
}

fn span(env: &Env, max: Duration) -> Duration {
    max / 100 * u32::try_from(env.random_u64() % 101).unwrap()
}

fn link(env: &Env) -> LinkFaults {
    let rare = |one_in: u64| env.random_u64().is_multiple_of(one_in);
    LinkFaults {
        drop_ppm: ppm(env),
        duplicate_ppm: ppm(env),
        replay_ppm: ppm(env),
        replay_after_max: span(env, MS * 2000),
        reorder_ppm: ppm(env),
        reorder_max: span(env, MS * 50),
        delay: if rare(4) { span(env, MS * 20) } else { Duration::ZERO },
        tail_ppm: ppm(env),
        tail_max: span(env, MS * 1000),
        flip_bit_ppm: ppm(env),
        truncate_ppm: ppm(env),
        reset_ppm: ppm(env),
        bytes_per_second: if rare(3) { NonZeroU64::new(100_000) } else { None },
        queue_bytes_max: if rare(2) { Some(20_000) } else { None },
        clogged: rare(10),
    }
}

fn disk(env: &Env) -> DiskFaults {
    DiskFaults {
        sync_error_ppm: ppm(env),
        lying_sync_ppm: ppm(env),
        write_error_ppm: ppm(env),
        misdirected_write_ppm: ppm(env),
        read_error_ppm: ppm(env),
        misdirected_read_ppm: ppm(env),
        stale_read_ppm: ppm(env),
        bit_rot_ppm: ppm(env),
    }
}

/// Does one thing to the world, as `env` draws it.
fn harm(sim: &Sim, env: &Env, nodes: &[Node]) {
    let (node, other) = (pick(env, nodes), pick(env, nodes));
    match env.random_u64() % 20 {
        0 => sim.partition(&node, &other),
        1 => sim.partition_one_way(&node, &other),
        2 => sim.isolate(&node),
        3..6 => sim.set_link_faults(&node, &other, link(env)),
        6 => node.kill(),
        7 => node.kill_silently(),
        8 => node.kill_process(),
        9 => node.pause(),
        10 => node.resume(),
        11 => node.set_turn_cost(span(env, MS * 2)),
        12 => node.jump_wall(i64::try_from(env.random_u64() % 20_000).unwrap() - 10_000),
        13 => node.freeze_wall(env.random_u64().is_multiple_of(2)),
        14 => node.set_clock_granularity(span(env, MS * 16)),
        15 => {
            let drawn = i32::try_from(env.random_u64() % 400_000).unwrap() - 200_000;
            node.set_timer_error(TimerError { ppm: drawn, offset_ms: drawn / 100_000 });
            node.set_drift(Drift { monotonic_ppm: drawn, wall_ppm: -drawn });
        }
        16 => node.disk().set_faults(disk(env)),
        17 => node.disk().set_latency(span(env, MS * 100)),
        18 => node.disk().set_free_space(Some(env.random_u64() % 10_000)),
        _ => node.disk().crash_at(node.disk().operations() + 1 + env.random_u64() % 9),
    }
}

/// Takes back all that [`harm`] can do, and starts what is dead.
fn mend(sim: &Sim, nodes: &[Node], boot: impl Fn(&Node, &Env)) {
    sim.heal_all();
    for node in nodes {
        node.resume();
        node.set_turn_cost(Duration::ZERO);
        node.freeze_wall(false);
        node.set_clock_granularity(Duration::ZERO);
        node.set_timer_error(TimerError::default());
        node.set_drift(Drift::default());
        node.disk().set_faults(DiskFaults::default());
        node.disk().set_latency(Duration::ZERO);
        node.disk().set_free_space(None);
        node.disk().clear_crash();
        if !node.is_alive() {
            boot(node, &node.restart());
        }
    }
}

/// A while of everything; returns how often each fault has fired.
fn chaos(sim: &Sim) -> BTreeMap<&'static str, u64> {
    let nodes: Vec<Node> = (0..NODES).map(|node| sim.node(&format!("n{node}"))).collect();
    let peers: Vec<SocketAddr> = nodes.iter().map(|node| SocketAddr::new(node.ip(), PORT)).collect();
    let start = |node: &Node, env: &Env| boot(node, env, &peers);
    for node in &nodes {
        start(node, &node.env());
    }
    let hand = sim.node("hand");
    let env = hand.env();
    let mut images: Vec<DiskImage> = vec![DiskImage::empty()];
    sim.block_on(async {
        for _ in 0..60 {
            env.sleep(span(&env, MS * 100)).await;
            harm(sim, &env, &nodes);
            let dead = pick(&env, &nodes);
            images.push(dead.disk().image());
            match env.random_u64() % 4 {
                _ if dead.is_alive() => {}
                0 => start(&dead, &dead.restart_with(&pick(&env, &images))),
                1 | 2 => start(&dead, &dead.restart()),
                _ => {}
            }
        }
        mend(sim, &nodes, start);
        // What is left of before may arrive for a while.
        env.sleep(MS * 3000).await;
        for peer in &peers {
            assert!(echoes(&env, *peer).await.unwrap());
        }
        let mailbox = hand.mailbox(PORT);
        for peer in &peers {
            mailbox.send(*peer, Bytes::from_static(b"?"));
            let (from, answer) = env.timeout(MS * 100, mailbox.recv()).await.unwrap().unwrap();
            assert_eq!((from, answer), (*peer, Bytes::from_static(b"!")));
        }
    });
    sim.fired()
}

#[test]
fn every_fault_fires_and_nothing_is_left_of_it() {
    let mut all: BTreeMap<_, _> = FAULTS.iter().map(|fault| (*fault, 0)).collect();
    for seed in 0..25 {
        for (fault, count) in chaos(&Sim::new(seed)) {
            *all.entry(fault).or_default() += count;
        }
    }
    let never: Vec<_> = all.iter().filter(|(_, count)| **count == 0).collect();
    assert!(never.is_empty(), "{never:?} of {all:?}");
}

#[test]
fn a_run_with_faults_is_the_same_again() {
    let runs: BTreeSet<_> = (0..5).map(|seed| same_twice(&Options::new(seed), chaos)).collect();
    assert_eq!(runs.len(), 5);
}

/// Not a test by itself: the child process of the test below, which wants its hashes.
#[test]
fn prints_hashes() {
    for seed in 0..2 {
        let sim = Sim::new(seed);
        chaos(&sim);
        println!("hash {seed} {:x}", sim.trace_hash());
    }
}

#[test]
fn a_run_with_faults_is_the_same_in_another_process() {
    let hashes = || {
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "chaos::prints_hashes", "--nocapture"])
            .output()
            .unwrap();
        let printed = String::from_utf8(output.stdout).unwrap();
        let hashes: Vec<_> = printed.lines().filter_map(|line| line.split_once("hash ")).collect();
        hashes.iter().map(|(_, hash)| (*hash).to_owned()).collect::<Vec<_>>()
    };
    let first = hashes();
    assert_eq!(first.len(), 2);
    assert_eq!(first, hashes());
}
