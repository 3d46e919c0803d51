//! From a provider's error, as an HTTP answer or inside of a stream, to ours.

use std::time::Duration;

use serde_json::Value;

use super::error::ModelError;

/// The longest piece of a provider's message that is kept.
const MESSAGE_CHARS_MAX: usize = 500;
/// No provider is left alone for longer than this, whatever it asks for.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(3600);
/// Overloaded, in Anthropic's numbering.
const STATUS_OVERLOADED: u16 = 529;

/// What a provider says about a failure.
#[derive(Debug, Clone, Default)]
pub(super) struct Refusal {
    pub(super) status: u16,
    pub(super) retry_after: Option<Duration>,
    /// `type` and `code`, whichever there are.
    kinds: Vec<String>,
    message: String,
}

impl Refusal {
    /// Reads the body of an HTTP answer that is not a success.
    pub(super) fn of_body(status: u16, retry_after: Option<Duration>, body: &[u8]) -> Self {
        let text = String::from_utf8_lossy(body);
        let refusal = match serde_json::from_str::<Value>(&text) {
            Ok(value) => Self::of_value(&value),
            Err(_) => Self { message: text.trim().to_owned(), ..Self::default() },
        };
        Self { status, retry_after, ..refusal }
    }

    /// Reads an error that came in a stream, where no status tells its class.
    pub(super) fn of_event(event: &Value) -> Self {
        let refusal = Self::of_value(event);
        let named = refusal.kinds.iter().find_map(|kind| status_of(kind));
        Self { status: named.unwrap_or(500), ..refusal }
    }

    /// `{"error": {"message", "type", "code"}}`, `{"error": "text"}` or `{"message", "code"}`.
    fn of_value(value: &Value) -> Self {
        let error = value.get("error").filter(|error| !error.is_null()).unwrap_or(value);
        let message = [error, &error["message"], &error["detail"]].into_iter().find_map(Value::as_str);
        let kinds = [&error["type"], &error["code"]].into_iter().filter_map(|kind| match kind {
            Value::String(kind) => Some(kind.clone()),
            Value::Number(code) => Some(code.to_string()),
            Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
        });
        Self {
            kinds: kinds.collect(),
            message: message.map_or_else(|| error.to_string(), str::to_owned),
            ..Self::default()
        }
    }

    /// Our error for it. `model` is the handle asked for, `key` is kept out of the message.
    pub(super) fn into_error(self, model: &str, key: Option<&str>) -> ModelError {
        let Self { status, retry_after, .. } = self;
        let message = presentable(&self.message, key);
        match status {
            401 | 403 => ModelError::Unauthorized { status, message },
            400 | 413 | 422 | 500 if self.is_overflow() => ModelError::ContextOverflow { message },
            404 if self.is_about_model() => ModelError::NoSuchModel { model: model.to_owned(), message },
            // Money, not speed: waiting does not help.
            429 if self.has_kind("insufficient_quota") => ModelError::Refused { status, message },
            429 => ModelError::RateLimited { retry_after, message },
            501 => ModelError::Refused { status, message },
            408 | 409 | 425 | 500..=599 => {
                ModelError::Unavailable { status: Some(status), retry_after, message }
            }
            _ => ModelError::Refused { status, message },
        }
    }

    fn has_kind(&self, kind: &str) -> bool {
        self.kinds.iter().any(|known| known == kind)
    }

    fn is_overflow(&self) -> bool {
        let phrases = [
            "maximum context length",
            "context length exceeded",
            "prompt is too long",
            "exceeds the available context",
            "exceed context limit",
            "exceeds the model's context",
            "exceeds the context window",
        ];
        let message = self.message.to_ascii_lowercase();
        self.status == 413
            || self.has_kind("context_length_exceeded")
            || self.has_kind("exceed_context_size_error")
            || phrases.iter().any(|phrase| message.contains(phrase))
    }

    fn is_about_model(&self) -> bool {
        self.has_kind("model_not_found")
            || self.has_kind("not_found_error")
            || self.message.to_ascii_lowercase().contains("model")
    }
}

/// The status that a named kind of error comes with outside of a stream.
fn status_of(kind: &str) -> Option<u16> {
    match kind {
        "invalid_request_error" | "context_length_exceeded" => Some(400),
        "authentication_error" => Some(401),
        "permission_error" => Some(403),
        "not_found_error" | "model_not_found" => Some(404),
        "request_too_large" => Some(413),
        "rate_limit_error" | "rate_limit_exceeded" | "insufficient_quota" => Some(429),
        "overloaded_error" => Some(STATUS_OVERLOADED),
        number => number.parse().ok().filter(|status| (400..600).contains(status)),
    }
}

/// A provider's words, of bounded length and without the key, which some repeat.
pub(super) fn presentable(message: &str, key: Option<&str>) -> String {
    let message = match key {
        Some(key) if !key.is_empty() => message.replace(key, "***"),
        Some(_) | None => message.to_owned(),
    };
    let mut kept: String = message.chars().take(MESSAGE_CHARS_MAX).collect();
    if kept.len() < message.len() {
        kept.push('…');
    }
    if kept.is_empty() { "it did not say why".to_owned() } else { kept }
}

/// How long to wait, by `retry-after-ms` or `retry-after` (seconds, or a date).
pub(super) fn retry_after(wall_ms: u64, header: impl Fn(&str) -> Option<String>) -> Option<Duration> {
    let millis = header("retry-after-ms").and_then(|text| text.trim().parse::<f64>().ok());
    let wait = match millis {
        Some(millis) => Duration::try_from_secs_f64(millis / 1000.0).ok(),
        None => header("retry-after").and_then(|text| seconds_or_date(wall_ms, text.trim())),
    };
    wait.map(|wait| wait.min(RETRY_AFTER_MAX))
}

fn seconds_or_date(wall_ms: u64, text: &str) -> Option<Duration> {
    if let Ok(seconds) = text.parse::<f64>() {
        return Duration::try_from_secs_f64(seconds).ok();
    }
    let date = httpdate::parse_http_date(text).ok()?;
    let since_epoch = date.duration_since(std::time::UNIX_EPOCH).ok()?;
    Some(since_epoch.saturating_sub(Duration::from_millis(wall_ms)))
}

#[cfg(test)]
mod tests;
