//! Ways that are clogged one after the other and opened in another order, so that what was sent
//! first arrives last, and each in a burst.

use super::Faults;
use crate::schedule::What;

/// When each of `ways` is clogged and each is opened again, in milliseconds of `for_ms`.
pub(super) fn steps(ways: usize, for_ms: u64) -> Vec<u64> {
    let steps = 2 * u64::try_from(ways).expect("a few ways");
    (0..steps).map(|step| step * for_ms / steps).collect()
}

impl Faults<'_> {
    /// The next step: clogs one, or opens one.
    pub(super) fn swizzle(&self, fault: usize, ways: &[(u32, u32)], order: &[u32], step: u64) {
        let Ok(step) = usize::try_from(step) else { return };
        let mut state = self.state.lock();
        let Some(opens) = step.checked_sub(ways.len()) else {
            state.swizzled.insert((fault, step));
            return;
        };
        let Some(opened) = order.get(opens).and_then(|way| usize::try_from(*way).ok()) else { return };
        let overtakes = state.swizzled.range((fault, 0)..(fault, opened)).next().is_some();
        if state.swizzled.remove(&(fault, opened)) && overtakes {
            drop(state);
            self.count("swizzle-clog");
        }
    }

    /// Whether an active fault of this kind holds back what goes that way.
    pub(super) fn is_swizzled(&self, active: &[(usize, &What)], way: (u32, u32)) -> bool {
        let state = self.state.lock();
        active.iter().any(|(index, what)| {
            let What::Swizzle { ways, .. } = what else { return false };
            (0..).zip(ways).any(|(place, other)| *other == way && state.swizzled.contains(&(*index, place)))
        })
    }
}
