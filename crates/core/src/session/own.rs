//! What a process knows of its own session, and whether it may serve.
//!
//! ```text
//!   (a beat is due) ──▶ Renew ──┬─ it is mine ──────────────────────────▶ renewed
//!                               ├─ it was declared dead ──▶ Rejoin ─────▶ renewed, as the next life
//!                               ├─ it is over ──────────────────────────▶ Stop, for ever
//!                               └─ no answer ───────────────────────────▶ silent, after a term
//! ```
//!
//! Invariant: who is over is never ready again, and no life is taken for renewed before the store has
//! said so. Time counts from when the renewal *began* that came through.
//!
//! No specification: what a renewal finds is decided in `session.rs`, which has one; this only keeps
//! it. What it keeps is tested in `own/tests.rs`.

use std::time::Duration;

use super::{Holder, Rejoin, Renewal, Session, SessionState};
use crate::id::Incarnation;

/// Whether a node may admit calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Health {
    /// It renews its lease.
    Ready,
    /// It could not renew for a term; it admits nothing until it can.
    Silent {
        /// Since its last renewal.
        for_ms: u64,
        /// What the last attempt said.
        cause: String,
    },
    /// Another process took its name: this process must stop.
    Superseded,
    /// The operator has ended its session: this process must stop.
    Evicted,
    /// The store was restored from a backup while it ran: this process must stop, and may join
    /// anew.
    Restored,
}

impl Health {
    /// Whether this process must stop: it never becomes ready again.
    ///
    /// ```
    /// use kelpie_core::session::Health;
    ///
    /// assert!(Health::Evicted.is_over());
    /// assert!(!Health::Silent { for_ms: 4_000, cause: "the store is away".to_owned() }.is_over());
    /// ```
    pub fn is_over(&self) -> bool {
        match self {
            Self::Ready | Self::Silent { .. } => false,
            Self::Superseded | Self::Evicted | Self::Restored => true,
        }
    }
}

/// What the process has heard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    /// It is time to renew.
    BeatDue,
    /// What a renewal has found that began then.
    Renewal {
        /// What the session is.
        found: Renewal,
        /// Whether it says that the node drains.
        drains: bool,
        /// When the attempt began.
        began: Duration,
    },
    /// What became of going on as the next life, in an attempt that began then.
    Rejoin {
        /// What the session has become.
        found: Rejoin,
        /// When the attempt began.
        began: Duration,
    },
    /// The attempt failed: nobody knows whether it came through.
    NotRenewed {
        /// What is known of it, for people.
        cause: String,
    },
    /// It is to claim nothing more.
    DrainAsked,
    /// It is to end: nothing is in flight any more.
    LeaveAsked,
}

/// What the shell does next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Act {
    /// Renew the lease.
    Renew {
        /// Whose it has to be.
        holder: Holder,
        /// Which renewal of this life it is.
        beat: u64,
    },
    /// Go on as the next life of the same process.
    Rejoin {
        /// Whose the session was.
        holder: Holder,
        /// What the session is to be from then on.
        state: SessionState,
    },
    /// Write where the session stands.
    Write {
        /// Whose it has to be.
        holder: Holder,
        /// Where.
        state: SessionState,
    },
    /// Wait for the next beat.
    Rest,
    /// Renew no more: this process must stop.
    Stop(Health),
    /// Renew no more: it has left.
    End,
}

/// What a process knows of its own session.
#[derive(Debug, Clone)]
pub struct OwnSession {
    term: Duration,
    holder: Holder,
    beat: u64,
    /// When the last successful renewal began.
    renewed_at: Duration,
    /// What the last attempt said, if it failed.
    failure: Option<String>,
    /// Why this process must stop.
    over: Option<Health>,
    /// It claims nothing any more, by its own wish or the operator's.
    draining: bool,
    ended: bool,
}

