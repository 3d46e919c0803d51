//! Pieces of an answer that another node makes, for those who watch the run here.
//!
//! ```text
//!   owner: Channel ──told, as soon as there is news──▶ here: Channel ──▶ watchers
//!             ▲                                          │
//!             └───────── what came last, again ──────────┘
//! ```
//!
//! One question waits at the owner at a time, as an ordinary request between nodes: so a reader that
//! is slow holds up nothing, and the next question goes wherever the agent is by then.
//!
//! Invariant: nothing here is needed for what a watcher learns in the end; that is in the store.

use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use kelpie_core::id::ActorId;
use kelpie_core::record;
use kelpie_env::Env;
use kelpie_runtime::Runtime;
use serde::{Deserialize, Serialize};

use crate::actor::Shared;
use crate::hub::{Channel, News, Piece, RunName};

/// How long a question waits at the owner for news.
const HOLD: Duration = Duration::from_secs(2);
/// How much longer its answer may take.
const WAY: Duration = Duration::from_secs(1);
/// Before the owner is asked again that did not answer, or is this node.
const PAUSE: Duration = Duration::from_millis(500);
/// Pieces that one answer carries.
const PIECES_MAX: usize = 256;

/// What a node asks that follows a run.
#[derive(Debug, Serialize, Deserialize)]
struct Following {
    run_id: String,
    /// The channel that it was told of last, and what of it.
    seen: Seen,
}

/// How much of a channel is known; of none, with the number zero.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Seen {
    life: u64,
    index: u64,
    commits: u64,
}

/// What it is told.
#[derive(Debug, Serialize, Deserialize)]
struct Told {
    /// What is known after this.
    seen: Seen,
    /// Pieces before these that are gone.
    missed: u64,
    pieces: Vec<Piece>,
}

/// A reader's place at a channel, given back on drop.
struct Reader<'a> {
    shared: &'a Shared,
    run: RunName,
    channel: Arc<Channel>,
}

impl Drop for Reader<'_> {
    fn drop(&mut self) {
        self.shared.hub.release(&self.run, &self.channel);
    }
}

/// Answers a node that follows a run, as soon as there is something new.
pub(crate) async fn tell(shared: Arc<Shared>, env: Env, actor: ActorId, question: Bytes) -> Bytes {
    let Following { run_id, seen } = match record::decode(&question) {
        Ok(following) => following,
        Err(error) => {
            tracing::warn!(%actor, %error, "another node asks for what cannot be read");
            return Bytes::new();
        }
    };
    let run = (actor, run_id);
    let reader = Reader { shared: &shared, channel: shared.hub.channel(&run), run };
    let channel = &reader.channel;
    let life = channel.life(|| env.random_u64());
    if seen.life != life && seen.life != 0 {
        // The channel that it knows is gone, and with it what was said in the end.
        return record::encode(&Told { seen: Seen::default(), missed: 0, pieces: Vec::new() });
    }
    let until = env.now().saturating_add(HOLD);
    loop {
        let mut changed = Box::pin(channel.changed());
        changed.as_mut().enable();
        let News { mut pieces, missed, next, commits } = channel.news(seen.index);
        let left = until.saturating_sub(env.now());
        if next > seen.index || commits != seen.commits || left.is_zero() {
            let rest = pieces.len().saturating_sub(PIECES_MAX);
            pieces.truncate(PIECES_MAX);
            let seen = Seen { life, index: next - rest as u64, commits };
            return record::encode(&Told { seen, missed, pieces });
        }
        // Over or not, it is looked at once more.
        let _ = env.timeout(left, changed).await;
    }
}

/// Brings the pieces of a run here for as long as somebody watches it here.
pub(crate) async fn follow(runtime: Runtime, shared: Arc<Shared>, run: RunName, channel: Weak<Channel>) {
    let mut seen = Seen::default();
    while channel.strong_count() > 0 && !kelpie_core::mutant!("pieces_stay_home") {
        let question = record::encode(&Following { run_id: run.1.clone(), seen });
        let told = match runtime.ask_owner(&run.0, question, HOLD + WAY).await {
            Ok(Some(told)) => record::decode::<Told>(&told).map_err(|error| error.to_string()),
            Ok(None) => Err("no other node has it".to_owned()),
            Err(error) => Err(error.to_string()),
        };
        match (told, channel.upgrade()) {
            (Ok(Told { seen: now, missed, pieces }), Some(channel)) => {
                let committed = now.life != seen.life || now.commits != seen.commits;
                seen = now;
                channel.take(missed, pieces, committed);
                drop(Reader { shared: &shared, run: run.clone(), channel });
            }
            (Err(reason), Some(_)) => {
                tracing::debug!(actor = %run.0, run_id = run.1, reason, "a run is not followed");
                runtime.env().sleep(PAUSE).await;
            }
            (_, None) => return,
        }
    }
}
