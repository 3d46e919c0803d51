//! `kelpie store stats`: what a store holds and has done.

use kelpie_env::Env;
use serde_json::Value;

use super::size;
use super::source::Source;
use crate::args::Running;
use crate::exit::{Exit, Failure};
use crate::say;

pub(super) async fn run(running: Running, store: &str, json: bool, env: Env) -> Result<Exit, Failure> {
    let stats = Source::open(store, running, &env).await?.stats().await?;
    if json {
        say::json(&stats)?;
        return Ok(Exit::Success);
    }
    let fields = stats.as_object().into_iter().flatten().filter(|(name, _)| *name != "files");
    for (name, value) in fields {
        match value.as_object() {
            Some(parts) => {
                let parts = parts.iter().map(|(part, value)| format!("{part} {value}"));
                let parts: Vec<String> = parts.map(|part| part.replace('_', " ")).collect();
                say::line(format!("{:<20}{}", name.replace('_', " "), parts.join(", ")))?;
            }
            None => say::line(format!("{:<20}{}", name.replace('_', " "), shown(name, value)))?,
        }
    }
    for file in stats["files"].as_array().into_iter().flatten() {
        let (name, bytes) = (file["name"].as_str().unwrap_or_default(), file["bytes"].as_u64());
        say::line(format!("{name:<32}{:>12}", size(bytes.unwrap_or_default())))?;
    }
    Ok(Exit::Success)
}

fn shown(name: &str, value: &Value) -> String {
    match (value.as_u64(), value.as_str()) {
        (Some(bytes), _) if name.ends_with("_bytes") => size(bytes),
        (_, Some(text)) => text.to_owned(),
        _ => value.to_string(),
    }
}
