//! What the arguments of a call have to look like.
//!
//! Models write arguments that do not fit. They are told so in words instead of a tool that
//! was called with them.

use std::sync::Arc;

use jsonschema::{PatternOptions, Validator};
use serde_json::Value;

/// Problems of one call that are told; the first few are what a model can mend at once.
const PROBLEMS_MAX: usize = 3;
/// Bytes of one problem: it quotes what the model wrote, which can be long.
const PROBLEM_BYTES_MAX: usize = 300;

/// A JSON schema of arguments, ready to check. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Schema(Arc<Validator>);

/// The parameters of a tool are no JSON schema that can be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("is no JSON schema that can be used: {problem}")]
pub struct SchemaError {
    /// What is wrong, and where.
    pub problem: String,
}

impl Schema {
    /// Reads a schema. What it refers to has to be within it: nothing is fetched. Patterns
    /// take time linear in what they look at, because a model chooses that.
    pub fn new(parameters: &Value) -> Result<Self, SchemaError> {
        let options = jsonschema::options().offline().with_pattern_options(PatternOptions::regex());
        match options.build(parameters) {
            Ok(validator) => Ok(Self(Arc::new(validator))),
            Err(error) => Err(SchemaError { problem: placed(error.instance_path().as_str(), &error) }),
        }
    }

    /// Whether the arguments fit; else what does not, in words for the model.
    pub fn check(&self, arguments: &Value) -> Result<(), String> {
        let mut problems: Vec<String> = Vec::new();
        for error in self.0.iter_errors(arguments) {
            if problems.len() == PROBLEMS_MAX {
                problems.push("and more".to_owned());
                break;
            }
            problems.push(placed(error.instance_path().as_str(), &error));
        }
        if problems.is_empty() { Ok(()) } else { Err(problems.join("; ")) }
    }
}

/// A problem with its place, not longer than a model should read.
fn placed(place: &str, problem: &impl ToString) -> String {
    let mut problem = problem.to_string();
    if problem.len() > PROBLEM_BYTES_MAX {
        problem.truncate(problem.floor_char_boundary(PROBLEM_BYTES_MAX));
        problem.push('…');
    }
    if place.is_empty() { problem } else { format!("at {place}: {problem}") }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_does_not_fit_is_told_with_its_place_and_at_no_great_length() {
        let schema = Schema::new(&json!({
            "type": "object",
            "properties": { "n": { "type": "integer" }, "to": { "type": "array", "items": { "type": "string", "pattern": "^[a-z]+$" } } },
            "required": ["n"],
            "additionalProperties": false
        }));
        let schema = schema.unwrap();
        assert_eq!(schema.check(&json!({ "n": 1, "to": ["kai"] })), Ok(()));
        let told = [
            json!({}),
            json!({ "n": "1" }),
            json!({ "n": 1, "to": ["kai", "Kai"] }),
            json!({ "n": 1, "room": 2 }),
        ]
        .map(|arguments| schema.check(&arguments).unwrap_err());
        insta::assert_snapshot!(told.join("\n"), @r#"
        "n" is a required property
        at /n: "1" is not of type "integer"
        at /to/1: "Kai" does not match "^[a-z]+$"
        Additional properties are not allowed ('room' was unexpected)
        "#);
        let long = schema.check(&json!({ "n": "ä".repeat(10_000) })).unwrap_err();
        assert!(long.len() < PROBLEM_BYTES_MAX + 20, "{} bytes", long.len());
        let many = schema.check(&json!({ "n": 1, "to": [1, 2, 3, 4, 5] })).unwrap_err();
        assert!(many.ends_with("; and more"), "{many}");
    }

    #[test]
    fn a_schema_that_cannot_be_used_is_refused_and_nothing_is_fetched() {
        let told = [
            json!({ "type": "object", "properties": { "n": { "type": "number of rooms" } } }),
            json!({ "type": "object", "required": "n" }),
            json!({ "type": "object", "properties": { "n": { "$ref": "http://127.0.0.1:1/n.json" } } }),
            json!({ "type": "object", "properties": { "n": { "pattern": "(a)\\1" } } }),
        ]
        .map(|parameters| Schema::new(&parameters).unwrap_err().to_string());
        insta::assert_snapshot!(told.join("\n"), @r#"
        is no JSON schema that can be used: at /properties/n/type: "number of rooms" is not valid under any of the schemas listed in the 'anyOf' keyword
        is no JSON schema that can be used: at /required: "n" is not of type "array"
        is no JSON schema that can be used: Resource 'http://127.0.0.1:1/n.json' is not present in a registry and retrieving it failed: Retrieval is disabled, cannot fetch http://127.0.0.1:1/n.json
        is no JSON schema that can be used: at /properties/n/pattern: "(a)\\1" is not a "regex"
        "#);
    }

    #[test]
    fn a_schema_that_refers_to_itself_ends() {
        let schema = json!({ "type": "object", "properties": { "in": { "$ref": "#" } }, "$ref": "#" });
        let schema = Schema::new(&schema).unwrap();
        assert_eq!(schema.check(&json!({ "in": { "in": {} } })), Ok(()));
        assert!(schema.check(&json!({ "in": { "in": 3 } })).is_err());
    }
}
