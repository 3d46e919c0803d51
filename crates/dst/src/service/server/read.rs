//! Snapshots and reads.

use kelpie_storage::{ReadError, Scan};

use super::super::faults::Mark;
use super::super::window::Known;
use super::super::wire::{Read, Said, length};
use super::Server;
use super::session::{Held, Lease};

impl Server {
    /// Answers a read in a snapshot, which the first read opens.
    pub(super) async fn read(&self, client: u64, snapshot: u64, read: Read) -> Result<Said, ReadError> {
        if let Some(outage) = self.refuses() {
            return Err(ReadError::Unavailable(outage));
        }
        if self.control.happens(&self.env, |faults| faults.too_old_ppm) {
            self.control.marks.fire(Mark::TooOld);
            self.forget(client, snapshot);
            return Err(ReadError::TooOld);
        }
        let (held, opened) = self.snapshot(client, snapshot)?;
        if let Some(seen) = opened {
            self.hold_up(seen).await;
        }
        let view = held.get();
        Ok(match read {
            Read::Get(key) => Said::Value(view.get(&key).wait().await?),
            Read::GetMany(keys) => Said::Values(view.get_many(&keys).wait().await?),
            Read::Scan { range, limit, reverse } => {
                let scan = Scan { range: range.into(), limit: length(limit), reverse };
                view.scan(scan).wait().await?.into()
            }
        })
    }

    /// The snapshot of that number, and how much it shows if it was opened just now.
    pub(super) fn snapshot(&self, client: u64, snapshot: u64) -> Result<(Held, Option<u64>), ReadError> {
        let now = self.env.now();
        let mut state = self.state.lock();
        let session = state.sessions.entry(client).or_default();
        match session.snapshots.get(snapshot) {
            Known::Taken(Lease::Open(held)) => return Ok((held.clone(), None)),
            Known::Taken(Lease::Over) | Known::Forgotten => return Err(ReadError::TooOld),
            Known::Free => {}
        }
        let (held, seen, hidden) = match state.veil.take() {
            Some((before, is_stale)) => {
                if is_stale {
                    self.control.marks.fire(Mark::Stale);
                }
                (before, None, Vec::new())
            }
            None => {
                let hidden = state.veil.lift();
                (self.begin()?, Some(state.veil.saw_all()), hidden)
            }
        };
        let session = state.sessions.entry(client).or_default();
        session.snapshots.put(snapshot, Lease::Open(held.clone()), now);
        drop(state);
        drop(hidden);
        Ok((held, seen))
    }

    /// Lets others begin later, see more, and be answered before.
    async fn hold_up(&self, seen: u64) {
        let held_up = self.control.time(&self.env, |faults| (faults.split_ppm, faults.split_max));
        let Some(held_up) = held_up else { return };
        self.env.sleep(held_up).await;
        if self.state.lock().veil.was_seen_beyond(seen) {
            self.control.marks.fire(Mark::Split);
        }
    }

    /// The snapshot is over; so it is if it was never begun.
    pub(super) fn forget(&self, client: u64, snapshot: u64) {
        let now = self.env.now();
        let mut state = self.state.lock();
        let snapshots = &mut state.sessions.entry(client).or_default().snapshots;
        let held = match snapshots.get(snapshot) {
            Known::Taken(lease) => Some(std::mem::replace(lease, Lease::Over)),
            Known::Free => {
                snapshots.put(snapshot, Lease::Over, now);
                None
            }
            Known::Forgotten => None,
        };
        drop(state);
        drop(held);
    }

    /// Takes the snapshot out for its commit; nothing when it is over.
    pub(super) fn take_snapshot(&self, client: u64, snapshot: u64) -> Option<Held> {
        let (held, _) = self.snapshot(client, snapshot).ok()?;
        self.forget(client, snapshot);
        Some(held)
    }
}
