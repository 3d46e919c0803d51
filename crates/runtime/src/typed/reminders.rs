//! A turn's reminders.

use kelpie_core::reminder::Schedule;

use super::invocation::{Changes, Invocation, Me};
use super::misfit::Misfit;
use super::turn::Turn;
use crate::actor::TurnError;
use crate::reminder::{Firing, Reminder};

impl Turn {
    /// Has a handler of this actor run later, as a turn of its own, though nobody calls: each
    /// time once, also after crashes; what was missed while nobody ran counts as one time. Set
    /// with this turn's commit, in place of what has that name. Returns when it is due first,
    /// in milliseconds of wall time.
    ///
    /// A refusal, or an error that would come again, ends that occurrence; the reminder goes on
    /// with the next.
    ///
    /// ```
    /// # use kelpie::{Result, Schedule, Turn, actor, handlers, me};
    /// # use serde::{Deserialize, Serialize};
    /// # use std::time::Duration;
    /// # #[actor(name = "shop", version = 1)]
    /// # #[derive(Default, Serialize, Deserialize)]
    /// # pub struct Shop { sold: u64 }
    /// # #[handlers]
    /// # impl Shop {
    /// # pub async fn close(&mut self, _: &mut Turn) -> Result<()> { Ok(()) }
    /// pub async fn open(&mut self, cx: &mut Turn) -> Result<()> {
    ///     let due_ms = cx.remind("evening", Schedule::Cron("0 20 * * *".to_owned()), me::<Self>().close()).await?;
    ///     assert!(due_ms > cx.now_ms());
    ///     Ok(())
    /// }
    /// # }
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    /// # let cluster = kelpie::open("memory:").actor::<Shop>().start().await?;
    /// cluster.actor::<Shop>("corner").open().await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// A schedule that can't be kept, something too large, a handler of another type.
    pub async fn remind<T, E>(
        &mut self,
        name: &str,
        schedule: Schedule,
        handler: Invocation<Me, T, E, Changes>,
    ) -> Result<u64, TurnError> {
        let (actor, operation, payload) = handler.message(self.actor().tenant())?;
        if actor.actor_type() != self.actor().actor_type() {
            let reason = format!(
                "a `{}` reminds itself of no handler of a `{}`",
                self.actor().actor_type(),
                actor.actor_type()
            );
            return Err(Misfit::Name { reason }.into());
        }
        self.turn.remind(name, schedule, operation, payload).await
    }

    /// Takes a reminder back, with this turn's commit. Returns whether there was one.
    ///
    /// ```
    /// # use kelpie::{Result, Schedule, Turn, actor, handlers, me};
    /// # use serde::{Deserialize, Serialize};
    /// # use std::time::Duration;
    /// # #[actor(name = "shop", version = 1)]
    /// # #[derive(Default, Serialize, Deserialize)]
    /// # pub struct Shop { sold: u64 }
    /// # #[handlers]
    /// # impl Shop {
    /// # pub async fn close(&mut self, _: &mut Turn) -> Result<()> { Ok(()) }
    /// pub async fn open(&mut self, cx: &mut Turn) -> Result<()> {
    ///     cx.remind("evening", Schedule::After(Duration::from_secs(36_000)), me::<Self>().close()).await?;
    ///     assert!(cx.cancel_reminder("evening").await?);
    ///     assert!(!cx.cancel_reminder("evening").await?); // there is none any more
    ///     Ok(())
    /// }
    /// # }
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    /// # let cluster = kelpie::open("memory:").actor::<Shop>().start().await?;
    /// cluster.actor::<Shop>("corner").open().await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// The store does not answer, or the actor has moved.
    pub async fn cancel_reminder(&mut self, name: &str) -> Result<bool, TurnError> {
        self.turn.cancel_reminder(name).await
    }

    /// One of the actor's reminders, as this turn has left it.
    ///
    /// ```
    /// # use kelpie::{Result, Schedule, Turn, actor, handlers, me};
    /// # use serde::{Deserialize, Serialize};
    /// # use std::time::Duration;
    /// # #[actor(name = "shop", version = 1)]
    /// # #[derive(Default, Serialize, Deserialize)]
    /// # pub struct Shop { sold: u64 }
    /// # #[handlers]
    /// # impl Shop {
    /// # pub async fn close(&mut self, _: &mut Turn) -> Result<()> { Ok(()) }
    /// pub async fn open(&mut self, cx: &mut Turn) -> Result<()> {
    ///     assert_eq!(cx.reminder("evening").await?, None);
    ///     cx.remind("evening", Schedule::After(Duration::from_secs(36_000)), me::<Self>().close()).await?;
    ///     assert!(cx.reminder("evening").await?.is_some_and(|evening| evening.operation == "close"));
    ///     Ok(())
    /// }
    /// # }
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    /// # let cluster = kelpie::open("memory:").actor::<Shop>().start().await?;
    /// cluster.actor::<Shop>("corner").open().await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// The store does not answer, or the actor has moved.
    pub async fn reminder(&self, name: &str) -> Result<Option<Reminder>, TurnError> {
        self.turn.reminder(name).await
    }

    /// The occurrence that this turn runs for, if it is a reminder's.
    ///
    /// ```
    /// # use kelpie::{Result, Turn, actor, handlers};
    /// # use serde::{Deserialize, Serialize};
    /// # #[actor(name = "shop", version = 1)]
    /// # #[derive(Default, Serialize, Deserialize)]
    /// # pub struct Shop { sold: u64 }
    /// # #[handlers]
    /// # impl Shop {
    /// pub async fn open(&mut self, cx: &mut Turn) -> Result<bool> {
    ///     Ok(cx.firing().is_some())
    /// }
    /// # }
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    /// # let cluster = kelpie::open("memory:").actor::<Shop>().start().await?;
    /// assert!(!cluster.actor::<Shop>("corner").open().await?, "somebody has called it");
    /// # Ok(())
    /// # }
    /// ```
    pub fn firing(&self) -> Option<&Firing> {
        self.turn.firing()
    }
}
