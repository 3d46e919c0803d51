//! The agent as an actor: runs, tools and model providers.

mod actor;
pub mod archive;
pub mod budget;
pub mod conversation;
mod date;
pub mod error;
pub mod event;
mod follow;
pub mod format;
pub mod http_client;
mod hub;
pub mod message;
pub mod models;
pub mod outcome;
mod pieces;
pub mod price;
mod prompt;
pub mod provider;
pub mod query;
pub mod record;
pub mod replay;
pub mod rules;
pub mod schedule;
pub mod service;
mod show;
pub mod tool;
