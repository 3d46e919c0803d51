//! A node's own tasks, which must not end while it lives.

use std::panic::{AssertUnwindSafe, Location, resume_unwind};
use std::time::Duration;

use futures::FutureExt;

use crate::{Env, Origin};

/// How long a task that panicked rests before it begins again.
const REST: Duration = Duration::from_secs(1);

impl Env {
    /// Starts a task that ends by itself alone: after a panic, which is counted and logged like that
    /// of any task, it begins again with what `work` gives then.
    ///
    /// ```
    /// use std::sync::atomic::{AtomicU32, Ordering};
    ///
    /// use kelpie_env::sim::Sim;
    ///
    /// let sim = Sim::new(7);
    /// let env = sim.node("n1").env();
    /// let begun = AtomicU32::new(0);
    /// let (done, mut ended) = tokio::sync::mpsc::unbounded_channel();
    /// env.supervise("greeter", move || {
    ///     let (first, done) = (begun.fetch_add(1, Ordering::Relaxed) == 0, done.clone());
    ///     async move {
    ///         assert!(!first, "it panics once");
    ///         drop(done.send("hello"));
    ///     }
    /// });
    /// assert_eq!(sim.block_on(ended.recv()), Some("hello"));
    /// assert_eq!(sim.take_panics().len(), 1);
    /// ```
    #[track_caller]
    pub fn supervise<F>(&self, name: &'static str, work: impl Fn() -> F + Send + Sync + 'static)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let (env, origin) = (self.clone(), Origin { name, place: Location::caller() });
        self.spawn(name, async move {
            while let Err(panic) = AssertUnwindSafe(async { work().await }).catch_unwind().await {
                metrics::counter!("kelpie_task_panics_total", "task" => name).increment(1);
                tracing::error!(task = name, "a task of the node panicked; it begins again");
                // A simulation fails by it although the node goes on, and what counts the panics
                // of a process sees it.
                env.tasks.spawn(origin, Box::pin(async move { resume_unwind(panic) }));
                env.sleep(REST).await;
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

    use metrics::{Counter, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit};

    use super::*;
    use crate::sim::Sim;

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
            env.supervise("test", move || {
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
        // The simulation is told, although the task goes on.
        let told: Vec<&str> = sim.take_panics().iter().map(|panic| panic.task).collect();
        assert_eq!(told, ["test", "test"]);
    }
}
