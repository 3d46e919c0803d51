//! What the text of an answer has to look like.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::tool::schema::Schema;

/// What the text of an answer has to look like, as it stands on the wire.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ResponseFormat {
    /// Anything.
    Text,
    /// A JSON object.
    JsonObject,
    /// JSON that fits a schema.
    JsonSchema {
        /// `name` and `schema`, as OpenAI has them.
        json_schema: Value,
    },
}

impl ResponseFormat {
    /// Reads what somebody wants.
    ///
    /// ```
    /// use kelpie_agent::format::ResponseFormat;
    ///
    /// let format = ResponseFormat::read(&serde_json::json!({ "type": "json_object" }))?;
    /// assert_eq!(format.check("{\"n\": 1}"), Ok(()));
    /// assert!(format.check("one").is_err());
    /// # Ok::<(), String>(())
    /// ```
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub fn read(wire: &Value) -> Result<Self, String> {
        let format: Self = serde_json::from_value(wire.clone()).map_err(|_| {
            "Input should have a type: 'text', 'json_object', or 'json_schema' with a json_schema".to_owned()
        })?;
        if let Some(schema) = format.schema() {
            Schema::new(schema).map_err(|error| format!("json_schema.schema {error}"))?;
        } else if matches!(format, Self::JsonSchema { .. }) {
            return Err("json_schema needs a schema".to_owned());
        }
        Ok(format)
    }

    /// The schema that a text has to fit.
    pub fn schema(&self) -> Option<&Value> {
        match self {
            Self::JsonSchema { json_schema } => json_schema.get("schema").filter(|schema| schema.is_object()),
            Self::Text | Self::JsonObject => None,
        }
    }

    /// Whether a text looks like that.
    ///
    /// # Errors
    /// What does not fit, in words for the model.
    pub fn check(&self, text: &str) -> Result<(), String> {
        if *self == Self::Text {
            return Ok(());
        }
        let value: Value = serde_json::from_str(text).map_err(|error| format!("it is no JSON: {error}"))?;
        match self.schema() {
            Some(schema) => Schema::new(schema).map_err(|error| error.to_string())?.check(&value),
            None if value.is_object() => Ok(()),
            None => Err("it is no JSON object".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_text_is_held_against_its_schema() {
        let schema =
            json!({ "type": "object", "properties": { "n": { "type": "integer" } }, "required": ["n"] });
        let wire = json!({ "type": "json_schema", "json_schema": { "name": "count", "schema": schema } });
        let format = ResponseFormat::read(&wire).expect("a format");
        assert_eq!(serde_json::to_value(&format).expect("JSON"), wire);
        assert_eq!(format.check("{\"n\": 3}"), Ok(()));
        assert!(format.check("{\"n\": \"3\"}").expect_err("a string").contains("at /n"));
        assert!(format.check("three").expect_err("no JSON").contains("no JSON"));
        assert_eq!(ResponseFormat::Text.check("three"), Ok(()));
        assert!(ResponseFormat::JsonObject.check("3").is_err());
    }

    #[test]
    fn what_is_no_format_is_refused_with_what_is_missing() {
        let refused = |wire: Value| ResponseFormat::read(&wire).expect_err("refused");
        assert!(refused(json!({ "type": "xml" })).contains("'json_object'"));
        assert_eq!(
            refused(json!({ "type": "json_schema", "json_schema": { "name": "a" } })),
            "json_schema needs a schema"
        );
        let bad =
            json!({ "type": "json_schema", "json_schema": { "schema": { "type": "number of rooms" } } });
        assert!(refused(bad).starts_with("json_schema.schema is no JSON schema"));
    }
}
