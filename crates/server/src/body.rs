//! The body of a request: its size, its kind, its JSON.
//!
//! A body must say that it is JSON. That is more than politeness: a web page can make a
//! browser send any other kind to this server without being asked, and with this rule it
//! can't.

use axum::body::{Body, BodyDataStream, Bytes};
use axum::extract::{FromRequest, Request};
use axum::http::{HeaderMap, StatusCode, header};
use futures::StreamExt;
use kelpie_api::error::Place;
use kelpie_core::advice::Advice;
use kelpie_env::Env;
use serde::de::DeserializeOwned;

use crate::error::HttpError;
use crate::front::Front;
use crate::options::{BODY_BYTES_MAX, BODY_TIME_MAX, DISCARD_BYTES_MAX, DISCARD_TIME_MAX};

/// A JSON body. An absent one is an empty object: some clients send none where all fields
/// have defaults.
#[derive(Debug)]
pub(crate) struct JsonBody<T>(pub(crate) T);

impl<T: DeserializeOwned> FromRequest<Front> for JsonBody<T> {
    type Rejection = HttpError;

    async fn from_request(request: Request, front: &Front) -> Result<Self, HttpError> {
        let is_json = says_json(request.headers());
        let bytes = read(front.env(), request.into_body()).await?;
        if bytes.is_empty() {
            return parse(b"{}").map(Self);
        }
        if !is_json {
            return Err(unsupported());
        }
        parse(&bytes).map(Self)
    }
}

/// A JSON body as it came: an object, an array, or nothing at all.
#[derive(Debug)]
pub(crate) struct JsonText(pub(crate) Bytes);

impl FromRequest<Front> for JsonText {
    type Rejection = HttpError;

    async fn from_request(request: Request, front: &Front) -> Result<Self, HttpError> {
        let is_json = says_json(request.headers());
        let bytes = read(front.env(), request.into_body()).await?;
        if bytes.is_empty() {
            return Ok(Self(bytes));
        }
        if !is_json {
            return Err(unsupported());
        }
        serde_json::from_slice::<serde::de::IgnoredAny>(&bytes).map_err(|error| not_json(&bytes, &error))?;
        match bytes.iter().find(|byte| !byte.is_ascii_whitespace()) {
            Some(b'{' | b'[') => Ok(Self(bytes)),
            Some(_) | None => {
                let msg =
                    "Input should be an object of arguments by name, or an array of them in their order";
                Err(HttpError::issue(["body".into()], "dict_type", msg))
            }
        }
    }
}

/// Refuses a body by the length that its header announces, before any of it is read.
pub(crate) fn check_length(headers: &HeaderMap) -> Result<(), HttpError> {
    let Some(length) = headers.get(header::CONTENT_LENGTH) else { return Ok(()) };
    let length = length.to_str().ok().and_then(|text| text.parse::<u64>().ok());
    match length {
        Some(length) if length <= BODY_BYTES_MAX as u64 => Ok(()),
        Some(_) => Err(too_large()),
        None => {
            let detail = "The content-length header is not a number";
            Err(HttpError::new(StatusCode::BAD_REQUEST, "request.bad_length", Advice::Fix, detail))
        }
    }
}

/// Reads off what the client of a refused request is still sending, within bounds. Most
/// clients read an answer only when they have sent everything, and a connection that closes
/// with bytes unread is reset: the answer would be lost.
pub(crate) async fn discard(env: &Env, headers: &HeaderMap, body: Body) {
    // This one waits for leave to send, and takes an answer instead.
    if headers.contains_key(header::EXPECT) {
        return;
    }
    discard_rest(env, &mut body.into_data_stream()).await;
}

async fn discard_rest(env: &Env, parts: &mut BodyDataStream) {
    let mut left = DISCARD_BYTES_MAX;
    let reading = async {
        while let Some(Ok(part)) = parts.next().await
            && left > 0
        {
            left = left.saturating_sub(part.len());
        }
    };
    if env.timeout(DISCARD_TIME_MAX, reading).await.is_err() {
        tracing::debug!("a refused client keeps sending");
    }
}

