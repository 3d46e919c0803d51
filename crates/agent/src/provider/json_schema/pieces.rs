//! Pieces of an answer in the making, told from the JSON text as far as it was written.

use super::super::{Delta, DeltaSink};

/// The JSON text so far, and how much of it was told.
#[derive(Debug, Default)]
pub(super) struct Written {
    text: String,
    /// Bytes of the arguments, or of what is said, that were told.
    told: usize,
    /// Whether a call was told.
    begun: bool,
}

/// What the beginning of the text says.
enum Head<'a> {
    Call { name: &'a str, arguments: &'a str },
    Say { quoted: &'a str },
}

impl Written {
    /// Takes more of the text; tells what it adds.
    pub(super) fn grew(&mut self, part: &str, id: &str, deltas: DeltaSink<'_>) {
        self.text.push_str(part);
        match head(&self.text) {
            Some(Head::Call { name, arguments }) => {
                let more = &arguments[self.told.min(arguments.len())..];
                if self.begun && more.is_empty() {
                    return;
                }
                let (id, name) = if self.begun { ("", "") } else { (id, name) };
                deltas(Delta::ToolCall {
                    index: 0,
                    id: id.to_owned(),
                    name: name.to_owned(),
                    arguments_part: more.to_owned(),
                });
                self.told = arguments.len();
                self.begun = true;
            }
            Some(Head::Say { quoted }) => {
                let said = unquoted(quoted);
                if let Some(more) = said.get(self.told..).filter(|more| !more.is_empty()) {
                    deltas(Delta::Text(more.to_owned()));
                    self.told = said.len();
                }
            }
            None => {}
        }
    }

    /// The call that it makes, and its arguments as far as they were written.
    pub(super) fn call(&self) -> Option<(&str, &str)> {
        match head(&self.text)? {
            Head::Call { name, arguments } => Some((name, arguments)),
            Head::Say { .. } => None,
        }
    }
}

/// What the text begins with, once it has come that far.
fn head(text: &str) -> Option<Head<'_>> {
    let rest = after(text, "{")?;
    if let Some(rest) = after(rest, "\"say\"") {
        return Some(Head::Say { quoted: after(after(rest, ":")?, "\"")? });
    }
    let rest = after(after(after(rest, "\"call\"")?, ":")?, "\"")?;
    let (name, rest) = rest.split_once('"')?;
    let rest = after(after(after(rest, ",")?, "\"with\"")?, ":")?.trim_start();
    Some(Head::Call { name, arguments: &rest[..value_end(rest)] })
}

fn after<'a>(text: &'a str, mark: &str) -> Option<&'a str> {
    text.trim_start().strip_prefix(mark)
}

/// Where the object at the start of the text ends; where the text ends, if it comes first.
fn value_end(text: &str) -> usize {
    let (mut depth, mut quoted, mut escaped) = (0_usize, false, false);
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'{' | b'[' if !quoted => depth += 1,
            b'}' | b']' if !quoted => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    return at + 1;
                }
            }
            _ => {}
        }
    }
    text.len()
}

/// The text of a quoted string whose end may not have been written yet: what can be read of it.
fn unquoted(quoted: &str) -> String {
    let mut escaped = false;
    let end = quoted.bytes().position(|byte| {
        let ends = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        ends
    });
    let raw = &quoted[..end.unwrap_or(quoted.len())];
    // An escape that is cut off has at most 12 bytes: a pair of surrogates.
    let cuts = (raw.len().saturating_sub(12)..=raw.len()).rev().filter(|end| raw.is_char_boundary(*end));
    let mut read = cuts.filter_map(|end| serde_json::from_str(&format!("\"{}\"", &raw[..end])).ok());
    read.next().unwrap_or_default()
}
