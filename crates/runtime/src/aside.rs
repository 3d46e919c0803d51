//! What the program of an actor's node knows beside the actor's records, asked from another node.

use std::time::Duration;

use bytes::Bytes;
use kelpie_core::id::ActorId;
use kelpie_registry::Holding;

use crate::call::CallError;
use crate::load::describe;
use crate::node::Node;
use crate::remote::{self, Answer, Question, Verdict};
use crate::route::process;
use crate::runtime::Runtime;

impl Runtime {
    /// Whether there may be other nodes.
    ///
    /// Shown at [`Runtime`].
    pub fn has_peers(&self) -> bool {
        self.node.routing.is_some()
    }

    /// Asks the program of the other node that owns an actor ([`Actor::asked`](crate::Actor::asked)),
    /// and waits for its answer for at most `limit`. Nothing: no other node owns it.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let cluster = kelpie::open("memory:").start().await?;
    /// let note = kelpie::ActorId::new("default", "note", "a")?;
    /// // No other node has it.
    /// assert_eq!(cluster.runtime().ask_owner(&note, "how far?".into(), Duration::from_secs(1)).await?, None);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`CallError::NotRun`] when the store or that node does not answer.
    pub async fn ask_owner(
        &self,
        actor: &ActorId,
        question: Bytes,
        limit: Duration,
    ) -> Result<Option<Bytes>, CallError> {
        let node = &self.node;
        let Some(routing) = node.routing.as_ref().filter(|_| node.held(actor).is_none()) else {
            return Ok(None);
        };
        let not_run = |reason| CallError::NotRun { reason };
        let own = match node.ownership.find(actor).await.map_err(|error| not_run(describe(&error)))? {
            Holding::Live(own) if !node.membership.myself().owns(&own) => own,
            Holding::Live(_) | Holding::Nobody | Holding::Ended(_) => return Ok(None),
        };
        let question = remote::encode(&Question::Aside { actor: actor.clone(), question });
        let answered = routing.peers.request(&process(&own), question, limit).await;
        let answer = answered.map_err(|failure| not_run(failure.to_string()))?;
        match remote::decode::<Answer>(&answer).map_err(not_run)?.verdict {
            Verdict::Reply(told) => Ok(Some(told)),
            Verdict::Error(error) => Err(error.into_error()),
            other @ (Verdict::NotOwner { .. }
            | Verdict::NotReady
            | Verdict::NotMoved(_)
            | Verdict::Unreadable(_)) => Err(not_run(format!("another answer: {other:?}"))),
        }
    }
}

impl Node {
    /// What this node's program says of an actor.
    pub(crate) async fn aside(&self, actor: ActorId, question: Bytes) -> Result<Bytes, CallError> {
        let Some(behaviour) = self.behaviour(actor.actor_type()) else {
            return Err(CallError::NoSuchType { actor_type: actor.actor_type().to_owned() });
        };
        Ok(behaviour.asked(self.env.clone(), actor, question).await)
    }
}
