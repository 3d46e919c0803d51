//! The models of a process, found from its variables.

use std::sync::Arc;

use kelpie_env::Env;
use reqwest::Url;

use super::anthropic::{self, Messages};
use super::json_schema::JsonSchema;
use super::openai::{self, Chat};
use super::patience::Patience;
use super::patient::Patient;
use super::remote::Remote;
use super::secret::Secret;
use super::wire::Wire;
use super::{Provider, Scripted};
use crate::models::Models;

/// The variables that decide which models there are.
pub const VARIABLES: [&str; 6] =
    [ANTHROPIC_API_KEY, ANTHROPIC_BASE_URL, OPENAI_API_KEY, OPENAI_BASE_URL, OPENAI_TOOL_MODE, KELPIE_MODEL];

const ANTHROPIC_API_KEY: &str = "ANTHROPIC_API_KEY";
const ANTHROPIC_BASE_URL: &str = "ANTHROPIC_BASE_URL";
const OPENAI_API_KEY: &str = "OPENAI_API_KEY";
const OPENAI_BASE_URL: &str = "OPENAI_BASE_URL";
/// How models of that server call tools: by themselves, or held to a schema.
const OPENAI_TOOL_MODE: &str = "OPENAI_TOOL_MODE";
const KELPIE_MODEL: &str = "KELPIE_MODEL";

/// A variable has a value that cannot be used. Keys are not repeated.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VariablesError {
    /// It is no address of a server.
    #[error("{variable} is not an http:// or https:// address: {message}")]
    BadUrl {
        /// Which variable.
        variable: &'static str,
        /// What is wrong with it.
        message: String,
    },
    /// No connection could be prepared with it.
    #[error("the model provider of {variable} cannot be used: {message}")]
    Unusable {
        /// Which variable.
        variable: &'static str,
        /// Why.
        message: String,
    },
    /// It names no way of calling tools.
    #[error("OPENAI_TOOL_MODE is {mode:?}; it can be native or json_schema")]
    BadToolMode {
        /// What was chosen.
        mode: String,
    },
    /// The model chosen is of a provider that is not set up.
    #[error("KELPIE_MODEL is {handle:?}, but there are only models of: {}", providers.join(", "))]
    UnknownModel {
        /// What was chosen.
        handle: String,
        /// What there is.
        providers: Vec<String>,
    },
}

impl Models {
    /// What the variables tell, and the scripted model last. `lookup` gives a variable's
    /// value; empty ones count as absent. Connects to nobody.
    pub fn from_variables(
        env: &Env,
        patience: Patience,
        lookup: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, VariablesError> {
        let value = |name| Some(lookup(name)?.trim().to_owned()).filter(|value| !value.is_empty());
        let patience = Arc::new(patience);
        let mut providers: Vec<Arc<dyn Provider>> = vec![];
        if let Some(key) = value(ANTHROPIC_API_KEY).map(Secret::new) {
            let base = value(ANTHROPIC_BASE_URL);
            let base = base.as_deref().unwrap_or(anthropic::BASE_URL).trim_end_matches('/');
            // Both ways to write it are common; the paths bring their own version.
            let base = parse(ANTHROPIC_BASE_URL, base.strip_suffix("/v1").unwrap_or(base))?;
            let wire = Messages { key: key.clone() };
            providers.push(remote(env, &patience, ANTHROPIC_API_KEY, &base, Some(key), Box::new(wire))?);
        }
        let (key, base) = (value(OPENAI_API_KEY).map(Secret::new), value(OPENAI_BASE_URL));
        if key.is_some() || base.is_some() {
            let variable = if key.is_some() { OPENAI_API_KEY } else { OPENAI_BASE_URL };
            let base = parse(OPENAI_BASE_URL, base.as_deref().unwrap_or(openai::BASE_URL))?;
            let own_service = base.host_str().is_some_and(|host| host.ends_with("openai.com"));
            let chat = Chat { key: key.clone(), own_service };
            let wire: Box<dyn Wire> = match value(OPENAI_TOOL_MODE).as_deref() {
                None | Some("native") => Box::new(chat),
                Some("json_schema") => Box::new(JsonSchema(chat)),
                Some(mode) => return Err(VariablesError::BadToolMode { mode: mode.to_owned() }),
            };
            providers.push(remote(env, &patience, variable, &base, key, wire)?);
        }
        providers.push(Arc::new(Scripted));
        let chosen = value(KELPIE_MODEL);
        let found = Self::new(env.clone(), providers, chosen.clone());
        match chosen {
            Some(handle) if !found.serves(&handle) => {
                let providers = found.provider_names().iter().map(|&name| name.to_owned()).collect();
                Err(VariablesError::UnknownModel { handle, providers })
            }
            Some(_) | None => Ok(found),
        }
    }
}

fn parse(variable: &'static str, base: &str) -> Result<Url, VariablesError> {
    let bad = |message: String| VariablesError::BadUrl { variable, message };
    let url = Url::parse(base).map_err(|error| bad(error.to_string()))?;
    match url.scheme() {
        "http" | "https" => Ok(url),
        scheme => Err(bad(format!("it begins with {scheme}:"))),
    }
}

fn remote(
    env: &Env,
    patience: &Arc<Patience>,
    variable: &'static str,
    base: &Url,
    key: Option<Secret>,
    wire: Box<dyn Wire>,
) -> Result<Arc<dyn Provider>, VariablesError> {
    let client = Remote::client(base, wire.as_ref(), patience)
        .map_err(|message| VariablesError::Unusable { variable, message })?;
    let base = base.as_str().trim_end_matches('/').to_owned();
    let remote = Remote { env: env.clone(), client, base, key, patience: Arc::clone(patience), wire };
    Ok(Arc::new(Patient::new(env.clone(), Arc::clone(patience), remote)))
}

#[cfg(test)]
mod tests;
