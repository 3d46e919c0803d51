//! The node's own tasks, which must not end while it lives.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures::FutureExt;
use kelpie_env::Env;

/// How long a task that panicked rests before it begins again.
const REST: Duration = Duration::from_secs(1);

/// Runs a task until it ends by itself; after a panic it begins again.
pub(crate) fn spawn<F>(env: &Env, name: &'static str, work: impl Fn() -> F + Send + Sync + 'static)
where
    F: Future<Output = ()> + Send + 'static,
{
    let clock = env.clone();
    env.spawn(name, async move {
        while AssertUnwindSafe(async { work().await }).catch_unwind().await.is_err() {
            metrics::counter!("kelpie_task_panics_total", "task" => name).increment(1);
            tracing::error!(task = name, "a task of the node panicked; it begins again");
            clock.sleep(REST).await;
        }
    });
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

    use kelpie_env::sim::Sim;
    use metrics::{Counter, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit};

    use super::*;

    /// Counts the panics of one task, and nothing else.
    struct Panics(&'static str, Arc<AtomicU64>);

    impl Recorder for Panics {
        fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
        fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
        fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
        fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
            let mut labels = key.labels();
            let of_it = labels.any(|label| (label.key(), label.value()) == ("task", self.0));
            let counts = key.name() == "kelpie_task_panics_total" && of_it;
            if counts { Counter::from_arc(self.1.clone()) } else { Counter::noop() }
        }
        fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
            Gauge::noop()
        }
        fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
            Histogram::noop()
        }
    }

    #[test]
    fn a_task_that_panics_is_counted_and_begins_again_until_it_ends() {
        let sim = Sim::new(1);
        let env = sim.node("n1").env();
        let (begun, panics) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU64::new(0)));
        let recorder = Panics("test", panics.clone());
        let _counted = metrics::set_default_local_recorder(&recorder);
        sim.block_on(async {
            let (count, clock) = (begun.clone(), env.clone());
            spawn(&env, "test", move || {
                let (nth, clock) = (count.fetch_add(1, Ordering::Relaxed), clock.clone());
                async move {
                    clock.sleep(Duration::from_millis(10)).await;
                    assert!(nth >= 2, "the first two panic");
                }
            });
            env.sleep(Duration::from_millis(1_500)).await;
            assert_eq!((begun.load(Ordering::Relaxed), panics.load(Ordering::Relaxed)), (2, 2));
            env.sleep(Duration::from_secs(10)).await;
            assert_eq!((begun.load(Ordering::Relaxed), panics.load(Ordering::Relaxed)), (3, 2));
        });
    }
}
