//! One caller, one hot actor: how long a call takes.

use std::fmt::Write;
use std::time::Duration;

use kelpie_env::Env;
use kelpie_machine::section::{median, quantile, show};
use kelpie_runtime::Call;
use kelpie_storage::StoreConfig;

use crate::{counter, others};

const ROUNDS: usize = 9;
const CALLS: usize = 100_000;

/// A contestant's rounds.
struct Contestant {
    name: &'static str,
    p50: Vec<Duration>,
    p99: Vec<Duration>,
    mean: Vec<Duration>,
}

pub(crate) fn measure() -> String {
    let names = [
        "bare tokio mpsc + oneshot",
        "ractor 0.16",
        "kameo 0.22",
        "actix 0.13",
        "Kelpie, untyped read call, embedded store",
        "Kelpie, typed read call, embedded store",
        "Kelpie, typed call that changes, store in memory",
    ];
    let mut contestants =
        names.map(|name| Contestant { name, p50: Vec::new(), p99: Vec::new(), mean: Vec::new() });
    let clock = others::on_one_thread(rounds(&mut contestants));
    page(&contestants, clock)
}

/// Returns what one look at the clock takes, which is part of every call.
async fn rounds(contestants: &mut [Contestant; 7]) -> Duration {
    let env = kelpie_env::real::env();
    let dir = tempfile::tempdir().unwrap();
    let embedded = counter::node(&env, &StoreConfig::embedded(dir.path()), counter::options()).await;
    let memory = counter::node(&env, &StoreConfig::Memory, counter::options()).await;
    let plain = counter::actor("plain", "hot");
    embedded.call(Call::new(plain.clone(), "add", "")).await.unwrap();
    let (typed, changing) = (counter::client(&embedded, "hot"), counter::client(&memory, "hot"));
    typed.add(7).await.unwrap();
    let (channel, ractor, kameo, actix) =
        (others::channel(), others::ractor().await, others::kameo(), others::actix());
    let mut clocks = Vec::new();
    for _ in 0..ROUNDS {
        clocks.push(round(&env, async || 7_u64).await.0);
        let [bare, a, b, c, untyped, read, changes] = contestants;
        bare.add(round(&env, async || others::ask_channel(&channel).await).await);
        a.add(round(&env, async || others::ask_ractor(&ractor).await).await);
        b.add(round(&env, async || others::ask_kameo(&kameo).await).await);
        c.add(round(&env, async || others::ask_actix(&actix).await).await);
        let get = async || embedded.call(Call::new(plain.clone(), "get", "")).await.unwrap().len();
        untyped.add(round(&env, get).await);
        read.add(round(&env, async || typed.get().await.unwrap()).await);
        changes.add(round(&env, async || changing.add(1).await.unwrap()).await);
    }
    embedded.drain(Duration::from_secs(5)).await;
    memory.drain(Duration::from_secs(5)).await;
    median(&clocks)
}

/// p50, p99 and mean of one call.
async fn round<T>(env: &Env, call: impl AsyncFn() -> T) -> (Duration, Duration, Duration) {
    let mut times = Vec::with_capacity(CALLS);
    let began = env.now();
    let mut last = began;
    for _ in 0..CALLS {
        std::hint::black_box(call().await);
        let now = env.now();
        times.push(now.saturating_sub(last));
        last = now;
    }
    let mean = last.saturating_sub(began) / u32::try_from(CALLS).unwrap();
    (quantile(&times, 50), quantile(&times, 99), mean)
}

impl Contestant {
    fn add(&mut self, (p50, p99, mean): (Duration, Duration, Duration)) {
        self.p50.push(p50);
        self.p99.push(p99);
        self.mean.push(mean);
    }

    fn ratio(&self, to: &Self) -> f64 {
        let ratios = self.p50.iter().zip(&to.p50).map(|(own, other)| own.as_secs_f64() / other.as_secs_f64());
        median(&ratios.collect::<Vec<_>>())
    }
}

fn page(contestants: &[Contestant], clock: Duration) -> String {
    let mut page = format!(
        "One caller and one hot actor, all on one thread, {CALLS} calls a round, {ROUNDS} rounds. Each figure includes\n\
         one look at the clock ({}).\n\n\
         | one call | p50 | p99 | calls/s | p50 to the bare channel's |\n|---|---|---|---|---|\n",
        show(clock),
    );
    for contestant in contestants {
        writeln!(
            page,
            "| {} | {} | {} | {:.0} | {:.2} |",
            contestant.name,
            show(median(&contestant.p50)),
            show(median(&contestant.p99)),
            1.0 / median(&contestant.mean).as_secs_f64(),
            contestant.ratio(&contestants[0]),
        )
        .unwrap();
    }
    page.push('\n');
    page
}
