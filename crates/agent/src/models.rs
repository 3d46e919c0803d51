//! The models that agents may ask, whichever provider serves them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use kelpie_env::Env;
use parking_lot::Mutex;

use crate::provider::{
    Awaited, DeltaSink, ModelAnswer, ModelError, ModelInfo, ModelRequest, Provider, Scripted, first_model,
};

/// How long a provider may take to list its models: the list is a convenience.
const LIST_TIME_MAX: Duration = Duration::from_secs(5);

/// All providers of this process, in order of preference. Prints no keys.
pub struct Models {
    env: Env,
    providers: Vec<Arc<dyn Provider>>,
    /// What an agent asks whose creator names no model.
    default: Mutex<Option<String>>,
    /// What the providers last said about their models.
    known: Mutex<BTreeMap<String, ModelInfo>>,
}

/// The models of one provider, or why they cannot be told.
#[derive(Debug, Clone)]
pub struct Listing {
    /// The provider.
    pub provider: String,
    /// Its models.
    pub models: Result<Vec<ModelInfo>, ModelError>,
}

impl Models {
    /// Joins providers. The default model is `chosen`, else what the first of them usually
    /// takes.
    pub fn new(env: Env, providers: Vec<Arc<dyn Provider>>, chosen: Option<String>) -> Self {
        Self { env, providers, default: Mutex::new(chosen), known: Mutex::default() }
    }

    /// Asks all providers side by side what they have, each with its own outcome. One that
    /// does not answer in time has timed out.
    pub async fn listings(&self) -> Vec<Listing> {
        let listings = self.providers.iter().map(|provider| async {
            let listed = self.env.timeout(LIST_TIME_MAX, provider.models()).await;
            let late = |_| Err(ModelError::TimedOut { what: Awaited::Finish, limit: LIST_TIME_MAX });
            Listing { provider: provider.name().to_owned(), models: listed.unwrap_or_else(late) }
        });
        futures::future::join_all(listings).await
    }

    /// All models that there are now. A provider that does not tell has none.
    pub async fn list(&self) -> Vec<ModelInfo> {
        let mut models: Vec<ModelInfo> = Vec::new();
        for Listing { provider, models: listed } in self.listings().await {
            match listed {
                Ok(listed) => models.extend(listed),
                Err(error) => tracing::warn!(provider, %error, "the provider does not list its models"),
            }
        }
        self.known.lock().extend(models.iter().map(|model| (model.handle.clone(), model.clone())));
        models
    }

    /// The default model's handle, found out now if it is not known yet: the usual one of the
    /// preferred provider.
    pub async fn default_model(&self) -> Result<String, ModelError> {
        if let Some(handle) = self.default_handle() {
            return Ok(handle);
        }
        let Some(provider) = self.providers.first() else { return first_model(Vec::new()) };
        let usual = self.env.timeout(LIST_TIME_MAX, provider.usual_model()).await;
        let late = |_| Err(ModelError::TimedOut { what: Awaited::Finish, limit: LIST_TIME_MAX });
        let usual = usual.unwrap_or_else(late)?;
        Ok(self.default.lock().get_or_insert(usual).clone())
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

    /// Whether there is any model but the scripted one.
    pub fn has_real_model(&self) -> bool {
        self.providers.iter().any(|provider| provider.name() != Scripted.name())
    }

    /// The names of all providers, in order of preference.
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
                message: format!(
                    "a handle is provider/name, and the providers are {}",
                    self.provider_names().join(", ")
                ),
            }),
        }
    }

    fn provider(&self, handle: &str) -> Option<&Arc<dyn Provider>> {
        let (name, model) = handle.split_once('/')?;
        self.providers.iter().find(|provider| provider.name() == name && !model.is_empty())
    }
}

impl std::fmt::Debug for Models {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (providers, default) = (self.provider_names(), self.default_handle());
        f.debug_struct("Models")
            .field("providers", &providers)
            .field("default", &default)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use futures::FutureExt;
    use futures::future::BoxFuture;
    use kelpie_env::sim::Sim;

    use super::*;

    /// A provider that is away until it is here.
    struct Local {
        here: AtomicBool,
    }

    impl Provider for Local {
        fn name(&self) -> &str {
            "local"
        }

        fn models(&self) -> BoxFuture<'_, Result<Vec<ModelInfo>, ModelError>> {
            let info = ModelInfo {
                handle: "local/small".into(),
                provider: "local".into(),
                name: "small".into(),
                context_window: Some(4_096),
            };
            let away = ModelError::Unavailable { status: None, retry_after: None, message: "refused".into() };
            let listed = if self.here.load(Ordering::Relaxed) { Ok(vec![info]) } else { Err(away) };
            std::future::ready(listed).boxed()
        }

        fn complete<'a>(
            &'a self,
            _request: &'a ModelRequest,
            _deltas: DeltaSink<'a>,
        ) -> BoxFuture<'a, Result<ModelAnswer, ModelError>> {
            unreachable!("nobody asks")
        }
    }

    #[test]
    fn the_script_does_not_stand_in_for_a_provider_that_is_away() {
        let sim = Sim::new(1);
        let env = sim.node("n1").env();
        sim.block_on(async {
            let local = Arc::new(Local { here: AtomicBool::new(false) });
            let models = Models::new(env, vec![local.clone(), Arc::new(Scripted)], None);
            let listed: Vec<String> = models.list().await.into_iter().map(|model| model.handle).collect();
            assert_eq!(listed, ["offline/scripted"]);
            models.default_model().await.unwrap_err();
            assert_eq!(models.default_handle(), None);
            local.here.store(true, Ordering::Relaxed);
            assert_eq!(models.default_model().await.unwrap(), "local/small");
            models.list().await;
            assert_eq!(models.context_window("local/small"), Some(4_096));
            assert_eq!(models.default_handle().as_deref(), Some("local/small"));
        });
    }
}
