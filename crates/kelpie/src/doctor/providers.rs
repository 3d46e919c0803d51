//! Which models answer: each provider that the environment names is asked for its list.

use kelpie_agent::models::Listing;
use kelpie_env::Env;

use super::Check;
use crate::serve::models;

/// Models that are named.
const SHOWN: usize = 3;

pub(super) async fn checks(env: &Env) -> Vec<Check> {
    let models = match models(env) {
        Ok(models) => models,
        Err(failure) => return vec![Check::problem("models", failure.message())],
    };
    let mut checks: Vec<Check> = models.listings().await.iter().map(check).collect();
    if !models.has_real_model() {
        let hint = "set ANTHROPIC_API_KEY, OPENAI_API_KEY, or OPENAI_BASE_URL for a server of your own\n\
                    (Ollama: OPENAI_BASE_URL=http://127.0.0.1:11434/v1)";
        checks.push(Check::note("models", "none but the script: agents follow fixed rules").hint(hint));
    }
    checks
}

fn check(listing: &Listing) -> Check {
    match &listing.models {
        Ok(models) => {
            let named: Vec<&str> = models.iter().take(SHOWN).map(|model| model.handle.as_str()).collect();
            let more = models.len().saturating_sub(SHOWN);
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            Check::ok("models", format!("{}: {}{more}", listing.provider, named.join(", ")))
        }
        Err(error) => {
            Check::problem("models", format!("{} does not list its models: {error}", listing.provider))
        }
    }
}
