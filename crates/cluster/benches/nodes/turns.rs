//! Durable turns of counters on PostgreSQL, beside pgbench with a fenced transaction on rows of the
//! same kind of the same server.

use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::future::join_all;
use kelpie_cluster::Node;
use kelpie_env::Env;
use kelpie_machine::section::median;
use kelpie_runtime::Call;
use kelpie_storage::Store;

use crate::clients;
use crate::counter::actor;
use crate::pgbench::{self, FORMS, Pgbench};

const ROUNDS: usize = 5;
/// Of one round; pgbench counts whole seconds.
const TIME: Duration = Duration::from_secs(3);

pub(crate) async fn measure(env: Env) -> String {
    let server = std::env::var("KELPIE_TEST_POSTGRES").expect("a server: see `cargo xtask postgres`");
    let mut text = format!(
        "Each caller adds to a counter of its own, without a key, in the node's process: a whole turn, whose commit\n\
         compares two rows and writes three and more. pgbench commits the fenced transaction of \"The PostgreSQL\n\
         store\" with as many connections; {ROUNDS} rounds of {} s. {}.\n\n\
         | callers | | turns or commits/s | mean time of one | Kelpie's rate |\n|---|---|---|---|---|\n",
        TIME.as_secs(),
        pgbench::version().await,
    );
    for callers in [1, 32, 128] {
        let schema = format!("turns_{callers}");
        let url = format!("{server}?schema={schema}&pool_size={}", callers.clamp(2, 128));
        let store = Store::open(&url.parse().unwrap(), &env).await.unwrap();
        clients::fill(&store, callers).await;
        let node = crate::node("n1", &env, store.clone(), |_| {}).await;
        let pgbench = Pgbench::new(&server, &schema);
        let (mut ours, mut theirs) = (Vec::new(), vec![Vec::new(); FORMS.len()]);
        for _ in 0..ROUNDS {
            ours.push(round(&env, &node, callers).await);
            for (form, rates) in FORMS.iter().zip(&mut theirs) {
                rates.push(pgbench.round(form, callers, TIME).await.rate);
            }
        }
        row(&mut text, callers, "Kelpie", &ours, None);
        for (form, rates) in FORMS.iter().zip(&theirs) {
            row(&mut text, callers, form.name, rates, Some(&ours));
        }
        node.drain(Duration::from_secs(30)).await;
        store.close().await.unwrap();
    }
    text
}

fn row(text: &mut String, callers: u64, name: &str, rates: &[f64], ours: Option<&[f64]>) {
    let rate = median(rates);
    let ratio = ours.map_or("–".to_owned(), |ours| {
        let ratios: Vec<f64> = ours.iter().zip(rates).map(|(ours, theirs)| ours / theirs).collect();
        format!("{:.2} ×", median(&ratios))
    });
    let mean = callers as f64 / rate * 1e6;
    writeln!(text, "| {callers} | {name} | {rate:.0} | {mean:.0} µs | {ratio} |").unwrap();
}

/// Turns a second.
async fn round(env: &Env, node: &Node, callers: u64) -> f64 {
    let over = Arc::new(AtomicBool::new(false));
    let began = env.now();
    let callers = (0..callers).map(|caller| {
        let (runtime, over) = (node.runtime().clone(), over.clone());
        let (done, ended) = tokio::sync::oneshot::channel();
        env.spawn("caller", async move {
            let mut turns = 0_u64;
            while !over.load(Ordering::Relaxed) {
                runtime.call(Call::new(actor(format!("c{caller}")), "add", "")).await.unwrap();
                turns += 1;
            }
            done.send(turns).unwrap();
        });
        ended
    });
    let callers: Vec<_> = callers.collect();
    env.sleep(TIME).await;
    over.store(true, Ordering::Relaxed);
    let turns: u64 = join_all(callers).await.into_iter().map(Result::unwrap).sum();
    turns as f64 / env.now().saturating_sub(began).as_secs_f64()
}
