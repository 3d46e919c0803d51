//! Which models answer: each provider that the environment names is asked for its list.

use std::time::Duration;

use kelpie_agent::provider::Listing;
use kelpie_env::Env;

use super::Check;
use crate::serve::providers;

/// How long a provider may take for its list.
const LIST_LIMIT: Duration = Duration::from_secs(8);
/// Models that are named.
const SHOWN: usize = 3;

pub(super) async fn checks(env: &Env) -> Vec<Check> {
    let providers = match providers(env) {
        Ok(providers) => providers,
        Err(failure) => return vec![Check::problem("models", failure.message())],
    };
    let listings = match env.timeout(LIST_LIMIT, providers.models()).await {
        Ok(listings) => listings,
        Err(elapsed) => {
            let says = format!("{} did not list their models: {elapsed}", providers.names().join(", "));
            return vec![Check::problem("models", says)];
        }
    };
    let mut checks: Vec<Check> = listings.iter().map(check).collect();
    if !providers.has_real_model() {
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
