//! What models cost: a table of prices, and the cost of an answer.
//!
//! ```json
//! [{ "model": "anthropic/claude-sonnet-4-5", "input": 3000000, "cached": 300000, "output": 15000000 },
//!  { "model": "ollama/*", "input": 0, "cached": 0, "output": 0 }]
//! ```
//!
//! Prices are micro-dollars (millionths of a dollar) per million tokens, so that 3 dollars are
//! 3000000. `provider/*` stands for all models of a provider that have no line of their own.
//! Without a line a model has no price: what it costs is not known, which is not the same as
//! nothing.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::provider::Usage;

const TOKENS_OF_A_PRICE: u128 = 1_000_000;

/// What the tokens of a model cost, in micro-dollars per million.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Price {
    /// Of a prompt, read by the model for the first time.
    pub input: u64,
    /// Of a prompt, read from the provider's cache.
    pub cached: u64,
    /// Of an answer, its thoughts included.
    pub output: u64,
}

impl Price {
    /// What an answer cost in micro-dollars, rounded up: many small answers are not free.
    ///
    /// ```
    /// use kelpie_agent::price::Price;
    /// use kelpie_agent::provider::Usage;
    ///
    /// let price = Price { input: 3_000_000, cached: 300_000, output: 15_000_000 };
    /// let usage = Usage { input_tokens: 1_000, cached_tokens: 400, output_tokens: 10, ..Usage::default() };
    /// assert_eq!(price.of(usage), 600 * 3 + 400 * 3 / 10 + 10 * 15);
    /// ```
    pub fn of(self, usage: Usage) -> u64 {
        let cached = usage.cached_tokens.min(usage.input_tokens);
        let parts = [
            (usage.input_tokens - cached, self.input),
            (cached, self.cached),
            (usage.output_tokens, self.output),
        ];
        let cost = |(tokens, price): (u64, u64)| u128::from(tokens) * u128::from(price);
        let sum = parts.into_iter().map(cost).fold(0, u128::saturating_add);
        u64::try_from(sum.div_ceil(TOKENS_OF_A_PRICE)).unwrap_or(u64::MAX)
    }
}

/// The prices file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PricesFileError {
    /// It is not the JSON that it has to be.
    #[error("prices file: {0}")]
    Syntax(#[from] serde_json::Error),
    /// A line cannot be used.
    #[error("prices file, entry {entry}, field `model`: {model:?} {problem}")]
    Model {
        /// Which entry, from 1.
        entry: usize,
        /// What stands there.
        model: String,
        /// What is wrong with it.
        problem: &'static str,
    },
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    model: String,
    input: u64,
    cached: u64,
    output: u64,
}

/// The prices of models, by their handles.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Prices(BTreeMap<String, Price>);

impl Prices {
    /// Reads the prices file's text.
    ///
    /// ```
    /// use kelpie_agent::price::Prices;
    ///
    /// let prices = Prices::parse(r#"[{ "model": "ollama/*", "input": 0, "cached": 0, "output": 0 }]"#)?;
    /// assert!(prices.of("ollama/small").is_some() && prices.of("openai/gpt").is_none());
    /// # Ok::<(), kelpie_agent::price::PricesFileError>(())
    /// ```
    ///
    /// # Errors
    /// Where the text is not what it has to be.
    pub fn parse(text: &str) -> Result<Self, PricesFileError> {
        let lines: Vec<Line> = serde_json::from_str(text)?;
        let mut prices = BTreeMap::new();
        for (line, entry) in lines.into_iter().zip(1..) {
            let Line { model, input, cached, output } = line;
            let handle =
                model.split_once('/').filter(|(provider, name)| !provider.is_empty() && !name.is_empty());
            let problem = match handle {
                None => Some("is no handle: a handle is provider/name, or provider/* for all of a provider"),
                Some(_) if prices.contains_key(&model) => Some("comes twice"),
                Some(_) => None,
            };
            if let Some(problem) = problem {
                return Err(PricesFileError::Model { entry, model, problem });
            }
            prices.insert(model, Price { input, cached, output });
        }
        Ok(Self(prices))
    }

    /// The price of a model: its own, else its provider's.
    pub fn of(&self, handle: &str) -> Option<Price> {
        let provider = || self.0.get(&format!("{}/*", handle.split_once('/')?.0));
        self.0.get(handle).or_else(provider).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(text: &str) -> String {
        Prices::parse(text).expect_err("no prices").to_string()
    }

    #[test]
    fn a_model_s_own_price_comes_before_its_provider_s() {
        let text = r#"[{"model":"a/*","input":1,"cached":1,"output":1},{"model":"a/b","input":2,"cached":2,"output":2}]"#;
        let prices = Prices::parse(text).expect("prices");
        assert_eq!(prices.of("a/b").map(|price| price.input), Some(2));
        assert_eq!(prices.of("a/c").map(|price| price.input), Some(1));
        assert_eq!((prices.of("b/b"), prices.of("a")), (None, None));
    }

    #[test]
    fn what_cannot_be_a_price_is_refused_with_its_place() {
        let line = |model: &str| format!(r#"{{"model":"{model}","input":1,"cached":1,"output":1}}"#);
        assert!(
            problem(&format!("[{}]", line("gpt"))).contains("entry 1, field `model`: \"gpt\" is no handle")
        );
        assert!(
            problem(&format!("[{0},{0}]", line("a/b")))
                .contains("entry 2, field `model`: \"a/b\" comes twice")
        );
        assert!(problem(r#"[{"model":"a/b","input":1,"output":1}]"#).contains("cached"));
        assert!(problem(r#"[{"model":"a/b","input":-1,"cached":1,"output":1}]"#).contains("prices file: "));
    }

    #[test]
    fn a_part_of_a_micro_dollar_counts_as_a_whole_one_and_nothing_overflows() {
        let price = Price { input: 1, cached: 0, output: 0 };
        assert_eq!(price.of(Usage { input_tokens: 1, ..Usage::default() }), 1);
        assert_eq!(price.of(Usage::default()), 0);
        let dear = Price { input: u64::MAX, cached: 0, output: u64::MAX };
        let much = Usage { input_tokens: u64::MAX, output_tokens: u64::MAX, ..Usage::default() };
        assert_eq!(dear.of(much), u64::MAX);
        // A provider that counts more cached tokens than tokens.
        assert_eq!(price.of(Usage { input_tokens: 1, cached_tokens: 5, ..Usage::default() }), 0);
    }
}
