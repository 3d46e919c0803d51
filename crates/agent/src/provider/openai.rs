//! OpenAI Chat Completions, and the many servers that speak it: Ollama, vLLM, llama-server,
//! OpenRouter.

mod answer;
mod body;

use super::ModelRequest;
use super::secret::Secret;
use super::wire::{Header, Reader, Wire};

pub(super) const PROVIDER: &str = "openai";
/// Where it is when nobody says otherwise.
pub(super) const BASE_URL: &str = "https://api.openai.com/v1";
/// Good with tools and of low price.
const USUAL_MODEL: &str = "gpt-4.1-mini";

/// The protocol, with the key to use.
#[derive(Debug)]
pub(super) struct Chat {
    /// Servers on one's own machine need none.
    pub(super) key: Option<Secret>,
    /// Whether this is OpenAI's own service: a few names differ elsewhere.
    pub(super) own_service: bool,
}

impl Wire for Chat {
    fn provider(&self) -> &'static str {
        PROVIDER
    }

    fn headers(&self) -> Vec<Header> {
        let bearer = |key: &Secret| format!("Bearer {}", key.expose());
        let key = self.key.iter();
        key.map(|key| Header { name: "authorization", value: bearer(key), secret: true }).collect()
    }

    fn ask_path(&self) -> &'static str {
        "/chat/completions"
    }

    fn body(&self, name: &str, request: &ModelRequest) -> String {
        body::render(name, request, self.own_service)
    }

    fn reader(&self, name: &str, request: &ModelRequest) -> Box<dyn Reader> {
        Box::new(answer::Chunks::new(name, request))
    }

    fn models_path(&self) -> &'static str {
        "/models"
    }

    fn usual_model(&self) -> Option<&'static str> {
        self.own_service.then_some(USUAL_MODEL)
    }
}

#[cfg(test)]
mod tests;
