//! The models that agents may ask, whichever provider serves them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use kelpie_env::Env;
use parking_lot::Mutex;

use crate::provider::{DeltaSink, ModelAnswer, ModelError, ModelInfo, ModelRequest, Provider};

/// How long a provider may take to list its models: the list is a convenience.
const LIST_TIME_MAX: Duration = Duration::from_secs(5);

/// All providers of this process, in order of preference.
pub struct Models {
    env: Env,
    providers: Vec<Arc<dyn Provider>>,
    /// What an agent asks whose creator names no model.
    default: Mutex<Option<String>>,
    /// What the providers last said about their models.
    known: Mutex<BTreeMap<String, ModelInfo>>,
}

impl Models {
    /// Joins providers; the first one's first model is the default one, unless `default` names
    /// another.
    pub fn new(env: Env, providers: Vec<Arc<dyn Provider>>, default: Option<String>) -> Self {
        Self { env, providers, default: Mutex::new(default), known: Mutex::default() }
    }

    /// Asks all providers what they have. One that does not answer in time has nothing.
    pub async fn list(&self) -> Vec<ModelInfo> {
        let lists = self.providers.iter().map(|provider| async {
            match self.env.timeout(LIST_TIME_MAX, provider.models()).await {
                Ok(Ok(models)) => models,
                Ok(Err(error)) => {
                    tracing::warn!(provider = provider.name(), %error, "the provider does not list its models");
                    Vec::new()
                }
                Err(elapsed) => {
                    tracing::warn!(provider = provider.name(), %elapsed, "the provider does not list its models");
                    Vec::new()
                }
            }
        });
        let models: Vec<ModelInfo> = futures::future::join_all(lists).await.into_iter().flatten().collect();
        let mut known = self.known.lock();
        known.extend(models.iter().map(|model| (model.handle.clone(), model.clone())));
        if let Some(first) = models.first() {
            self.default.lock().get_or_insert_with(|| first.handle.clone());
        }
        models
    }

    /// The default model's handle, once one is known.
    pub fn default_handle(&self) -> Option<String> {
        self.default.lock().clone()
    }

    /// How much a model can read, if its provider has said so.
    pub fn context_window(&self, handle: &str) -> Option<u32> {
        self.known.lock().get(handle).and_then(|model| model.context_window)
    }

    /// Whether there is a provider for this handle.
    pub fn serves(&self, handle: &str) -> bool {
        self.provider(handle).is_some()
    }

    /// The names of all providers.
    pub fn provider_names(&self) -> Vec<&str> {
        self.providers.iter().map(|provider| provider.name()).collect()
    }

    /// Asks the model that the request names.
    pub async fn complete(
        &self,
        request: &ModelRequest,
        deltas: DeltaSink<'_>,
    ) -> Result<ModelAnswer, ModelError> {
        match self.provider(&request.model) {
            Some(provider) => provider.complete(request, deltas).await,
            None => Err(ModelError::NoSuchModel {
                model: request.model.clone(),
                message: format!("providers here: {}", self.provider_names().join(", ")),
            }),
        }
    }

    fn provider(&self, handle: &str) -> Option<&Arc<dyn Provider>> {
        let (name, model) = handle.split_once('/')?;
        self.providers.iter().find(|provider| provider.name() == name && !model.is_empty())
    }
}
