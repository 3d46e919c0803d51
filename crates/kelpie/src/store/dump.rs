//! `kelpie store dump`: rows as lines.

use bytes::Bytes;
use kelpie_core::row::readable;
use kelpie_env::Env;
use serde_json::json;

use super::hex;
use super::source::{More, Source};
use crate::args::DumpArgs;
use crate::exit::{Exit, Failure};
use crate::say;

/// Bytes of a value that are shown when it is not shown as a whole.
const VALUE_BYTES: usize = 32;

pub(super) async fn run(args: DumpArgs, store: &str, json: bool, env: Env) -> Result<Exit, Failure> {
    let DumpArgs { prefix, limit, full, running } = args;
    let mut left = limit.unwrap_or(u64::MAX);
    let source = Source::open(store, running, &env).await?;
    let shown = source.rows(|key, value| {
        let text = readable(key);
        if left > 0 && text.starts_with(&prefix) {
            say::line(line(&text, key, value, full, json))?;
            left -= 1;
        }
        Ok(if left == 0 { More::No } else { More::Yes })
    });
    shown.await?;
    Ok(Exit::Success)
}

fn line(text: &str, key: &Bytes, value: &Bytes, full: bool, json: bool) -> String {
    let shown = if full { value.len() } else { value.len().min(VALUE_BYTES) };
    let (begin, is_cut) = (hex(&value[..shown]), shown < value.len());
    if json {
        return json!({ "key": text, "key_hex": hex(key), "bytes": value.len(), "value_hex": begin,
            "cut": is_cut })
        .to_string();
    }
    format!("{text}  {} B  {begin}{}", value.len(), if is_cut { "…" } else { "" })
}
