//! From a provider's deltas to pieces of messages, as they will be shown.
//!
//! What an agent says stands in the arguments of `send_message`, as a JSON string in the
//! making: it is read as far as it has come, so that people see words and not JSON.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::hub::{Channel, Piece};
use crate::message::MessageBody;
use crate::provider::Delta;
use crate::show::{CALLS_MAX, PART_CALLS, PART_REASONING, PART_TEXT};
use crate::tool::builtin::BuiltIn;

/// Turns deltas of one attempt into pieces.
pub(crate) struct Pieces {
    channel: Arc<Channel>,
    position: u64,
    index: u64,
    calls: BTreeMap<usize, Making>,
    /// Tools whose calls are shown only once they are recorded.
    held: BTreeSet<String>,
}

/// A call in the making.
enum Making {
    /// The agent speaks: the arguments so far, and how much of the speech was handed out.
    Speech { arguments: String, shown: usize },
    /// Another tool.
    Call { id: String, name: String },
    /// One whose calls are held back.
    Held,
}

impl Pieces {
    /// Pieces of the answer that will stand at `position`.
    pub(crate) fn new(channel: Arc<Channel>, position: u64, held: BTreeSet<String>) -> Self {
        Self { channel, position, index: 0, calls: BTreeMap::new(), held }
    }

    /// Takes the next delta.
    pub(crate) fn take(&mut self, delta: Delta) {
        match delta {
            Delta::Text(text) => self.push(Some((PART_TEXT, MessageBody::Assistant { text }))),
            Delta::Reasoning(text) => self.push(Some((PART_REASONING, MessageBody::Reasoning { text }))),
            Delta::Restart => {
                self.calls.clear();
                self.push(None);
            }
            Delta::ToolCall { index, id, name, arguments_part } if index < CALLS_MAX => {
                self.call(index, id, name, &arguments_part);
            }
            Delta::ToolCall { .. } => {}
        }
    }

    fn call(&mut self, index: usize, id: String, name: String, arguments_part: &str) {
        let part = PART_CALLS + u8::try_from(index).expect("below CALLS_MAX");
        let making = self.calls.entry(index).or_insert_with(|| {
            if self.held.contains(&name) {
                Making::Held
            } else if name == BuiltIn::SendMessage.name() {
                Making::Speech { arguments: String::new(), shown: 0 }
            } else {
                Making::Call { id, name }
            }
        });
        let body = match making {
            Making::Held => None,
            Making::Call { id, name } => Some(MessageBody::ToolCall {
                call_id: id.clone(),
                name: name.clone(),
                arguments: arguments_part.to_owned(),
            }),
            Making::Speech { arguments, shown } => {
                arguments.push_str(arguments_part);
                let said = said_so_far(arguments);
                let new = said.get(*shown..).unwrap_or_default().to_owned();
                *shown = said.len().max(*shown);
                (!new.is_empty()).then_some(MessageBody::Assistant { text: new })
            }
        };
        if let Some(body) = body {
            self.push(Some((part, body)));
        }
    }

    fn push(&mut self, body: Option<(u8, MessageBody)>) {
        self.channel.push(Piece { position: self.position, index: self.index, body });
        self.index += 1;
    }
}

/// What the arguments of `send_message` say so far. Only an object whose first member is
/// `message` is read while it is being made; any other shows when it is whole.
fn said_so_far(arguments: &str) -> String {
    let inside = arguments
        .trim_start()
        .strip_prefix('{')
        .and_then(|rest| rest.trim_start().strip_prefix("\"message\""))
        .and_then(|rest| rest.trim_start().strip_prefix(':'))
        .and_then(|rest| rest.trim_start().strip_prefix('"'));
    inside.map(unescaped).unwrap_or_default()
}

/// The text of a JSON string that may end at any byte; an escape that is not whole yet is left.
fn unescaped(inside: &str) -> String {
    let mut whole = 0;
    let mut bytes = inside.bytes().enumerate();
    while let Some((at, byte)) = bytes.next() {
        match byte {
            b'"' => break,
            b'\\' => {
                let length = match inside.as_bytes().get(at + 1) {
                    Some(b'u') => 6,
                    Some(_) => 2,
                    None => break,
                };
                if at + length > inside.len() {
                    break;
                }
                bytes.by_ref().take(length - 1).for_each(|_| {});
                whole = at + length;
            }
            _ => whole = at + 1,
        }
    }
    let parse = |end: usize| serde_json::from_str::<String>(&format!("\"{}\"", inside.get(..end)?)).ok();
    // The first half of a surrogate pair is no text yet: without it, there is some.
    parse(whole).or_else(|| parse(whole.checked_sub(6)?)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn speech_shows_as_it_is_made_wherever_the_arguments_are_cut() {
        let text = "Grüße, \"Kai\"!\n\u{1F375} tea\\";
        let arguments =
            serde_json::json!({ "message": text }).to_string().replace('\u{1F375}', "\\ud83c\\udf75");
        let mut longest = 0;
        for end in (0..=arguments.len()).filter(|end| arguments.is_char_boundary(*end)) {
            let said = said_so_far(&arguments[..end]);
            assert!(text.starts_with(&said), "{said:?} after {:?}", &arguments[..end]);
            assert!(said.len() >= longest, "what was shown is taken back");
            longest = said.len();
        }
        assert_eq!(longest, text.len());
        assert_eq!(said_so_far(r#"{"other": 1, "message": "x"}"#), "");
    }

    #[test]
    fn pieces_carry_the_part_that_their_message_will_be() {
        let channel = Arc::new(Channel::default());
        let mut pieces = Pieces::new(channel.clone(), 7, BTreeSet::new());
        let call = |index, id: &str, name: &str, part: &str| Delta::ToolCall {
            index,
            id: id.into(),
            name: name.into(),
            arguments_part: part.into(),
        };
        pieces.take(Delta::Reasoning("hm".into()));
        pieces.take(call(0, "a", "send_message", ""));
        pieces.take(call(0, "", "", "{\"message\": \"he"));
        pieces.take(call(0, "", "", "llo\"}"));
        pieces.take(call(1, "b", "now", "{}"));
        pieces.take(Delta::Restart);
        let got: Vec<String> =
            channel.news(0).pieces.iter().map(|piece| format!("{:?}", piece.body)).collect();
        insta::assert_snapshot!(got.join("\n"), @r#"
        Some((0, Reasoning { text: "hm" }))
        Some((2, Assistant { text: "he" }))
        Some((2, Assistant { text: "llo" }))
        Some((3, ToolCall { call_id: "b", name: "now", arguments: "{}" }))
        None
        "#);
    }
}
