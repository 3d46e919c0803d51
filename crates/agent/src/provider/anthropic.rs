//! Anthropic Messages.

mod answer;
mod body;

use super::ModelRequest;
use super::secret::Secret;
use super::wire::{Header, Reader, Wire};

pub(super) const PROVIDER: &str = "anthropic";
/// Where it is when nobody says otherwise.
pub(super) const BASE_URL: &str = "https://api.anthropic.com";
/// The protocol that these modules speak.
const VERSION: &str = "2023-06-01";
/// Good with tools and of middle price.
const USUAL_MODEL: &str = "claude-sonnet-4-5";

/// The protocol, with the key to use.
#[derive(Debug)]
pub(super) struct Messages {
    pub(super) key: Secret,
}

impl Wire for Messages {
    fn provider(&self) -> &'static str {
        PROVIDER
    }

    fn headers(&self) -> Vec<Header> {
        let version = Header { name: "anthropic-version", value: VERSION.to_owned(), secret: false };
        vec![version, Header { name: "x-api-key", value: self.key.expose().to_owned(), secret: true }]
    }

    fn ask_path(&self) -> &'static str {
        "/v1/messages"
    }

    fn body(&self, name: &str, request: &ModelRequest) -> String {
        body::render(name, request)
    }

    fn reader(&self, _: &str, request: &ModelRequest) -> Box<dyn Reader> {
        Box::new(answer::Events::new(request))
    }

    fn models_path(&self) -> &'static str {
        "/v1/models?limit=1000"
    }

    fn usual_model(&self) -> Option<&'static str> {
        Some(USUAL_MODEL)
    }
}

#[cfg(test)]
mod tests;
