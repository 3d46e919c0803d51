//! Models: between the wire and the domain.
//!
//! Clients check the kind of a provider against a closed list of names that are not ours to
//! extend. A provider that is on it keeps its name; others go by the wire format they speak.

use kelpie_agent::provider::ModelInfo;
use kelpie_agent::record::{CONTEXT_WINDOW_DEFAULT, ModelChoice};
use kelpie_api::model::{LlmConfig, Model};

/// The providers of ours that the clients' list has.
const KNOWN: [&str; 5] = ["anthropic", "openai", "ollama", "openrouter", "vllm"];

fn parts(handle: &str) -> (&str, &str) {
    handle.split_once('/').unwrap_or(("openai", handle))
}

fn kind(provider: &str) -> &'static str {
    KNOWN.into_iter().find(|known| *known == provider).unwrap_or("openai")
}

/// A model as clients see it.
pub(crate) fn model(info: &ModelInfo) -> Model {
    let provider = info.provider.as_str();
    let window = u64::from(info.context_window.unwrap_or(CONTEXT_WINDOW_DEFAULT));
    Model {
        handle: info.handle.clone(),
        name: info.name.clone(),
        model: info.name.clone(),
        display_name: info.handle.clone(),
        provider_type: kind(provider).to_owned(),
        provider_name: provider.to_owned(),
        provider_category: "base".to_owned(),
        model_endpoint_type: kind(provider).to_owned(),
        model_type: "llm".to_owned(),
        context_window: window,
        max_context_window: window,
    }
}

/// An agent's model in its older form.
pub(crate) fn config(choice: &ModelChoice) -> LlmConfig {
    let (provider, name) = parts(&choice.handle);
    LlmConfig {
        model: name.to_owned(),
        model_endpoint_type: kind(provider).to_owned(),
        context_window: u64::from(choice.context_window),
        handle: Some(choice.handle.clone()),
        provider_name: Some(provider.to_owned()),
    }
}