async fn read(env: &Env, body: Body) -> Result<Bytes, HttpError> {
    let mut parts = body.into_data_stream();
    let reading = async {
        let mut bytes = Vec::new();
        while let Some(part) = parts.next().await {
            let part = part.map_err(|error| broken(&error))?;
            if bytes.len() + part.len() > BODY_BYTES_MAX {
                return Ok(None);
            }
            bytes.extend_from_slice(&part);
        }
        Ok(Some(Bytes::from(bytes)))
    };
    match env.timeout(BODY_TIME_MAX, reading).await {
        Ok(Ok(Some(bytes))) => Ok(bytes),
        Ok(Ok(None)) => {
            discard_rest(env, &mut parts).await;
            Err(too_large())
        }
        Ok(Err(error)) => Err(error),
        Err(elapsed) => {
            let detail = format!("The body did not arrive: {elapsed}");
            Err(HttpError::new(StatusCode::REQUEST_TIMEOUT, "request.body_slow", Advice::NotRun, detail))
        }
    }
}

fn broken(error: &axum::Error) -> HttpError {
    let detail = format!("The body could not be read: {error}");
    HttpError::new(StatusCode::BAD_REQUEST, "request.body_broken", Advice::Fix, detail)
}

fn too_large() -> HttpError {
    let detail = format!("The body is too large: at most {BODY_BYTES_MAX} bytes are accepted");
    HttpError::new(StatusCode::PAYLOAD_TOO_LARGE, "request.too_large", Advice::Fix, detail)
}

fn unsupported() -> HttpError {
    let detail = "The body must be JSON, with the header content-type: application/json";
    HttpError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "request.not_json", Advice::Fix, detail)
}

fn says_json(headers: &HeaderMap) -> bool {
    let Some(Ok(kind)) = headers.get(header::CONTENT_TYPE).map(|kind| kind.to_str()) else { return false };
    let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    kind == "application/json" || (kind.starts_with("application/") && kind.ends_with("+json"))
}

/// Reads JSON; an error says where it is wrong.
fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, HttpError> {
    // Serde would also take a struct's fields as a list in their order, which nobody means.
    if let Some(first) = bytes.iter().find(|byte| !byte.is_ascii_whitespace())
        && *first != b'{'
    {
        serde_json::from_slice::<serde::de::IgnoredAny>(bytes).map_err(|error| not_json(bytes, &error))?;
        return Err(HttpError::issue(["body".into()], "dict_type", "Input should be an object"));
    }
    let mut json = serde_json::Deserializer::from_slice(bytes);
    let value = serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let path = error.path().clone();
        wrong(bytes, &path, error.inner())
    })?;
    json.end().map_err(|error| not_json(bytes, &error))?;
    Ok(value)
}

fn wrong(bytes: &[u8], path: &serde_path_to_error::Path, error: &serde_json::Error) -> HttpError {
    if !error.is_data() {
        return not_json(bytes, error);
    }
    // The position in the text is noise to somebody who is told the field.
    let text = error.to_string();
    let msg = text.split(" at line ").next().unwrap_or(&text).to_owned();
    let mut loc: Vec<Place> = vec!["body".into()];
    for segment in path {
        match segment {
            serde_path_to_error::Segment::Seq { index } => loc.push(Place::Index(*index as u64)),
            serde_path_to_error::Segment::Map { key } => loc.push(key.as_str().into()),
            serde_path_to_error::Segment::Enum { variant } => loc.push(variant.as_str().into()),
            serde_path_to_error::Segment::Unknown => {}
        }
    }
    if let Some(field) = msg.strip_prefix("missing field `").and_then(|rest| rest.strip_suffix('`')) {
        loc.push(field.into());
        return HttpError::issue(loc, "missing", "Field required");
    }
    HttpError::issue(loc, kind_of(&msg), msg)
}

/// What serde expected, and the class of the problem in the words of the clients' validator.
const EXPECTED: [(&str, &str); 7] = [
    ("expected a string", "string_type"),
    ("expected a boolean", "bool_type"),
    ("expected u", "int_type"),
    ("expected i", "int_type"),
    ("expected f", "float_type"),
    ("expected a sequence", "list_type"),
    ("expected a map", "dict_type"),
];

fn kind_of(msg: &str) -> &'static str {
    EXPECTED.iter().find(|(text, _)| msg.contains(text)).map_or("value_error", |(_, kind)| kind)
}

fn not_json(bytes: &[u8], error: &serde_json::Error) -> HttpError {
    let lines = bytes.split_inclusive(|&byte| byte == b'\n').take(error.line().saturating_sub(1));
    let position = lines.map(<[u8]>::len).sum::<usize>() + error.column().saturating_sub(1);
    let loc = ["body".into(), Place::Index(position as u64)];
    HttpError::issue(loc, "json_invalid", format!("JSON decode error: {error}"))
}
