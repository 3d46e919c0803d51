//! Asks a provider again where that can help.

use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;
use kelpie_env::Env;

use super::error::Awaited;
use super::patience::{Attempts, Next, Patience};
use super::{Delta, DeltaSink, ModelAnswer, ModelError, ModelInfo, ModelRequest, Provider};

/// A provider whose `complete` is one attempt, asked as often as [`Patience`] allows. The
/// pieces of an attempt that failed are declared void before the next one begins.
#[derive(Debug)]
pub struct Patient<P> {
    env: Env,
    patience: Arc<Patience>,
    provider: P,
}

impl<P: Provider> Patient<P> {
    /// Asks `provider` with `patience`.
    pub fn new(env: Env, patience: Arc<Patience>, provider: P) -> Self {
        Self { env, patience, provider }
    }

    async fn ask(&self, request: &ModelRequest, deltas: DeltaSink<'_>) -> Result<ModelAnswer, ModelError> {
        let mut attempts = Attempts::new(&self.patience, self.env.now());
        loop {
            let mut streamed = false;
            let mut sink = |delta| {
                streamed = true;
                deltas(delta);
            };
            let limit = self.patience.answer;
            let outcome = match self.env.timeout(limit, self.provider.complete(request, &mut sink)).await {
                Ok(outcome) => outcome,
                Err(_) => Err(ModelError::TimedOut { what: Awaited::Finish, limit }),
            };
            self.count(outcome.as_ref().map_or_else(ModelError::code, |_| "ok"));
            let error = match outcome {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            let (code, shown) = (error.code(), error.to_string());
            match attempts.failed(self.env.now(), error, self.env.random_u64()) {
                Next::GiveUp(error) => return Err(error),
                Next::Again(pause) => {
                    let (model, attempt) = (&request.model, attempts.made());
                    tracing::warn!(model, attempt, code, ?pause, error = shown, "asking again");
                    self.env.sleep(pause).await;
                    if streamed {
                        deltas(Delta::Restart);
                    }
                }
            }
        }
    }

    /// Each attempt is counted by how it ended.
    fn count(&self, outcome: &'static str) {
        let provider = self.provider.name().to_owned();
        metrics::counter!("kelpie_model_attempts_total", "provider" => provider, "outcome" => outcome)
            .increment(1);
    }
}

impl<P: Provider> Provider for Patient<P> {
    fn name(&self) -> &str {
        self.provider.name()
    }

    fn models(&self) -> BoxFuture<'_, Result<Vec<ModelInfo>, ModelError>> {
        self.provider.models()
    }

    fn usual_model(&self) -> BoxFuture<'_, Result<String, ModelError>> {
        self.provider.usual_model()
    }

    fn complete<'a>(
        &'a self,
        request: &'a ModelRequest,
        deltas: DeltaSink<'a>,
    ) -> BoxFuture<'a, Result<ModelAnswer, ModelError>> {
        self.ask(request, deltas).boxed()
    }
}
