//! What happened and when, for a person to watch.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use kelpie_env::Env;

use crate::exit::Failure;
use crate::say;

/// A list of moments that grows while it is watched.
pub(super) struct Timeline {
    env: Env,
    start: Duration,
}

impl Timeline {
    pub(super) fn start(env: Env) -> Self {
        let start = env.now();
        Self { env, start }
    }

    /// Tells what happened just now.
    pub(super) fn tell(&self, text: impl AsRef<str>) -> Result<(), Failure> {
        let at = (self.env.now() - self.start).as_secs_f64();
        Ok(say::line(format!("{at:7.2} s  {}", text.as_ref()))?)
    }

    /// Waits for `work`; a person sees that something is going on.
    pub(super) async fn wait<T>(&self, what: &'static str, work: impl Future<Output = T>) -> T {
        if !say::terminal() {
            return work.await;
        }
        let style = ProgressStyle::with_template("{elapsed:>7}    {spinner} {msg}")
            .expect("a template that is tested");
        let bar = ProgressBar::new_spinner().with_style(style).with_message(what);
        bar.enable_steady_tick(Duration::from_millis(100));
        let done = work.await;
        bar.finish_and_clear();
        done
    }
}
