//! Many callers at once in the node's own process, each a task of its own.

use std::time::Duration;

use kelpie_env::Env;
use tokio::sync::mpsc;

const CALLERS: usize = 128;

/// Has the callers do `call` for each number below `count`; gives how long that took.
pub(crate) async fn all<F>(
    env: &Env,
    count: usize,
    call: impl Fn(usize) -> F + Clone + Send + 'static,
) -> Duration
where
    F: Future<Output = ()> + Send,
{
    let began = env.now();
    let (done, mut ended) = mpsc::channel(CALLERS);
    for caller in 0..CALLERS {
        let (call, done) = (call.clone(), done.clone());
        env.spawn("caller", async move {
            for number in (caller..count).step_by(CALLERS) {
                call(number).await;
            }
            done.send(()).await.unwrap();
        });
    }
    for _ in 0..CALLERS {
        ended.recv().await.unwrap();
    }
    env.now().saturating_sub(began)
}
