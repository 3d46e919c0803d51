//! How many actors a node takes into memory.
//!
//! Invariant: an actor is counted before its claim begins and until it has left memory, so that
//! claims side by side cannot exceed the bound together. Nobody else counts: what a node
//! publishes as its load is advice to who places actors.

/// Counts what a node holds. Owned by one lock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Capacity {
    max: u64,
    held: u64,
}

/// The node has no room: nothing happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this node holds {max} actors already, as many as it may")]
pub struct Full {
    /// How many it may hold.
    pub max: u64,
}

impl Capacity {
    /// Room for so many actors; without a number for any.
    pub fn new(max: Option<u64>) -> Self {
        Self { max: max.unwrap_or(u64::MAX), held: 0 }
    }

    /// Counts an actor that is about to be claimed, or says that there is no room for it.
    pub fn enter(&mut self) -> Result<(), Full> {
        if self.held >= self.max && !(crate::mutant!("capacity_off_by_one") && self.held == self.max) {
            return Err(Full { max: self.max });
        }
        self.held += 1;
        Ok(())
    }

    /// An actor has left memory, or was not claimed after all.
    pub fn leave(&mut self) {
        assert!(self.held > 0, "every leave has its enter");
        self.held -= 1;
    }

    /// How many it holds, those on their way included: the load that it publishes.
    pub fn held(&self) -> u64 {
        self.held
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn takes_exactly(max: u64) {
        let mut capacity = Capacity::new(Some(max));
        for _ in 0..max {
            assert_eq!(capacity.enter(), Ok(()));
        }
        assert_eq!(capacity.enter(), Err(Full { max }));
        assert_eq!(capacity.held(), max, "who was refused is not counted");
        if max > 0 {
            capacity.leave();
            assert_eq!(capacity.enter(), Ok(()));
        }
        assert_eq!(capacity.enter(), Err(Full { max }));
    }

    #[test]
    fn a_node_takes_as_many_as_it_may_and_no_more() {
        for max in 0..4 {
            takes_exactly(max);
        }
        let mut unbounded = Capacity::new(None);
        assert!((0..1_000).all(|_| unbounded.enter().is_ok()));
    }

    #[cfg(feature = "mutants")]
    #[test]
    fn one_too_many_is_caught() {
        let _armed = crate::mutant::arm("capacity_off_by_one");
        std::panic::catch_unwind(a_node_takes_as_many_as_it_may_and_no_more).unwrap_err();
    }
}
