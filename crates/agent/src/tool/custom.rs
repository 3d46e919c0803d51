//! Tools that are source code: kept, listed and given to agents.
//!
//! Nothing of them runs: there is no sandbox here, and never does foreign code run beside the
//! server. A call of one is refused with that reason, which the model gets to read.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::schema::Schema;
use super::source;
use crate::provider::ToolSpec;

/// Bytes of a tool's source code.
const SOURCE_BYTES_MAX: usize = 48_000;
/// Bytes of a tool with all that is kept with it: it is one row.
const TOOL_BYTES_MAX: usize = 64_000;

/// What the model reads that calls a tool of source code.
pub(crate) const NO_SANDBOX: &str = "it is source code, and there is no sandbox here to run it in";

/// A tool that is source code.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CustomTool {
    /// What the model gets to see.
    pub spec: ToolSpec,
    /// The source.
    pub source_code: String,
    /// Its language.
    pub source_type: String,
    /// What it can be found by.
    #[serde(default)]
    pub tags: Vec<String>,
    /// Fields of the wire format that come back as given.
    #[serde(default)]
    pub kept: BTreeMap<String, Value>,
    /// When it was made, in milliseconds of Unix time.
    pub created_ms: u64,
}

/// A tool of source code to be made, or what changes in one: what is absent stays, or is read
/// from the source.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct NewTool {
    /// The source.
    pub source_code: Option<String>,
    /// Its language, `python` if not said.
    pub source_type: Option<String>,
    /// What it does.
    pub description: Option<String>,
    /// JSON schema of the function: name, description, parameters.
    pub json_schema: Option<Value>,
    /// JSON schema of its arguments alone.
    pub args_json_schema: Option<Value>,
    /// What it can be found by.
    pub tags: Option<Vec<String>>,
    /// Fields of the wire format that come back as given.
    pub kept: BTreeMap<String, Value>,
}

/// A tool of source code that cannot be kept.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {problem}")]
pub struct ToolError {
    /// Which field.
    pub field: &'static str,
    /// What is wrong with it.
    pub problem: String,
}

fn wrong(field: &'static str, problem: impl Into<String>) -> ToolError {
    ToolError { field, problem: problem.into() }
}

impl CustomTool {
    /// Makes a tool, checked.
    ///
    /// ```
    /// use kelpie_agent::tool::custom::{CustomTool, NewTool};
    ///
    /// let source = "def roll(sides: int):\n    \"\"\"Rolls a die.\"\"\"\n    return 4\n";
    /// let tool = CustomTool::new(NewTool { source_code: Some(source.into()), ..NewTool::default() }, 0)?;
    /// assert_eq!((tool.spec.name.as_str(), tool.spec.description.as_str()), ("roll", "Rolls a die."));
    /// # Ok::<(), kelpie_agent::tool::custom::ToolError>(())
    /// ```
    ///
    /// # Errors
    /// [`ToolError`] with the field that cannot be used.
    pub fn new(new: NewTool, created_ms: u64) -> Result<Self, ToolError> {
        let none = ToolSpec { name: String::new(), description: String::new(), parameters: Value::Null };
        let nothing = Self {
            spec: none,
            source_code: String::new(),
            source_type: "python".to_owned(),
            tags: Vec::new(),
            kept: BTreeMap::new(),
            created_ms,
        };
        if new.source_code.is_none() {
            return Err(wrong("source_code", "a tool needs a source"));
        }
        nothing.changed(new)
    }

    /// The tool after a change, checked. It keeps its name: agents have it by that.
    ///
    /// # Errors
    /// [`ToolError`] with the field that cannot be used.
    pub fn changed(&self, change: NewTool) -> Result<Self, ToolError> {
        let mut tool = self.clone();
        tool.source_type = change.source_type.unwrap_or(tool.source_type);
        if let Some(source) = change.source_code {
            if source.trim().is_empty() || source.len() > SOURCE_BYTES_MAX {
                return Err(wrong("source_code", format!("must have 1 to {SOURCE_BYTES_MAX} bytes")));
            }
            if let Some(function) = source::last_function(&source).filter(|_| tool.source_type == "python") {
                let source::Function { name, description, parameters } = function;
                tool.spec = ToolSpec { name, description, parameters };
            }
            tool.source_code = source;
        }
        let given = change.json_schema.unwrap_or_default();
        if let Some(name) = given.get("name").and_then(Value::as_str) {
            name.clone_into(&mut tool.spec.name);
        }
        let described = given.get("description").and_then(Value::as_str).map(str::to_owned);
        tool.spec.description = change.description.or(described).unwrap_or(tool.spec.description);
        if let Some(parameters) = given.get("parameters").cloned().or(change.args_json_schema) {
            tool.spec.parameters = parameters;
        }
        if tool.spec.parameters.is_null() {
            tool.spec.parameters = json!({ "type": "object", "properties": {} });
        }
        tool.tags = change.tags.unwrap_or(tool.tags);
        tool.kept.extend(change.kept);
        tool.check(&self.spec.name)
    }

