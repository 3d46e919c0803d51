//! One caller and a hot actor of another node, beside the same bytes over a bare connection.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use kelpie_cluster::Node;
use kelpie_env::{Env, Stream};
use kelpie_machine::section::{median, quantile, show};
use kelpie_runtime::Call;
use kelpie_storage::{Memory, Store};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::counter::actor;
use crate::shared::Shared;

const ROUNDS: usize = 9;
const CALLS: usize = 20_000;
/// Calls whose bytes are counted.
const COUNTED: usize = 1_000;
const LOOPBACK: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// Bytes that a call takes on its way there and back.
#[derive(Debug, Clone, Copy)]
struct Bytes {
    there: usize,
    back: usize,
}

pub(crate) async fn measure(env: Env) -> String {
    let bytes = bytes_of_a_call(&env).await;
    let (owner, caller) = pair(&env, LOOPBACK, None).await;
    let mut echo = Echo::connect(&env, bytes).await;
    let (mut bare, mut ours, mut local) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        bare.push(round(&env, async || echo.ask().await).await);
        ours.push(round(&env, async || get(&caller).await).await);
        local.push(round(&env, async || get(&owner).await).await);
    }
    let row = |name: &str, rounds: &[(Duration, Duration)]| {
        let ratios: Vec<f64> =
            rounds.iter().zip(&bare).map(|(own, bare)| own.0.as_secs_f64() / bare.0.as_secs_f64()).collect();
        let of = |figure: fn(&(Duration, Duration)) -> Duration| {
            show(median(&rounds.iter().map(figure).collect::<Vec<_>>()))
        };
        format!("| {name} | {} | {} | {:.2} |\n", of(|round| round.0), of(|round| round.1), median(&ratios))
    };
    format!(
        "One caller, a read call, {CALLS} calls a round, {ROUNDS} rounds; both nodes, the store (in memory) and both ends\n\
         of the bare connection are in one process. A call has {} B there and {} B back on its connection; so has the\n\
         bare ping-pong.\n\n\
         | one call | p50 | p99 | p50 to the bare connection's |\n|---|---|---|---|\n{}{}{}",
        bytes.there,
        bytes.back,
        row("bare TCP ping-pong", &bare),
        row("Kelpie, an actor of another node", &ours),
        row("Kelpie, an actor of this node", &local),
    )
}

async fn get(node: &Node) {
    node.runtime().call(Call::new(actor("hot"), "get", "")).await.unwrap();
}

/// p50 and p99 of one call.
async fn round(env: &Env, mut call: impl AsyncFnMut()) -> (Duration, Duration) {
    let mut times = Vec::with_capacity(CALLS);
    let mut last = env.now();
    for _ in 0..CALLS {
        call().await;
        let now = env.now();
        times.push(now.saturating_sub(last));
        last = now;
    }
    (quantile(&times, 50), quantile(&times, 99))
}

/// Two nodes, of which the first owns the actor; others reach that one at `advertise`.
async fn pair(env: &Env, listen: SocketAddr, advertise: Option<SocketAddr>) -> (Node, Node) {
    let backend = Arc::new(Shared::new(Memory::new(env.clone())));
    let store = || Store::from_backend(backend.clone(), env.clone());
    let owner = crate::node("owner", env, store(), |options| {
        (options.listen, options.advertise) = (listen, advertise.map(Into::into));
    });
    let owner = owner.await;
    owner.runtime().call(Call::new(actor("hot"), "add", "")).await.unwrap();
    let caller = crate::node("caller", env, store(), |_| {}).await;
    // Until it has read where the other one is.
    env.sleep(Duration::from_secs(2)).await;
    get(&caller).await;
    (owner, caller)
}

/// What a call takes on its connection, counted by a relay between two nodes of their own.
async fn bytes_of_a_call(env: &Env) -> Bytes {
    let free = || async { env.net().listen(LOOPBACK).await.unwrap() };
    let listen = free().await.local_addr().unwrap();
    let relay = free().await;
    let advertise = relay.local_addr().unwrap();
    let (there, back) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (world, to, from) = (env.clone(), there.clone(), back.clone());
    env.spawn("relay", async move {
        loop {
            let (near, _) = relay.accept().await.unwrap();
            let far = world.net().connect(listen).await.unwrap();
            let ((near_read, near_write), (far_read, far_write)) =
                (tokio::io::split(near), tokio::io::split(far));
            world.spawn("there", pump(near_read, far_write, to.clone()));
            world.spawn("back", pump(far_read, near_write, from.clone()));
        }
    });
    let (owner, caller) = pair(env, listen, Some(advertise)).await;
    let before = (there.load(Ordering::Relaxed), back.load(Ordering::Relaxed));
    for _ in 0..COUNTED {
        get(&caller).await;
    }
    let of = |count: &AtomicUsize, before: usize| (count.load(Ordering::Relaxed) - before) / COUNTED;
    let bytes = Bytes { there: of(&there, before.0), back: of(&back, before.1) };
    drop((owner, caller));
    bytes
}

async fn pump(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin, count: Arc<AtomicUsize>) {
    let mut buffer = vec![0; 16 << 10];
    while let Ok(read @ 1..) = from.read(&mut buffer).await {
        count.fetch_add(read, Ordering::Relaxed);
        if to.write_all(&buffer[..read]).await.is_err() {
            return;
        }
    }
}

/// The bare connection: so many bytes there, so many back.
struct Echo {
    stream: Box<dyn Stream>,
    question: Vec<u8>,
    answer: Vec<u8>,
}

impl Echo {
    async fn connect(env: &Env, Bytes { there, back }: Bytes) -> Self {
        let listener = env.net().listen(LOOPBACK).await.unwrap();
        let address = listener.local_addr().unwrap();
        env.spawn("echo", async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let (mut question, answer) = (vec![0; there], vec![1; back]);
            while stream.read_exact(&mut question).await.is_ok() {
                stream.write_all(&answer).await.unwrap();
            }
        });
        let stream = env.net().connect(address).await.unwrap();
        Self { stream, question: vec![1; there], answer: vec![0; back] }
    }

    async fn ask(&mut self) {
        self.stream.write_all(&self.question).await.unwrap();
        self.stream.read_exact(&mut self.answer).await.unwrap();
    }
}
