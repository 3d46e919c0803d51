//! Arguments and replies as JSON.

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::error::{AppAnswer, AppError, Error, Outcome, Reason};
use super::misfit::Misfit;
use super::state::State;
use crate::actor::{HandlerError, TurnError};

/// Reads a call's arguments: a JSON object by their names, or an array in their order. No
/// payload at all is no arguments.
///
/// # Errors
/// They are not those of the handler.
pub fn arguments<T: DeserializeOwned>(operation: &str, payload: &[u8]) -> Result<T, HandlerError> {
    let payload = if payload.is_empty() { b"{}" } else { payload };
    serde_json::from_slice(payload)
        .map_err(|error| TurnError::from(misfit::<T>(operation, payload, &error)).into())
}

/// Reads arguments once more that do not fit, to say which of them: the usual call pays nothing
/// for it.
fn misfit<T: DeserializeOwned>(operation: &str, payload: &[u8], error: &serde_json::Error) -> Misfit {
    let text = error.to_string();
    let mut json = serde_json::Deserializer::from_slice(payload);
    let place = match serde_path_to_error::deserialize::<_, T>(&mut json) {
        Err(error) if error.inner().is_data() => error.path().to_string(),
        Err(_) | Ok(_) => ".".to_owned(),
    };
    // The position in the text is noise to somebody who is told the argument.
    let brief = text.split(" at line ").next().unwrap_or(&text).to_owned();
    let missing = brief.strip_prefix("missing field `").and_then(|rest| rest.strip_suffix('`'));
    let (argument, reason) = match (missing, place.as_str()) {
        (Some(missing), ".") => (Some(missing.to_owned()), "it is missing".to_owned()),
        (Some(missing), place) => (Some(format!("{place}.{missing}")), "it is missing".to_owned()),
        (None, ".") => (None, text),
        (None, _) => (Some(place), brief),
    };
    Misfit::Arguments { operation: operation.to_owned(), argument, reason }
}

/// Writes what a handler has returned.
///
/// # Errors
/// What ended the handler, or a reply that is no JSON.
pub fn reply<R>(operation: &str, outcome: R) -> Result<Bytes, HandlerError>
where
    R: Outcome,
{
    let reply = outcome.into_result().map_err(HandlerError::from)?;
    to_json(&reply)
        .map_err(|reason| TurnError::from(Misfit::Reply { operation: operation.to_owned(), reason }).into())
}

/// The answer to a call of a handler that is not there.
///
/// # Errors
/// Always.
pub fn no_handler<A: State>(operation: &str) -> Result<Bytes, HandlerError> {
    let operation = operation.to_owned();
    Err(TurnError::from(Misfit::NoHandler { actor_type: A::TYPE.into(), operation }).into())
}

/// A value as JSON.
pub(super) fn to_json(value: &impl Serialize) -> Result<Bytes, String> {
    serde_json::to_vec(value).map(Bytes::from).map_err(|error| error.to_string())
}

/// What a caller gets.
pub(super) fn outcome<T: DeserializeOwned, E: AppError>(
    operation: &str,
    outcome: Result<Bytes, Error<AppAnswer>>,
) -> Result<T, Error<E>> {
    let reply = outcome.map_err(Error::typed)?;
    serde_json::from_slice(&reply).map_err(|error| {
        let misfit = Misfit::Reply { operation: operation.to_owned(), reason: error.to_string() };
        Error::Fix(Reason { code: misfit.code().to_owned(), message: misfit.to_string() })
    })
}
