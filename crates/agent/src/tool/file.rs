//! The tools file: HTTP tools that an operator offers to agents.
//!
//! ```json
//! [{ "name": "book_room", "description": "Books a meeting room.",
//!    "parameters": { "type": "object", "properties": { "room": { "type": "string" } } },
//!    "url": "http://127.0.0.1:9000/book", "timeout_seconds": 20, "idempotent": true }]
//! ```
//!
//! Read whole at the start; anything wrong with it stops the start with the entry, the field
//! and the position.

use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

use super::runner::OutsideTool;
use crate::provider::ToolSpec;

/// Seconds that a tool may take when the file does not say.
const TIMEOUT_SECONDS_DEFAULT: u64 = 30;
/// Seconds that a tool may take at most: a run waits as long.
const TIMEOUT_SECONDS_MAX: u64 = 3_600;
/// A tool and where it is.
#[derive(Debug, Clone)]
pub struct HttpTool {
    /// What agents know about it.
    pub tool: OutsideTool,
    /// Where calls are posted.
    pub url: reqwest::Url,
}

/// The tools file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ToolsFileError {
    /// It is not the JSON that it has to be.
    #[error("tools file, line {line}, column {column}: {problem}")]
    Syntax {
        /// Line, from 1.
        line: usize,
        /// Column, from 1.
        column: usize,
        /// What is wrong there.
        problem: String,
    },
    /// A field has a value that cannot be used.
    #[error("tools file, entry {entry}{}, field `{field}`: {problem}", named(name))]
    Field {
        /// Which entry, from 1.
        entry: usize,
        /// Its name, if it has one.
        name: String,
        /// Which field.
        field: &'static str,
        /// What is wrong with it.
        problem: String,
    },
}

fn named(name: &str) -> String {
    if name.is_empty() { String::new() } else { format!(" ({name})") }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    name: String,
    description: String,
    #[serde(default = "no_parameters")]
    parameters: Value,
    url: String,
    #[serde(default = "default_timeout")]
    timeout_seconds: u64,
    #[serde(default)]
    idempotent: bool,
}

fn no_parameters() -> Value {
    serde_json::json!({ "type": "object", "properties": {} })
}

fn default_timeout() -> u64 {
    TIMEOUT_SECONDS_DEFAULT
}

/// Reads the tools file's text.
pub fn parse(text: &str) -> Result<Vec<HttpTool>, ToolsFileError> {
    let lines: Vec<Line> = serde_json::from_str(text).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        let whole = error.to_string();
        // The message ends with the position, which is said in front already.
        let problem = whole.split(" at line ").next().unwrap_or(&whole).to_owned();
        ToolsFileError::Syntax { line, column, problem }
    })?;
    let mut tools: Vec<HttpTool> = Vec::new();
    for (line, entry) in lines.into_iter().zip(1..) {
        let taken = tools.iter().any(|other| other.tool.spec.name == line.name);
        let name = line.name.clone();
        let tool = checked(line, taken);
        tools.push(tool.map_err(|(field, problem)| ToolsFileError::Field { entry, name, field, problem })?);
    }
    Ok(tools)
}

fn checked(line: Line, taken: bool) -> Result<HttpTool, (&'static str, String)> {
    let Line { name, description, parameters, url, timeout_seconds, idempotent } = line;
    super::checked_name(&name).map_err(|problem| ("name", problem))?;
    if taken {
        return Err(("name", "comes twice".to_owned()));
    }
    if parameters.get("type").and_then(Value::as_str) != Some("object") {
        return Err(("parameters", "must be a JSON schema with \"type\": \"object\"".to_owned()));
    }
    if timeout_seconds == 0 || timeout_seconds > TIMEOUT_SECONDS_MAX {
        return Err((
            "timeout_seconds",
            format!("must be between 1 and {TIMEOUT_SECONDS_MAX}, not {timeout_seconds}"),
        ));
    }
    let url = reqwest::Url::parse(&url).map_err(|error| ("url", error.to_string()))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(("url", format!("must begin with http:// or https://, not {}:", url.scheme())));
    }
    let timeout = Duration::from_secs(timeout_seconds);
    let spec = ToolSpec { name, description, parameters };
    let tool = OutsideTool::new(spec, idempotent, timeout);
    Ok(HttpTool { tool: tool.map_err(|error| ("parameters", error.to_string()))?, url })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> String {
        parse(text).unwrap_err().to_string()
    }

    #[test]
    fn a_tool_needs_little() {
        let tools =
            parse(r#"[{"name":"now","description":"Tells the time.","url":"http://127.0.0.1:1/now"}]"#)
                .unwrap();
        assert_eq!(tools[0].tool.timeout, Duration::from_secs(30));
        assert!(!tools[0].tool.idempotent, "nobody promised that asking twice is harmless");
    }

    #[test]
    fn what_is_wrong_is_named_with_its_place() {
        let entry = |fields: &str| format!(r#"[{{"description":"d","url":"http://h/",{fields}}}]"#);
        let got = [
            error("[{\n  \"name\": }]"),
            error(r#"[{"name":"a","description":"d"}]"#),
            error(&entry(r#""name":"a","timeout":3"#)),
            error(&entry(r#""name":"a b""#)),
            error(&entry(r#""name":"send_message""#)),
            error(&entry(r#""name":"a","parameters":{"type":"string"}"#)),
            error(&entry(r#""name":"a","parameters":{"type":"object","properties":{"n":{"type":"int"}}}"#)),
            error(&entry(r#""name":"a","timeout_seconds":0"#)),
            error(r#"[{"name":"a","description":"d","url":"ftp://h/"}]"#),
            error(
                r#"[{"name":"a","description":"d","url":"http://h/"},{"name":"a","description":"d","url":"http://h/"}]"#,
            ),
        ];
        insta::assert_snapshot!(got.join("\n"), @r#"
        tools file, line 2, column 11: expected value
        tools file, line 1, column 31: missing field `url`
        tools file, line 1, column 58: unknown field `timeout`, expected one of `name`, `description`, `parameters`, `url`, `timeout_seconds`, `idempotent`
        tools file, entry 1 (a b), field `name`: must have 1 to 64 letters, digits, `_` or `-`
        tools file, entry 1 (send_message), field `name`: is the name of a built-in tool
        tools file, entry 1 (a), field `parameters`: must be a JSON schema with "type": "object"
        tools file, entry 1 (a), field `parameters`: is no JSON schema that can be used: at /properties/n/type: "int" is not valid under any of the schemas listed in the 'anyOf' keyword
        tools file, entry 1 (a), field `timeout_seconds`: must be between 1 and 3600, not 0
        tools file, entry 1 (a), field `url`: must begin with http:// or https://, not ftp:
        tools file, entry 2 (a), field `name`: comes twice
        "#);
    }
}
