//! Where measurements are gathered until somebody asks for them at `/metrics`.

use std::sync::OnceLock;
use std::time::Duration;

use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};

/// Seconds: from a read out of memory to a run of many steps.
const BUCKETS: [f64; 14] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0, 120.0];
/// How often times that were measured are put into their buckets: until then each takes memory.
const FOLD_EVERY: Duration = Duration::from_secs(5);

/// The measurements of the whole process, gathered from the first call on. `None` if the process
/// has a recorder of its own, or ever had one.
pub fn gathered() -> Option<PrometheusHandle> {
    static OF_PROCESS: OnceLock<Option<PrometheusHandle>> = OnceLock::new();
    OF_PROCESS.get_or_init(install).clone()
}

fn install() -> Option<PrometheusHandle> {
    let builder = PrometheusBuilder::new().set_buckets(&BUCKETS).expect("there are buckets");
    let handle = builder.install_recorder().ok()?;
    fold_on_a_thread(handle.clone());
    Some(handle)
}

#[expect(clippy::disallowed_methods, reason = "the recorder is the process's, and of no node")]
fn fold_on_a_thread(gathered: PrometheusHandle) {
    std::thread::spawn(move || {
        loop {
            std::thread::sleep(FOLD_EVERY);
            gathered.run_upkeep();
        }
    });
}
