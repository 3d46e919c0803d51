//! All providers of a process, found from its variables.

use std::sync::Arc;

use kelpie_env::Env;
use reqwest::Url;

use super::anthropic::{self, Messages};
use super::openai::{self, Chat};
use super::patience::Patience;
use super::remote::Remote;
use super::secret::Secret;
use super::wire::Wire;
use super::{DeltaSink, ModelAnswer, ModelError, ModelInfo, ModelRequest, Provider, Scripted};

/// The variables that decide which models there are.
pub const VARIABLES: [&str; 5] =
    [ANTHROPIC_API_KEY, ANTHROPIC_BASE_URL, OPENAI_API_KEY, OPENAI_BASE_URL, KELPIE_MODEL];

const ANTHROPIC_API_KEY: &str = "ANTHROPIC_API_KEY";
const ANTHROPIC_BASE_URL: &str = "ANTHROPIC_BASE_URL";
const OPENAI_API_KEY: &str = "OPENAI_API_KEY";
const OPENAI_BASE_URL: &str = "OPENAI_BASE_URL";
const KELPIE_MODEL: &str = "KELPIE_MODEL";

/// A variable has a value that cannot be used. Keys are not repeated.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProvidersError {
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
    /// The model chosen is of a provider that is not set up.
    #[error("KELPIE_MODEL is {handle:?}, but there are only models of: {}", providers.join(", "))]
    UnknownModel {
        /// What was chosen.
        handle: String,
        /// What there is.
        providers: Vec<String>,
    },
}

/// The models of one provider, or why they cannot be told.
#[derive(Debug, Clone)]
pub struct Listing {
    /// The provider.
    pub provider: String,
    /// Its models.
    pub models: Result<Vec<ModelInfo>, ModelError>,
}

/// All providers, in order of preference. Cheap to clone; prints no keys.
#[derive(Clone)]
pub struct Providers {
    providers: Vec<Arc<dyn Provider>>,
    chosen: Option<String>,
}

impl Providers {
    /// Only the scripted model.
    pub fn offline() -> Self {
        Self { providers: vec![Arc::new(Scripted)], chosen: None }
    }

    /// What the variables tell, and the scripted model last. `lookup` gives a variable's
    /// value; empty ones count as absent. Connects to nobody.
    pub fn from_variables(
        env: &Env,
        patience: Patience,
        lookup: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, ProvidersError> {
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
            let wire = Chat { key: key.clone(), own_service };
            providers.push(remote(env, &patience, variable, &base, key, Box::new(wire))?);
        }
        providers.push(Arc::new(Scripted));
        let found = Self { providers, chosen: value(KELPIE_MODEL) };
        match &found.chosen {
            Some(handle) if found.provider_of(handle).is_none() => {
                Err(ProvidersError::UnknownModel { handle: handle.clone(), providers: found.names() })
            }
            Some(_) | None => Ok(found),
        }
    }

    /// The same with one more provider, which is preferred and replaces one of its name.
    #[must_use]
    pub fn with(mut self, provider: Arc<dyn Provider>) -> Self {
        self.providers.retain(|known| known.name() != provider.name());
        self.providers.insert(0, provider);
        self
    }

    /// The providers themselves, in order of preference.
    pub fn all(&self) -> Vec<Arc<dyn Provider>> {
        self.providers.clone()
    }

    /// The providers' names, in order of preference.
    pub fn names(&self) -> Vec<String> {
        self.providers.iter().map(|provider| provider.name().to_owned()).collect()
    }

    /// Whether there is any model but the scripted one.
    pub fn has_real_model(&self) -> bool {
        self.providers.iter().any(|provider| provider.name() != Scripted.name())
    }

    /// All models of all providers, each provider with its own outcome.
    pub async fn models(&self) -> Vec<Listing> {
        let listings = self.providers.iter().map(|provider| async {
            Listing { provider: provider.name().to_owned(), models: provider.models().await }
        });
        futures::future::join_all(listings).await
    }

    /// The handle of the model to take when nobody chooses one: `KELPIE_MODEL`, else the usual
    /// one of the preferred provider.
    pub async fn default_model(&self) -> Result<String, ModelError> {
        match (&self.chosen, self.providers.first()) {
            (Some(handle), _) => Ok(handle.clone()),
            (None, Some(provider)) => provider.usual_model().await,
            (None, None) => Ok(Scripted::HANDLE.to_owned()),
        }
    }

    /// The provider of a handle.
    pub fn resolve(&self, handle: &str) -> Result<&Arc<dyn Provider>, ModelError> {
        self.provider_of(handle).ok_or_else(|| ModelError::NoSuchModel {
            model: handle.to_owned(),
            message: format!("a handle is provider/name, and the providers are {}", self.names().join(", ")),
        })
    }

    /// Asks the provider of the request's model.
    pub async fn complete(
        &self,
        request: &ModelRequest,
        deltas: DeltaSink<'_>,
    ) -> Result<ModelAnswer, ModelError> {
        self.resolve(&request.model)?.complete(request, deltas).await
    }

    fn provider_of(&self, handle: &str) -> Option<&Arc<dyn Provider>> {
        let (name, model) = handle.split_once('/')?;
        self.providers.iter().find(|provider| provider.name() == name && !model.is_empty())
    }
}

impl std::fmt::Debug for Providers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Providers").field("providers", &self.names()).field("chosen", &self.chosen).finish()
    }
}

fn parse(variable: &'static str, base: &str) -> Result<Url, ProvidersError> {
    let bad = |message: String| ProvidersError::BadUrl { variable, message };
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
) -> Result<Arc<dyn Provider>, ProvidersError> {
    let client = Remote::client(base, wire.as_ref(), patience)
        .map_err(|message| ProvidersError::Unusable { variable, message })?;
    let base = base.as_str().trim_end_matches('/').to_owned();
    Ok(Arc::new(Remote { env: env.clone(), client, base, key, patience: Arc::clone(patience), wire }))
}

#[cfg(test)]
mod tests;
