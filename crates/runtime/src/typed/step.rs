//! Recorded steps with typed results.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::misfit::Misfit;
use super::state;
use super::turn::Turn;
use crate::actor::{HandlerError, TurnError};
use crate::step::StepKey;

/// Outside work has failed. `?` makes it of any error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failed {
    message: String,
}

impl Failed {
    /// A failure in your own words.
    ///
    /// ```
    /// # use kelpie::{Error, Failed, Result, Turn, actor, handlers};
    /// # use serde::{Deserialize, Serialize};
    /// # #[actor(name = "shop", version = 1)]
    /// # #[derive(Default, Serialize, Deserialize)]
    /// # pub struct Shop { sold: u64 }
    /// # #[handlers]
    /// # impl Shop {
    /// pub async fn ring(&mut self, cx: &mut Turn) -> Result<()> {
    ///     cx.step("ring", || async { Err::<(), _>(Failed::new("there is no bell")) }).await?;
    ///     Ok(())
    /// }
    /// # }
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    /// # let cluster = kelpie::open("memory:").actor::<Shop>().start().await?;
    /// let Err(Error::App(refusal)) = cluster.actor::<Shop>("corner").ring().await else { panic!() };
    /// assert_eq!(refusal.code, "step.failed");
    /// # Ok(())
    /// # }
    /// ```
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into() }
    }
}

impl<E: std::error::Error> From<E> for Failed {
    fn from(error: E) -> Self {
        Self::new(crate::load::describe(&error))
    }
}

/// A step has no result.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StepError {
    /// Its work failed. Nothing was recorded: when the turn runs again, so does the work. A
    /// handler that passes it on ends its call with the code `step.failed`.
    #[error("step `{step}` failed: {message}")]
    Failed {
        /// Which.
        step: String,
        /// How.
        message: String,
    },
    /// The turn cannot go on.
    #[error(transparent)]
    Turn(#[from] TurnError),
}

impl StepError {
    pub(super) fn of(step: &str, error: HandlerError) -> Self {
        match error {
            HandlerError::App { message, .. } | HandlerError::NotNow { message, .. } => {
                Self::Failed { step: step.to_owned(), message }
            }
            HandlerError::Turn(error) => Self::Turn(error),
        }
    }
}

impl From<Failed> for HandlerError {
    fn from(failed: Failed) -> Self {
        Self::app("step.failed", failed.message)
    }
}

impl Turn {
    /// The key that outside work of a step carries: the same when the work has to run again,
    /// because a crash came before its record.
    ///
    /// ```
    /// # use kelpie::{Result, Turn, actor, handlers};
    /// # use serde::{Deserialize, Serialize};
    /// # #[actor(name = "shop", version = 1)]
    /// # #[derive(Default, Serialize, Deserialize)]
    /// # pub struct Shop { sold: u64 }
    /// # #[handlers]
    /// # impl Shop {
    /// pub async fn open(&mut self, cx: &mut Turn) -> Result<()> {
    ///     let key = cx.step_key("charge"); // a payment service knows it again
    ///     cx.step("charge", || async {
    ///         println!("charge 30, once for {key}");
    ///         Ok(())
    ///     })
    ///     .await?;
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
    pub fn step_key(&self, step: impl Into<StepKey>) -> String {
        self.turn_id().step_key(step.into().as_str())
    }

    /// Outside work whose result is recorded once; when the turn runs again after a crash, a
    /// recorded step gives its result and `work` does not run. Steps may run side by side
    /// (`futures::join!`), each under a name, or a name and an index, of its own.
    ///
    /// A failure is not recorded: when the turn runs again, so does the work. An outcome to
    /// decide upon, such as a card that was declined, belongs into the result.
    ///
    /// A turn that was begun ten times, or that nobody could resume before its call's deadline,
    /// is given up: its call ends with the code `turn.given_up`, which stays its answer. The
    /// actor's state is as before the turn; what its steps have done outside stands.
    ///
    /// ```
    /// # use kelpie::{Result, Turn, actor, handlers};
    /// # use serde::{Deserialize, Serialize};
    /// # #[actor(name = "shop", version = 1)]
    /// # #[derive(Default, Serialize, Deserialize)]
    /// # pub struct Shop { sold: u64 }
    /// # #[handlers]
    /// # impl Shop {
    /// pub async fn open(&mut self, cx: &mut Turn) -> Result<u64> {
    ///     let receipt: u64 = cx.step("charge", || async { Ok(4711) }).await?;
    ///     Ok(receipt)
    /// }
    /// # }
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    /// # let cluster = kelpie::open("memory:").actor::<Shop>().start().await?;
    /// assert_eq!(cluster.actor::<Shop>("corner").open().await?, 4711);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`StepError`]; `?` ends the turn with it.
    pub async fn step<T, F>(&self, step: impl Into<StepKey>, work: impl FnOnce() -> F) -> Result<T, StepError>
    where
        T: Serialize + DeserializeOwned,
        F: Future<Output = Result<T, Failed>>,
    {
        self.step_on(step.into(), b"", work).await
    }

