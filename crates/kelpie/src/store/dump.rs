//! `kelpie store dump`: rows as lines.

use bytes::Bytes;
use futures::StreamExt;
use kelpie_core::row::readable;
use kelpie_env::Env;
use kelpie_storage::backup::{Decoder, Piece};
use serde_json::json;

use super::hex;
use super::source::{Source, decoded, not_whole};
use crate::args::DumpArgs;
use crate::exit::{Exit, Failure};
use crate::say;

/// Bytes of a value that are shown when it is not shown as a whole.
const VALUE_BYTES: usize = 32;

pub(super) async fn run(args: DumpArgs, store: &str, json: bool, env: Env) -> Result<Exit, Failure> {
    let DumpArgs { prefix, limit, full, running } = args;
    let mut left = limit.unwrap_or(u64::MAX);
    let source = Source::open(store, running, &env).await?;
    let mut pieces = source.backup().await?;
    let mut decoder = Decoder::default();
    while let Some(piece) = pieces.next().await {
        decoded(&mut decoder, &piece?, |piece| {
            let Piece::Rows(rows) = piece else { return Ok(()) };
            let shown = rows.iter().map(|(key, value)| (readable(key), key, value));
            let shown = shown.filter(|(text, ..)| text.starts_with(&prefix));
            for (text, key, value) in shown.take(usize::try_from(left).unwrap_or(usize::MAX)) {
                say::line(line(&text, key, value, full, json))?;
                left -= 1;
            }
            Ok(())
        })?;
        if left == 0 {
            return Ok(Exit::Success);
        }
    }
    decoder.finish().map_err(not_whole)?;
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
