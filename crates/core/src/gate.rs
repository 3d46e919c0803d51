//! Whether a node takes new calls.
//!
//! ```text
//!   open ──drain──▶ draining ──last call ended, or deadline──▶ closed
//! ```
//!
//! Invariant: a call that was admitted ends before the gate is closed, or the gate says by
//! [`Gate::close`] how many were left. A call that was not admitted has done nothing.

/// A node's gate. Owned by one lock together with nothing else.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Gate {
    state: State,
    in_flight: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum State {
    #[default]
    Open,
    Draining,
    Closed,
}

/// The gate does not take this call: nothing happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this node is shutting down")]
pub struct ShuttingDown;

impl Gate {
    /// Takes a call, or refuses it for good.
    pub fn enter(&mut self) -> Result<(), ShuttingDown> {
        match self.state {
            State::Open => {
                self.in_flight += 1;
                Ok(())
            }
            State::Draining | State::Closed => Err(ShuttingDown),
        }
    }

    /// Takes what a call that was taken has left to do: also while draining.
    pub fn enter_owed(&mut self) -> Result<(), ShuttingDown> {
        match self.state {
            State::Open | State::Draining => {
                self.in_flight += 1;
                Ok(())
            }
            State::Closed => Err(ShuttingDown),
        }
    }

    /// A call that was taken has ended. Returns whether the drain is over with it.
    pub fn leave(&mut self) -> bool {
        assert!(self.in_flight > 0, "every leave has its enter");
        self.in_flight -= 1;
        self.settle()
    }

    /// Refuses calls from now on. Returns whether nothing is in flight.
    pub fn drain(&mut self) -> bool {
        if self.state == State::Open {
            self.state = State::Draining;
        }
        self.settle()
    }

    /// Ends the drain at its deadline. Returns how many calls were cut off.
    pub fn close(&mut self) -> u64 {
        self.state = State::Closed;
        self.in_flight
    }

    /// Calls that were taken and have not ended.
    pub fn in_flight(&self) -> u64 {
        self.in_flight
    }

    /// Whether it takes calls.
    pub fn is_open(&self) -> bool {
        self.state == State::Open
    }

    fn settle(&mut self) -> bool {
        if self.state == State::Draining && self.in_flight == 0 {
            self.state = State::Closed;
        }
        self.state == State::Closed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drain_ends_with_the_last_call_and_takes_no_new_one() {
        let mut gate = Gate::default();
        gate.enter().unwrap();
        gate.enter().unwrap();
        assert!(!gate.drain());
        assert_eq!(gate.enter(), Err(ShuttingDown));
        assert!(!gate.leave());
        assert!(gate.leave());
        assert_eq!(gate.enter(), Err(ShuttingDown));
    }

    #[test]
    fn a_drain_with_nothing_in_flight_ends_at_once() {
        let mut gate = Gate::default();
        assert!(gate.drain());
        assert_eq!(gate.close(), 0);
    }

    #[test]
    fn closing_counts_what_it_cuts_off() {
        let mut gate = Gate::default();
        gate.enter().unwrap();
        assert!(!gate.drain());
        assert_eq!(gate.close(), 1);
    }
}