    /// As [`Turn::step`], and says what its work depends on. A turn that runs again after a crash and
    /// comes to the step with another input ends with the code `turn.failed`, which stays its answer:
    /// the recorded result is none of what it asks now. Without an input, it would be given all the
    /// same.
    ///
    /// ```
    /// # use kelpie::{Result, Turn, actor, handlers};
    /// # use serde::{Deserialize, Serialize};
    /// # #[actor(name = "shop", version = 1)]
    /// # #[derive(Default, Serialize, Deserialize)]
    /// # pub struct Shop { sold: u64 }
    /// # #[handlers]
    /// # impl Shop {
    /// pub async fn sell(&mut self, cx: &mut Turn, customer: String, amount: u64) -> Result<u64> {
    ///     let receipt = cx
    ///         .step_with("charge", &(&customer, amount), || async {
    ///             println!("charge {customer} {amount}");
    ///             Ok(4711)
    ///         })
    ///         .await?;
    ///     Ok(receipt)
    /// }
    /// # }
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    /// # let cluster = kelpie::open("memory:").actor::<Shop>().start().await?;
    /// assert_eq!(cluster.actor::<Shop>("corner").sell("ann".to_owned(), 30).await?, 4711);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`StepError`]; `?` ends the turn with it.
    pub async fn step_with<T, F>(
        &self,
        step: impl Into<StepKey>,
        input: &impl Serialize,
        work: impl FnOnce() -> F,
    ) -> Result<T, StepError>
    where
        T: Serialize + DeserializeOwned,
        F: Future<Output = Result<T, Failed>>,
    {
        let step = step.into();
        let input = declared(&step, input)?;
        self.step_on(step, &input, work).await
    }

    /// As [`Turn::step`], for work that must not run a second time whatever happens: after a
    /// crash, or a failure, between its begin and its record it is unknown whether it
    /// happened, and it does not run again.
    ///
    /// ```
    /// # use kelpie::{Result, Turn, actor, handlers};
    /// # use serde::{Deserialize, Serialize};
    /// # #[actor(name = "shop", version = 1)]
    /// # #[derive(Default, Serialize, Deserialize)]
    /// # pub struct Shop { sold: u64 }
    /// # #[handlers]
    /// # impl Shop {
    /// pub async fn open(&mut self, cx: &mut Turn) -> Result<()> {
    ///     // A letter is written once, or it is unknown whether it was.
    ///     cx.step_once("letter", || async {
    ///         println!("Dear customer");
    ///         Ok(())
    ///     })
    ///     .await?;
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
    /// [`StepError`]; `step.unknown` is the code with which a handler ends that passes that on.
    pub async fn step_once<T, F>(
        &self,
        step: impl Into<StepKey>,
        work: impl FnOnce() -> F,
    ) -> Result<T, StepError>
    where
        T: Serialize + DeserializeOwned,
        F: Future<Output = Result<T, Failed>>,
    {
        self.step_once_on(step.into(), b"", work).await
    }

    /// As [`Turn::step_once`], and says what its work depends on, as [`Turn::step_with`].
    ///
    /// ```
    /// # use kelpie::{Result, Turn, actor, handlers};
    /// # use serde::{Deserialize, Serialize};
    /// # #[actor(name = "shop", version = 1)]
    /// # #[derive(Default, Serialize, Deserialize)]
    /// # pub struct Shop { sold: u64 }
    /// # #[handlers]
    /// # impl Shop {
    /// pub async fn thank(&mut self, cx: &mut Turn, customer: String) -> Result<()> {
    ///     cx.step_once_with("letter", &customer, || async {
    ///         println!("Dear {customer}");
    ///         Ok(())
    ///     })
    ///     .await?;
    ///     Ok(())
    /// }
    /// # }
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    /// # let cluster = kelpie::open("memory:").actor::<Shop>().start().await?;
    /// cluster.actor::<Shop>("corner").thank("ann".to_owned()).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As of both.
    pub async fn step_once_with<T, F>(
        &self,
        step: impl Into<StepKey>,
        input: &impl Serialize,
        work: impl FnOnce() -> F,
    ) -> Result<T, StepError>
    where
        T: Serialize + DeserializeOwned,
        F: Future<Output = Result<T, Failed>>,
    {
        let step = step.into();
        let input = declared(&step, input)?;
        self.step_once_on(step, &input, work).await
    }

    async fn step_on<T, F>(
        &self,
        step: StepKey,
        input: &[u8],
        work: impl FnOnce() -> F,
    ) -> Result<T, StepError>
    where
        T: Serialize + DeserializeOwned,
        F: Future<Output = Result<T, Failed>>,
    {
        let name = step.as_str().to_owned();
        let recorded = self.turn.step(step, input, |_| packed(&name, work())).await;
        unpacked(&name, recorded)
    }

    async fn step_once_on<T, F>(
        &self,
        step: StepKey,
        input: &[u8],
        work: impl FnOnce() -> F,
    ) -> Result<T, StepError>
    where
        T: Serialize + DeserializeOwned,
        F: Future<Output = Result<T, Failed>>,
    {
        let name = step.as_str().to_owned();
        let recorded = self.turn.step_once(step, input, |_| packed(&name, work())).await;
        unpacked(&name, recorded)
    }
}

fn declared(step: &StepKey, input: &impl Serialize) -> Result<bytes::Bytes, TurnError> {
    let what = || format!("the input of step `{}`", step.as_str());
    Ok(state::pack(input).map_err(|reason| Misfit::Value { what: what(), reason })?)
}

async fn packed<T: Serialize>(
    step: &str,
    work: impl Future<Output = Result<T, Failed>>,
) -> Result<bytes::Bytes, HandlerError> {
    let result = work.await?;
    Ok(state::pack(&result).map_err(|reason| TurnError::from(misfit(step, reason)))?)
}

fn unpacked<T: DeserializeOwned>(
    step: &str,
    recorded: Result<bytes::Bytes, HandlerError>,
) -> Result<T, StepError> {
    let recorded = recorded.map_err(|error| StepError::of(step, error))?;
    state::unpack(&recorded).map_err(|reason| StepError::Turn(misfit(step, reason).into()))
}

fn misfit(step: &str, reason: String) -> Misfit {
    Misfit::Value { what: format!("the result of step `{step}`"), reason }
}
