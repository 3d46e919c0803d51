//! Several runs beside each other, each on a thread of its own, told of in their order.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread;

use parking_lot::Mutex;

/// Does `work` for each of `items`, `jobs` of them at a time, and hands what they came to to `told`
/// in the order of the items, whichever ends first: what a batch says does not depend on `jobs`.
/// After `told` breaks nothing more is begun, and what is under way is waited for.
pub(super) fn in_order<I: Send, T: Send, B>(
    jobs: usize,
    items: impl Iterator<Item = I> + Send,
    work: impl Fn(I) -> T + Sync,
    mut told: impl FnMut(T) -> ControlFlow<B>,
) -> ControlFlow<B> {
    let items = Mutex::new(items.enumerate());
    let stopped = AtomicBool::new(false);
    let (done, ended) = mpsc::channel();
    thread::scope(|scope| {
        for _ in 0..jobs.max(1) {
            let (items, stopped, work, done) = (&items, &stopped, &work, done.clone());
            scope.spawn(move || {
                while !stopped.load(Ordering::Relaxed) {
                    let Some((number, item)) = items.lock().next() else { break };
                    if done.send((number, work(item))).is_err() {
                        break;
                    }
                }
            });
        }
        drop(done);
        let mut early = BTreeMap::new();
        let mut next = 0;
        for (number, outcome) in ended {
            early.insert(number, outcome);
            while let Some(outcome) = early.remove(&next) {
                next += 1;
                if let ControlFlow::Break(end) = told(outcome) {
                    stopped.store(true, Ordering::Relaxed);
                    return ControlFlow::Break(end);
                }
            }
        }
        ControlFlow::Continue(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The earlier an item, the longer it takes: they end in the opposite order.
    #[test]
    fn outcomes_come_in_the_order_of_the_items_whichever_ends_first() {
        let (let_go, waits) = mpsc::channel();
        let waits = Mutex::new(waits);
        let work = |item: u32| {
            match item {
                0 => waits.lock().recv().expect("the second one lets it go"),
                1 => let_go.send(()).expect("the first one waits"),
                _ => {}
            }
            item * 10
        };
        let mut told = Vec::new();
        let all = in_order(2, 0..6, work, |outcome| {
            told.push(outcome);
            ControlFlow::<()>::Continue(())
        });
        assert_eq!(all, ControlFlow::Continue(()));
        assert_eq!(told, [0, 10, 20, 30, 40, 50]);
    }

    #[test]
    fn the_first_that_breaks_in_the_order_of_the_items_is_the_one_that_is_told() {
        for jobs in [1, 2, 3] {
            let ended = in_order(
                jobs,
                0..,
                |item: u32| item,
                |item| match item {
                    7 | 8 => ControlFlow::Break(item),
                    _ => ControlFlow::Continue(()),
                },
            );
            assert_eq!(ended, ControlFlow::Break(7), "with {jobs} jobs");
        }
    }
}
