//! A node that cannot renew its lease says so, everywhere somebody looks, and admits nothing.

use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use kelpie_core::limits::LEASE_TERM;
use kelpie_env::sim::{DiskControl, Sim};
use kelpie_server::options::Options;
use kelpie_storage::config::EmbeddedOptions;
use kelpie_storage::{Store, StoreConfig};
use parking_lot::Mutex;
use serde_json::json;

use crate::world::World;

/// What was logged, as lines of JSON.
#[derive(Debug, Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Lines {
    fn with(&self, words: &str) -> Vec<String> {
        let text = String::from_utf8(self.0.lock().clone()).unwrap();
        text.lines().filter(|line| line.contains(words)).map(str::to_owned).collect()
    }
}

/// Failed renewals of this process so far.
async fn failures(world: &World) -> u64 {
    let text = world.get("/metrics").await.text().to_owned();
    let line = text.lines().find_map(|line| line.strip_prefix("kelpie_lease_renewal_failures_total "));
    line.map_or(0, |count| count.parse().unwrap())
}

/// A node over an embedded store on a simulated disk that this does something to, and what is
/// seen once it has been silent for longer than a lease; then after `mend`.
fn silent(cause: &str, harm: fn(&DiskControl), mend: Option<fn(&DiskControl)>) {
    let (sim, lines) = (Sim::new(1), Lines::default());
    let (node, writer) = (sim.node("n1"), lines.clone());
    let subscriber = tracing_subscriber::fmt().json().with_writer(move || writer.clone()).finish();
    let _logging = tracing::subscriber::set_default(subscriber);
    sim.block_on(async {
        let env = node.env();
        let options =
            EmbeddedOptions { segment_bytes: 16 << 10, checkpoint_bytes: 24 << 10, cache_bytes: 1 << 20 };
        let config = StoreConfig::Embedded { dir: "/data".into(), options };
        let store = Store::open(&config, &env).await.unwrap();
        let world = World::over(env.clone(), store, Options::default()).await;
        let agent = world.agent("a").await;
        assert_eq!(world.get("/ready").await.ok(), json!({ "ready": true }));
        let before = failures(&world).await;

        harm(&node.disk());
        while failures(&world).await == before {
            env.sleep(Duration::from_millis(100)).await;
        }
        assert_eq!(world.get("/ready").await.status, StatusCode::OK, "one failure is not yet silence");
        env.sleep(LEASE_TERM).await;

        let failed = failures(&world).await - before;
        assert!(failed >= 3, "each failure counts, there were {failed}");
        let logged = lines.with("lease not renewed");
        assert_eq!(logged.len() as u64, failed, "each failure is a line of the log");
        assert!(logged.iter().all(|line| line.contains(cause)), "with its cause: {logged:#?}");
        let ready = world.get("/ready").await;
        assert_eq!(ready.status, StatusCode::SERVICE_UNAVAILABLE);
        let reason = ready.json()["reason"].as_str().unwrap().to_owned();
        assert!(reason.contains("could not renew its lease for") && reason.contains(cause), "{reason}");
        let message = json!({ "messages": [{ "role": "user", "content": "hello" }] });
        let path = format!("/v1/agents/{agent}/messages");
        let refused = world.post(&path, message.clone()).await;
        let detail = refused.refused(StatusCode::SERVICE_UNAVAILABLE);
        assert!(detail.as_str().unwrap().contains("renew its lease"), "not for the lease: {detail}");
        assert_eq!(refused.json()["advice"], "not_run");

        let Some(mend) = mend else { return };
        mend(&node.disk());
        env.sleep(LEASE_TERM).await;
        assert_eq!(world.get("/ready").await.ok(), json!({ "ready": true }));
        world.post(&path, message).await.ok();
    });
}

#[test]
fn each_failed_renewal_is_counted_logged_and_shown_and_after_a_term_nothing_is_admitted() {
    // One after the other: the counters are the whole process's.
    silent("an fsync failed", DiskControl::fail_next_sync, None);
    silent("the disk is full", |disk| disk.set_free_space(Some(0)), Some(|disk| disk.set_free_space(None)));
}
