use std::time::Duration;

use serde_json::json;

use super::{Refusal, retry_after};
use crate::provider::ModelError;

fn error(status: u16, body: &str) -> String {
    let error = Refusal::of_body(status, None, body.as_bytes()).into_error("openai/m", Some("sk-secret"));
    format!("{} {} {error}", error.code(), if error.worth_repeating() { "again" } else { "no" })
}

#[test]
fn each_status_has_its_class() {
    insta::assert_snapshot!(error(401, r#"{"error":{"message":"Incorrect API key provided: sk-secret"}}"#), @"model.unauthorized no the model provider refused the key (HTTP 401): Incorrect API key provided: ***");
    insta::assert_snapshot!(error(429, r#"{"error":{"message":"slow down","type":"rate_limit_error"}}"#), @"model.rate_limited again rate limited by the model provider: slow down");
    insta::assert_snapshot!(error(429, r#"{"error":{"message":"no money","code":"insufficient_quota"}}"#), @"model.refused no the model provider refused the request (HTTP 429): no money");
    insta::assert_snapshot!(error(500, "<html>oops</html>"), @"model.unavailable again the model provider is not available (HTTP 500): <html>oops</html>");
    insta::assert_snapshot!(error(529, r#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}"#), @"model.unavailable again the model provider is not available (HTTP 529): Overloaded");
    insta::assert_snapshot!(error(501, ""), @"model.refused no the model provider refused the request (HTTP 501): it did not say why");
    insta::assert_snapshot!(error(404, r#"{"error":{"message":"x","code":"model_not_found"}}"#), @r#"model.no_such_model no no model "openai/m": x"#);
    insta::assert_snapshot!(error(404, r#"{"detail":"Not Found"}"#), @"model.refused no the model provider refused the request (HTTP 404): Not Found");
    insta::assert_snapshot!(error(400, r#"{"error":"bad tool schema"}"#), @"model.refused no the model provider refused the request (HTTP 400): bad tool schema");
    insta::assert_snapshot!(error(400, r#"{"object":"error","message":"This model's maximum context length is 8 tokens","code":400}"#), @"model.context_overflow no the conversation is too long for the model: This model's maximum context length is 8 tokens");
    insta::assert_snapshot!(error(400, r#"{"error":{"type":"invalid_request_error","message":"prompt is too long: 9 tokens > 8 maximum"}}"#), @"model.context_overflow no the conversation is too long for the model: prompt is too long: 9 tokens > 8 maximum");
    insta::assert_snapshot!(error(413, ""), @"model.context_overflow no the conversation is too long for the model: it did not say why");
}

#[test]
fn an_error_in_a_stream_is_classed_by_its_name() {
    let code = |event| Refusal::of_event(&event).into_error("m", None);
    assert!(matches!(
        code(json!({ "type": "error", "error": { "type": "overloaded_error", "message": "x" } })),
        ModelError::Unavailable { status: Some(529), .. }
    ));
    assert!(matches!(
        code(json!({ "error": { "code": 429, "message": "x" } })),
        ModelError::RateLimited { .. }
    ));
    assert!(matches!(
        code(json!({ "error": { "type": "invalid_request_error" } })),
        ModelError::Refused { status: 400, .. }
    ));
    assert!(matches!(code(json!({ "error": "boom" })), ModelError::Unavailable { status: Some(500), .. }));
}

#[test]
fn retry_after_in_all_its_forms() {
    let header = |name: &'static str, value: &'static str| {
        retry_after(784_111_777_000, move |asked| (asked == name).then(|| value.to_owned()))
    };
    assert_eq!(header("retry-after", "2"), Some(Duration::from_secs(2)));
    assert_eq!(header("retry-after", " 0.5 "), Some(Duration::from_millis(500)));
    assert_eq!(header("retry-after-ms", "1500"), Some(Duration::from_millis(1500)));
    assert_eq!(header("retry-after", "Sun, 06 Nov 1994 08:50:00 GMT"), Some(Duration::from_secs(23)));
    assert_eq!(header("retry-after", "Tue, 06 Nov 1990 08:50:00 GMT"), Some(Duration::ZERO));
    assert_eq!(header("retry-after", "1e300"), None);
    assert_eq!(header("retry-after", "999999"), Some(Duration::from_secs(3600)));
    assert_eq!(header("retry-after", "-1"), None);
    assert_eq!(header("retry-after", "soon"), None);
    assert_eq!(header("x", "1"), None);
}
