//! Durable turns beside a bare log: the same bytes in the same batches, written to a
//! zero-filled file and synced.

use std::path::Path;
use std::time::Duration;

use futures::future::join_all;
use kelpie_env::{Env, Open};
use kelpie_runtime::{Call, Runtime};

use crate::calls::{counter, counters};
use crate::table::{Row, Table};

const ROUNDS: usize = 7;
const TURNS: u64 = 4_096;
/// Zeroes ahead of the bare log, so that no write makes the file grow.
const LOG_BYTES: u64 = 64 << 20;

pub(crate) async fn measure(env: &Env, table: &mut Table) {
    for callers in [1, 32, 128] {
        let dir = tempfile::tempdir().unwrap();
        let runtime = counters(env, &dir.path().join("data")).await;
        let turns = if callers == 1 { TURNS / 4 } else { TURNS };
        round(env, &runtime, callers, turns).await;
        let (mut kelpie, mut peer, mut batches) = (Vec::new(), Vec::new(), 0);
        for number in 0..ROUNDS {
            let before = runtime.store().stats();
            kelpie.push(round(env, &runtime, callers, turns).await);
            let after = runtime.store().stats();
            batches = (after.batches - before.batches).max(1);
            let bytes = after.log_bytes.saturating_sub(before.log_bytes).max(turns * 300);
            let path = dir.path().join(format!("bare-{number}"));
            peer.push(bare(env, &path, batches, bytes / batches, turns));
        }
        runtime.drain(Duration::from_secs(5)).await;
        runtime.store().close().await.unwrap();
        let rate = 1.0 / kelpie[ROUNDS / 2].as_secs_f64();
        table.push(Row {
            what: format!("durable counter turn, {callers} callers"),
            kelpie,
            peer: Some(("bare log loop".into(), peer)),
            note: format!(
                "time per turn; about {rate:.0} turns/s in the middle round, {:.1} turns a batch",
                turns as f64 / batches as f64
            ),
        });
    }
}

async fn round(env: &Env, runtime: &Runtime, callers: u64, turns: u64) -> Duration {
    let began = env.now();
    join_all((0..callers).map(|caller| {
        let runtime = runtime.clone();
        let (done, ended) = tokio::sync::oneshot::channel();
        env.spawn("caller", async move {
            let actor = counter(&format!("c{caller}"));
            for _ in 0..turns / callers {
                runtime.call(Call::new(actor.clone(), "add", "")).await.unwrap();
            }
            done.send(()).unwrap();
        });
        ended
    }))
    .await;
    env.now().saturating_sub(began) / u32::try_from(turns).unwrap()
}

fn bare(env: &Env, path: &Path, batches: u64, batch_bytes: u64, turns: u64) -> Duration {
    let file = env.disk().open(path, Open::New).unwrap();
    file.write_all_at(&vec![0; usize::try_from(LOG_BYTES).unwrap()], 0).unwrap();
    file.sync().unwrap();
    let batch = vec![7; usize::try_from(batch_bytes).unwrap()];
    let began = env.now();
    for number in 0..batches {
        let at = number * batch_bytes % (LOG_BYTES - batch_bytes);
        file.write_all_at(&batch, at).unwrap();
        file.sync().unwrap();
    }
    let took = env.now().saturating_sub(began);
    env.disk().remove(path).unwrap();
    took / u32::try_from(turns).unwrap()
}
