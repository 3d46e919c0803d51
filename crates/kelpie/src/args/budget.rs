//! What can be said about money.

use std::path::PathBuf;

use clap::Args;
use kelpie_agent::budget::Budget;

#[derive(Debug, Args)]
pub(crate) struct BudgetArgs {
    /// What models cost (JSON: model, and micro-dollars per million tokens as input, cached, output)
    #[arg(long, value_name = "FILE", env = "KELPIE_PRICES")]
    pub(crate) prices: Option<PathBuf>,
    /// Tokens that all agents of a tenant may use in a day (UTC), prompts and answers together
    #[arg(long, value_name = "N", env = "KELPIE_TENANT_TOKENS_PER_DAY")]
    tenant_tokens_per_day: Option<u64>,
    /// Answers of models that all agents of a tenant may have in a day
    #[arg(long, value_name = "N", env = "KELPIE_TENANT_STEPS_PER_DAY")]
    tenant_steps_per_day: Option<u64>,
    /// Millionths of a dollar that all agents of a tenant may cost in a day; needs --prices
    #[arg(long, value_name = "N", env = "KELPIE_TENANT_MICRODOLLARS_PER_DAY")]
    tenant_microdollars_per_day: Option<u64>,
}

impl BudgetArgs {
    /// What all agents of a tenant may use up together.
    pub(crate) fn tenant(&self) -> Budget {
        Budget {
            tokens_per_day: self.tenant_tokens_per_day,
            steps_per_day: self.tenant_steps_per_day,
            microdollars_per_day: self.tenant_microdollars_per_day,
        }
    }
}
