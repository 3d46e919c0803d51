//! An actor's own error that cannot travel.

use kelpie::{AppError, Result, Turn, actor, handlers};
use serde::{Deserialize, Serialize};

#[derive(Debug)]
pub struct Full;

impl std::fmt::Display for Full {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("it is full")
    }
}

impl std::error::Error for Full {}

impl AppError for Full {}

#[actor(name = "counter", version = 1)]
#[derive(Default, Serialize, Deserialize)]
pub struct Counter {
    total: i64,
}

#[handlers]
impl Counter {
    pub async fn add(&mut self, _: &mut Turn) -> Result<(), Full> {
        Err(Full.into())
    }
}

fn main() {}
