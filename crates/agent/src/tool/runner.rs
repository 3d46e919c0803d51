//! The seam to tools outside: a double stands here in simulation.

use std::time::Duration;

use futures::future::BoxFuture;
use serde::{Deserialize, Serialize};

use super::schema::{Schema, SchemaError};
use crate::provider::ToolSpec;

/// Bytes of a tool's result that the model gets to see; the rest is cut with a note.
pub const RESULT_BYTES_MAX: usize = 50_000;

/// A tool that somebody outside carries out.
#[derive(Debug, Clone)]
pub struct OutsideTool {
    /// What the model gets to see.
    pub spec: ToolSpec,
    /// What its arguments have to look like: the parameters of `spec`.
    pub schema: Schema,
    /// Whether asking twice with the same key has one effect.
    pub idempotent: bool,
    /// How long it may take.
    pub timeout: Duration,
}

impl OutsideTool {
    /// A tool whose parameters are a schema that calls can be checked against.
    pub fn new(spec: ToolSpec, idempotent: bool, timeout: Duration) -> Result<Self, SchemaError> {
        let schema = Schema::new(&spec.parameters)?;
        Ok(Self { spec, schema, idempotent, timeout })
    }
}

/// One call of a tool outside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Invocation {
    /// The tool.
    pub tool: String,
    /// JSON text of an object.
    pub arguments: String,
    /// Whose call.
    pub agent_id: String,
    /// In which run.
    pub run_id: String,
    /// The model's id for it.
    pub call_id: String,
    /// The same for the same call, however often it is made.
    pub idempotency_key: String,
}

/// How a call ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToolOutcome {
    /// What the model gets to read.
    pub text: String,
    /// Whether it succeeded.
    pub ok: bool,
}

impl ToolOutcome {
    /// A success.
    pub fn ok(text: impl Into<String>) -> Self {
        Self { text: text.into(), ok: true }
    }

    /// A failure, in words for the model.
    pub fn failed(text: impl Into<String>) -> Self {
        Self { text: text.into(), ok: false }
    }

    /// With a text that is not longer than a model should read.
    pub fn bounded(mut self) -> Self {
        if self.text.len() > RESULT_BYTES_MAX {
            let cut = self.text.floor_char_boundary(RESULT_BYTES_MAX);
            self.text.truncate(cut);
            self.text.push_str(&format!("\n[cut here: the result is longer than {RESULT_BYTES_MAX} bytes]"));
        }
        self
    }
}

/// Carries out tools outside of the process.
pub trait ToolRunner: Send + Sync {
    /// The tools on offer, by name.
    fn tools(&self) -> Vec<OutsideTool>;

    /// Makes one call and waits for its end, within the tool's time. A result that is not
    /// known (a time-out after the call was sent) is a failure whose words say so.
    fn run(&self, invocation: Invocation) -> BoxFuture<'static, ToolOutcome>;
}

/// Several runners as one: each carries out what it offers.
pub struct Runners(pub Vec<Box<dyn ToolRunner>>);

impl ToolRunner for Runners {
    fn tools(&self) -> Vec<OutsideTool> {
        self.0.iter().flat_map(|runner| runner.tools()).collect()
    }

    fn run(&self, invocation: Invocation) -> BoxFuture<'static, ToolOutcome> {
        for runner in &self.0 {
            if runner.tools().iter().any(|tool| tool.spec.name == invocation.tool) {
                return runner.run(invocation);
            }
        }
        NoTools.run(invocation)
    }
}

/// No tools outside.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoTools;

impl ToolRunner for NoTools {
    fn tools(&self) -> Vec<OutsideTool> {
        Vec::new()
    }

    fn run(&self, invocation: Invocation) -> BoxFuture<'static, ToolOutcome> {
        let text = format!("there is no tool {}", invocation.tool);
        Box::pin(std::future::ready(ToolOutcome::failed(text)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_result_is_cut_between_characters_and_says_so() {
        let text = ToolOutcome::ok("ä".repeat(RESULT_BYTES_MAX)).bounded().text;
        assert!(
            text.starts_with("ää") && text.ends_with("ä\n[cut here: the result is longer than 50000 bytes]")
        );
        assert_eq!(ToolOutcome::ok("short").bounded(), ToolOutcome::ok("short"));
    }
}
