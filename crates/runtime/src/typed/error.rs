//! What ends a handler, and what its caller is told.

use bytes::Bytes;
use kelpie_core::advice::Advice;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::misfit::Misfit;
use super::step::StepError;
use crate::actor::{HandlerError, TurnError};
use crate::call::{CallError, GAVE_WAY};
use crate::load::describe;

/// What a handler returns: its reply, or why there is none. With one argument the actor
/// refuses by a [`Refusal`]; with two, by an error type of its own.
pub type Result<T, E = Refusal> = std::result::Result<T, Stop<E>>;

/// An actor's own error: what its callers get in [`Error::App`].
///
/// It is recorded under the call's key, and the state is as it was before the call.
///
/// ```
/// use kelpie_runtime::typed::AppError;
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Debug, Serialize, Deserialize, thiserror::Error)]
/// enum BankError {
///     #[error("there are only {balance}")]
///     NotEnough { balance: u64 },
/// }
/// impl AppError for BankError {}
///
/// assert_eq!(BankError::NotEnough { balance: 3 }.code(), "NotEnough");
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not an error of an actor",
    note = "derive `Serialize`, `Deserialize` and `thiserror::Error` for it, and implement `kelpie::AppError`, \
            which has no method that you must write"
)]
pub trait AppError: std::error::Error + Serialize + DeserializeOwned + Send + Sync + 'static {
    /// A stable name, for programs in other languages: the variant's name unless you say
    /// otherwise.
    ///
    /// ```
    /// use kelpie::AppError;
    /// use serde::{Deserialize, Serialize};
    ///
    /// #[derive(Debug, Serialize, Deserialize, thiserror::Error)]
    /// enum DoorError {
    ///     #[error("it is locked")]
    ///     Locked,
    /// }
    /// impl AppError for DoorError {}
    ///
    /// assert_eq!(DoorError::Locked.code(), "Locked");
    /// ```
    fn code(&self) -> String {
        match serde_json::to_value(self) {
            Ok(serde_json::Value::String(variant)) => variant,
            Ok(serde_json::Value::Object(fields)) if fields.len() == 1 => {
                fields.into_iter().next().map(|(variant, _)| variant).unwrap_or_default()
            }
            Ok(_) | Err(_) => "app".to_owned(),
        }
    }

    /// The error as it travels.
    #[doc(hidden)]
    fn to_handler_error(&self) -> HandlerError {
        let detail = serde_json::to_vec(self).ok().map(Bytes::from);
        HandlerError::App { code: self.code(), message: self.to_string(), detail }
    }

    /// The error that has arrived. Nothing if it is none of these.
    #[doc(hidden)]
    fn from_app(_code: &str, _message: &str, detail: Option<&[u8]>) -> Option<Self> {
        serde_json::from_slice(detail?).ok()
    }
}

/// The error of actors that have no error type of their own: a code and a message.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    /// Stable, for programs.
    pub code: String,
    /// For people.
    pub message: String,
}

impl AppError for Refusal {
    fn code(&self) -> String {
        self.code.clone()
    }

    fn to_handler_error(&self) -> HandlerError {
        HandlerError::app(self.code.clone(), self.message.clone())
    }

    fn from_app(code: &str, message: &str, _detail: Option<&[u8]>) -> Option<Self> {
        Some(Self { code: code.to_owned(), message: message.to_owned() })
    }
}

/// Ends a handler with a code and a message: `return Err(refuse("order.closed", "…"))`.
///
/// ```
/// use kelpie::{Refusal, Stop, refuse};
///
/// fn check(amount: i64) -> Result<i64, Stop<Refusal>> {
///     if amount > 0 { Ok(amount) } else { Err(refuse("account.amount", "say how much")) }
/// }
/// assert!(matches!(check(0), Err(Stop::Refused(refusal)) if refusal.code == "account.amount"));
/// ```
pub fn refuse<E>(code: impl Into<String>, message: impl Into<String>) -> Stop<E> {
    Stop::Refused(Refusal { code: code.into(), message: message.into() })
}

/// Why a handler ends without a reply. `?` makes it of an actor's own error, of an error of
/// the turn, of a step and of a call to another actor.
#[derive(Debug, Clone)]
pub enum Stop<E = Refusal> {
    /// The actor's own error.
    App(E),
    /// A refusal that is none of the actor's own errors.
    Refused(Refusal),
    /// The turn cannot go on; nothing is recorded of it.
    Turn(TurnError),
}

impl<E: AppError> From<E> for Stop<E> {
    fn from(error: E) -> Self {
        Self::App(error)
    }
}

impl<E> From<TurnError> for Stop<E> {
    fn from(error: TurnError) -> Self {
        Self::Turn(error)
    }
}

impl<E> From<StepError> for Stop<E> {
    fn from(error: StepError) -> Self {
        match error {
            StepError::Failed { .. } => refuse("step.failed", error.to_string()),
            StepError::Turn(error) => Self::Turn(error),
        }
    }
}