impl OwnSession {
    /// Of a process that has joined with a lease of this term, by a transaction that began then.
    pub fn new(holder: Holder, joined_at: Duration, term: Duration) -> Self {
        let (failure, over) = (None, None);
        Self { term, holder, beat: 0, renewed_at: joined_at, failure, over, draining: false, ended: false }
    }

    /// Who it is.
    pub fn holder(&self) -> Holder {
        self.holder
    }

    /// Whether it drains, by its own wish or the operator's.
    pub fn is_draining(&self) -> bool {
        self.draining
    }

    /// Whether it has left, or must stop: it renews nothing, and has nobody to watch.
    pub fn has_ended(&self) -> bool {
        self.ended || self.over.is_some()
    }

    /// Whether it may admit calls.
    pub fn health(&self, now: Duration) -> Health {
        if let Some(over) = &self.over {
            return over.clone();
        }
        let silent = now.saturating_sub(self.renewed_at);
        if silent <= self.term {
            return Health::Ready;
        }
        let cause = self.failure.clone().unwrap_or_else(|| "the renewal has not returned".to_owned());
        Health::Silent { for_ms: u64::try_from(silent.as_millis()).unwrap_or(u64::MAX), cause }
    }

    /// Takes in what was heard, and says what is to be done.
    pub fn step(&mut self, heard: Heard) -> Act {
        match heard {
            Heard::BeatDue if self.ended => Act::End,
            Heard::BeatDue => {
                self.beat += 1;
                Act::Renew { holder: self.holder, beat: self.beat }
            }
            Heard::Renewal { found: Renewal::Renew, drains, began } => {
                self.draining |= drains;
                self.renewed(began)
            }
            // One that went by itself, between two beats, does not come back.
            Heard::Renewal { found: Renewal::Rejoin, .. } if !self.ended => {
                let state = if self.draining { SessionState::Draining } else { SessionState::Active };
                Act::Rejoin { holder: self.holder, state }
            }
            Heard::Renewal { found: over, .. } | Heard::Rejoin { found: Rejoin::Over(over), .. } => {
                self.stop(over)
            }
            Heard::Rejoin { found: Rejoin::Write(Session { incarnation, .. }), began } => {
                self.lives_as(incarnation);
                self.renewed(began)
            }
            // An earlier attempt came through whose answer was lost: nothing was written since, and
            // the others count from then.
            Heard::Rejoin { found: Rejoin::Joined(incarnation), began } => {
                self.lives_as(incarnation);
                if crate::mutant!("found_life_counts_as_renewed") {
                    return self.renewed(began);
                }
                self.step(Heard::BeatDue)
            }
            Heard::NotRenewed { cause } => {
                self.failure = Some(cause);
                Act::Rest
            }
            Heard::DrainAsked => {
                self.draining = true;
                Act::Write { holder: self.holder, state: SessionState::Draining }
            }
            Heard::LeaveAsked => {
                self.ended = true;
                Act::Write { holder: self.holder, state: SessionState::Left }
            }
        }
    }

    fn renewed(&mut self, began: Duration) -> Act {
        (self.renewed_at, self.failure) = (began, None);
        Act::Rest
    }

    /// Beats are counted anew in each life.
    fn lives_as(&mut self, incarnation: Incarnation) {
        (self.holder.incarnation, self.beat) = (incarnation, 0);
    }

    /// There is nothing more to renew.
    fn stop(&mut self, found: Renewal) -> Act {
        let over = match found {
            // Whoever is in a backup has to know, even one that has left.
            Renewal::Restored => Health::Restored,
            Renewal::Renew | Renewal::Rejoin | Renewal::Superseded | Renewal::Evicted if self.ended => {
                return Act::End;
            }
            Renewal::Evicted => Health::Evicted,
            Renewal::Renew | Renewal::Rejoin | Renewal::Superseded => Health::Superseded,
        };
        self.over = Some(over.clone());
        Act::Stop(over)
    }
}

#[cfg(test)]
mod tests;
