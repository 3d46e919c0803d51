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
    lines(&stats)?.into_iter().try_for_each(say::line)?;
    Ok(Exit::Success)
}

/// For people. What lacks a part is told, and not shown as nothing.
fn lines(stats: &Value) -> Result<Vec<String>, Failure> {
    let strange = |what: &str| {
        Failure::new(Exit::Failed, format!("{what}: {stats}"))
            .hint("the server is of another version: use the kelpie that it was started with")
    };
    let fields = stats.as_object().ok_or_else(|| strange("these are no figures of a store"))?;
    let mut lines = Vec::new();
    for (name, value) in fields.iter().filter(|(name, _)| *name != "files") {
        let value = match value.as_object() {
            Some(parts) => {
                let parts = parts.iter().map(|(part, value)| format!("{part} {value}"));
                parts.map(|part| part.replace('_', " ")).collect::<Vec<_>>().join(", ")
            }
            None => shown(name, value),
        };
        lines.push(format!("{:<20}{value}", name.replace('_', " ")));
    }
    let Some(files) = fields.get("files") else { return Ok(lines) };
    for file in files.as_array().ok_or_else(|| strange("these are no files of a store"))? {
        let (Some(name), Some(bytes)) = (file["name"].as_str(), file["bytes"].as_u64()) else {
            return Err(strange("a file lacks its name or its size"));
        };
        lines.push(format!("{name:<32}{:>12}", size(bytes)));
    }
    Ok(lines)
}

fn shown(name: &str, value: &Value) -> String {
    match (value.as_u64(), value.as_str()) {
        (Some(bytes), _) if name.ends_with("_bytes") => size(bytes),
        (_, Some(text)) => text.to_owned(),
        _ => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn files_are_shown_with_name_and_size() {
        let stats = json!({ "backend": "embedded", "log_bytes": 2048, "commit_times": { "p50_us": 7 },
            "files": [{ "name": "base.redb", "bytes": 5 << 20 }] });
        let shown = lines(&stats).expect("nothing is missing");
        assert_eq!(
            shown.iter().filter(|line| line.starts_with("base.redb") && line.ends_with("5 MiB")).count(),
            1
        );
        for line in
            ["backend             embedded", "log bytes           2 KiB", "commit times        p50 us 7"]
        {
            assert!(shown.iter().any(|shown| shown == line), "{shown:?}");
        }
    }

    #[test]
    fn what_lacks_a_part_is_refused() {
        for (stats, said) in [
            (json!({ "files": [{ "name": "base.redb" }] }), "name or its size"),
            (json!({ "files": [{ "bytes": 5 }] }), "name or its size"),
            (json!({ "files": [{ "name": "base.redb", "bytes": "many" }] }), "name or its size"),
            (json!({ "files": 5 }), "no files"),
            (json!([]), "no figures"),
        ] {
            let refused = lines(&stats).expect_err("a part is missing");
            assert!(refused.message().contains(said), "{stats}: {refused:?}");
        }
    }
}