impl<E, Other: AppError> From<Error<Other>> for Stop<E> {
    /// The other actor's own error becomes this one's refusal; whether a call ran that gave no
    /// answer is as unknown of this one.
    fn from(error: Error<Other>) -> Self {
        let call = match error {
            Error::App(error) => return refuse(error.code(), error.to_string()),
            Error::NotRun(Reason { message, .. }) => match message.strip_prefix(GAVE_WAY) {
                Some(cycle) => CallError::Deadlock { cycle: cycle.to_owned() },
                None => CallError::NotRun { reason: message },
            },
            Error::Unknown(_) => CallError::Unknown,
            Error::Fix(Reason { message, .. }) => {
                return Self::Turn(Misfit::Nested { reason: message }.into());
            }
        };
        Self::Turn(TurnError::Call(Box::new(call)))
    }
}

/// What became of a call that has no reply, by what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error<E = Refusal> {
    /// Nothing happened: ask again, elsewhere or later.
    #[error("nothing happened: {0}")]
    NotRun(Reason),
    /// It may have happened: ask again with the same idempotency key.
    #[error("it may have happened: {0}")]
    Unknown(Reason),
    /// The request is wrong, or the actor's code is: asking again changes nothing.
    #[error("{0}")]
    Fix(Reason),
    /// The actor's own answer: it ran, and this is its result.
    #[error("{0}")]
    App(E),
}

/// Why a call has no reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reason {
    /// Stable, for programs.
    pub code: String,
    /// For people.
    pub message: String,
}

impl std::fmt::Display for Reason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

/// An actor's own error on its way, before anybody knows its type.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct AppAnswer {
    /// Stable, for programs.
    pub code: String,
    /// For people.
    pub message: String,
    /// The error as JSON, if it has a type.
    pub detail: Option<Bytes>,
}

impl From<&CallError> for Error<AppAnswer> {
    fn from(error: &CallError) -> Self {
        let reason = |message| Reason { code: error.code().to_owned(), message };
        if let CallError::App { code, message, detail } = error {
            let (code, message, detail) = (code.clone(), message.clone(), detail.clone());
            return Self::App(AppAnswer { code, message, detail });
        }
        if let CallError::Handler(turn) = error
            && let Some(misfit) = turn.misfit()
        {
            return Self::Fix(reason(misfit.to_string()));
        }
        match error.advice() {
            Advice::NotRun => Self::NotRun(reason(describe(error))),
            Advice::Unknown => Self::Unknown(reason(describe(error))),
            Advice::Fix | Advice::App => Self::Fix(reason(describe(error))),
        }
    }
}

impl Error<AppAnswer> {
    /// The error as a caller sees it that knows the actor's errors.
    pub(super) fn typed<E: AppError>(self) -> Error<E> {
        match self {
            Self::NotRun(reason) => Error::NotRun(reason),
            Self::Unknown(reason) => Error::Unknown(reason),
            Self::Fix(reason) => Error::Fix(reason),
            Self::App(AppAnswer { code, message, detail }) => {
                match E::from_app(&code, &message, detail.as_deref()) {
                    Some(own) => Error::App(own),
                    None => Error::Fix(Reason { code, message }),
                }
            }
        }
    }
}

impl<E> Error<E> {
    /// What the caller should do.
    ///
    /// ```
    /// use kelpie::{Advice, Error, Reason, Refusal};
    ///
    /// let reason = Reason { code: "call.unknown".to_owned(), message: "no answer".to_owned() };
    /// let error = Error::<Refusal>::Unknown(reason);
    /// assert_eq!(error.advice(), Advice::Unknown); // ask again with the same key
    /// ```
    pub fn advice(&self) -> Advice {
        match self {
            Self::NotRun(_) => Advice::NotRun,
            Self::Unknown(_) => Advice::Unknown,
            Self::Fix(_) => Advice::Fix,
            Self::App(_) => Advice::App,
        }
    }
}

/// What a handler may return. There is one kind: [`Result`].
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not what a handler returns",
    label = "a handler returns `kelpie::Result<reply>` or `kelpie::Result<reply, error>`"
)]
pub trait Outcome {
    /// What the caller gets.
    type Reply: Serialize + DeserializeOwned + Send + 'static;
    /// The actor's own error.
    type Refusal: AppError;

    /// Itself.
    fn into_result(self) -> Result<Self::Reply, Self::Refusal>;
}

#[diagnostic::do_not_recommend]
impl<T, E> Outcome for Result<T, E>
where
    T: Serialize + DeserializeOwned + Send + 'static,
    E: AppError,
{
    type Reply = T;
    type Refusal = E;

    fn into_result(self) -> Self {
        self
    }
}

impl<E: AppError> From<Stop<E>> for HandlerError {
    fn from(stop: Stop<E>) -> Self {
        match stop {
            Stop::App(error) => error.to_handler_error(),
            Stop::Refused(refusal) => refusal.to_handler_error(),
            Stop::Turn(error) => Self::Turn(error),
        }
    }
}
