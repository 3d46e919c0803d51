//! The agent as an actor: runs, tools and model providers.

pub mod error;
pub mod event;
pub mod http_client;
pub mod message;
pub mod outcome;
pub mod provider;
pub mod query;
pub mod record;
pub mod tool;