    fn check(self, name_before: &str) -> Result<Self, ToolError> {
        let name = &self.spec.name;
        if name.is_empty() {
            return Err(wrong(
                "json_schema",
                "no function was found in the source: give its schema, with a name",
            ));
        }
        super::checked_name(name)
            .map_err(|problem| wrong("json_schema", format!("the name {name:?} {problem}")))?;
        if !name_before.is_empty() && name_before != name {
            return Err(wrong("json_schema", format!("a tool keeps its name, which is {name_before:?}")));
        }
        if self.spec.parameters.get("type").and_then(Value::as_str) != Some("object") {
            return Err(wrong("json_schema", "parameters must be a JSON schema with \"type\": \"object\""));
        }
        Schema::new(&self.spec.parameters)
            .map_err(|error| wrong("json_schema", format!("what stands in parameters {error}")))?;
        let bytes = kelpie_core::record::encode(&self).len();
        if bytes > TOOL_BYTES_MAX {
            return Err(wrong(
                "source_code",
                format!("the tool has {bytes} bytes, at most {TOOL_BYTES_MAX} are kept"),
            ));
        }
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn new(source: &str) -> NewTool {
        NewTool { source_code: Some(source.to_owned()), ..NewTool::default() }
    }

    #[test]
    fn a_schema_that_is_given_says_more_than_the_source() {
        let schema = json!({ "name": "roll", "description": "Rolls.", "parameters": { "type": "object" } });
        let tool =
            CustomTool::new(NewTool { json_schema: Some(schema), ..new("def other(x: int): pass") }, 7)
                .unwrap();
        assert_eq!((tool.spec.name.as_str(), tool.spec.description.as_str()), ("roll", "Rolls."));
        assert_eq!((tool.spec.parameters.clone(), tool.created_ms), (json!({ "type": "object" }), 7));
        let tagged = tool.changed(NewTool { tags: Some(vec!["dice".into()]), ..NewTool::default() }).unwrap();
        assert_eq!(tagged, CustomTool { tags: vec!["dice".into()], ..tool });
    }

    #[test]
    fn what_cannot_be_kept_is_refused_with_its_field() {
        let refused = |new: NewTool| CustomTool::new(new, 0).unwrap_err().to_string();
        let schema = |schema: Value| NewTool { json_schema: Some(schema), ..new("x = 1") };
        let told = [
            refused(NewTool::default()),
            refused(new(" ")),
            refused(new("x = 1")),
            refused(NewTool { source_type: Some("typescript".into()), ..new("def f(): pass") }),
            refused(schema(json!({ "name": "send_message" }))),
            refused(schema(json!({ "name": "a b" }))),
            refused(schema(json!({ "name": "a", "parameters": { "type": "array" } }))),
            refused(schema(json!({ "name": "a", "parameters": { "type": "object", "required": "n" } }))),
        ];
        insta::assert_snapshot!(told.join("\n"), @r#"
        source_code: a tool needs a source
        source_code: must have 1 to 48000 bytes
        json_schema: no function was found in the source: give its schema, with a name
        json_schema: no function was found in the source: give its schema, with a name
        json_schema: the name "send_message" is the name of a built-in tool
        json_schema: the name "a b" must have 1 to 64 letters, digits, `_` or `-`
        json_schema: parameters must be a JSON schema with "type": "object"
        json_schema: what stands in parameters is no JSON schema that can be used: at /required: "n" is not of type "array"
        "#);
        let roll = CustomTool::new(new("def roll(): pass"), 0).unwrap();
        let renamed = roll.changed(new("def throw(): pass")).unwrap_err();
        assert_eq!(renamed.to_string(), "json_schema: a tool keeps its name, which is \"roll\"");
    }
}
