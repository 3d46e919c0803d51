//! An answer's events as text, piece by piece.

use crate::client::Event;
use crate::say;

/// Characters of a tool's answer that are shown.
const ANSWER_CHARS: usize = 200;

/// What the open line holds.
#[derive(Debug, PartialEq, Eq)]
enum Open {
    Says(String),
    Thinks(String),
    Calls(String),
}

/// Turns events into the text to print next; keeps one line open while its pieces come.
#[derive(Debug)]
pub(super) struct Printer {
    colours: bool,
    /// One object per event, for scripts.
    json: bool,
    open: Option<Open>,
    showed: bool,
}

impl Printer {
    pub(super) fn new(colours: bool, json: bool) -> Self {
        Self { colours, json, open: None, showed: false }
    }

    /// Whether anything was printed.
    pub(super) fn showed_something(&self) -> bool {
        self.showed
    }

    /// The text that this event adds.
    pub(super) fn show(&mut self, event: &Event) -> String {
        let text = if self.json { as_json(event) } else { self.as_text(event) };
        self.showed |= !text.is_empty();
        text
    }

    /// Something that the chat itself has to say.
    pub(super) fn note(&mut self, text: &str) -> String {
        if self.json {
            return format!("{}\n", serde_json::json!({ "event": "note", "text": text }));
        }
        format!("{}[{text}]\n", self.end())
    }

    fn as_text(&mut self, event: &Event) -> String {
        match event {
            Event::Says { id, piece } => self.continued(Open::Says(id.clone()), "", piece),
            Event::Thinks { id, piece } => self.continued(Open::Thinks(id.clone()), "  ~ ", piece),
            Event::Calls { id, tool, arguments } => {
                self.continued(Open::Calls(id.clone()), &format!("  * {tool} "), arguments)
            }
            Event::Returned { tool, answer, ok, .. } => {
                let said = if *ok { "answered" } else { "failed" };
                let answer = say::brief(answer, ANSWER_CHARS);
                format!("{}{}\n", self.end(), self.dim(&format!("  * {tool} {said}: {answer}")))
            }
            Event::Error { message } => format!("{}[the turn failed: {message}]\n", self.end()),
            Event::Stopped { reason } if reason != "end_turn" => {
                format!("{}[stopped: {reason}]\n", self.end())
            }
            Event::Stopped { .. } => self.end(),
            Event::Ping | Event::Other => String::new(),
        }
    }

    /// Closes the open line, if there is one.
    pub(super) fn end(&mut self) -> String {
        if self.open.take().is_some() { "\n".to_owned() } else { String::new() }
    }

    fn continued(&mut self, line: Open, lead: &str, piece: &str) -> String {
        let dim = !matches!(line, Open::Says(_));
        let text = if self.open.as_ref() == Some(&line) {
            piece.to_owned()
        } else {
            let end = self.end();
            self.open = Some(line);
            return if dim {
                end + &self.dim(&format!("{lead}{piece}"))
            } else {
                format!("{end}{lead}{piece}")
            };
        };
        if dim { self.dim(&text) } else { text }
    }

    fn dim(&self, text: &str) -> String {
        if self.colours { format!("\x1b[2m{text}\x1b[0m") } else { text.to_owned() }
    }
}

fn as_json(event: &Event) -> String {
    match event {
        Event::Ping | Event::Other => String::new(),
        Event::Says { .. }
        | Event::Thinks { .. }
        | Event::Calls { .. }
        | Event::Returned { .. }
        | Event::Stopped { .. }
        | Event::Error { .. } => {
            format!("{}\n", serde_json::to_value(event).expect("an event of texts is JSON"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_of_one_message_make_one_line() {
        let mut printer = Printer::new(false, false);
        let says = |piece: &str| Event::Says { id: "m1".into(), piece: piece.into() };
        let calls =
            |piece: &str| Event::Calls { id: "c1".into(), tool: "tea".into(), arguments: piece.into() };
        let returned =
            Event::Returned { id: "c1".into(), tool: "tea".into(), answer: "hot\n tea".into(), ok: true };
        let events = [calls("{\"a\""), calls(":1}"), returned, says("Here "), says("you are."), Event::Other];
        let mut text: String = events.iter().map(|event| printer.show(event)).collect();
        text += &printer.show(&Event::Stopped { reason: "end_turn".into() });
        assert_eq!(text, "  * tea {\"a\":1}\n  * tea answered: hot tea\nHere you are.\n");
    }
}
