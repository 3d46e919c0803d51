//! What a person wants, found by fixed phrases.

use serde_json::{Deserializer, Value};

/// A message, understood as far as a script can.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Wish<'a> {
    /// Run this tool with these arguments.
    Call { tool: &'a str, arguments: &'a str },
    /// Put another text in the place of one in memory.
    Replace { old: &'a str, new: &'a str },
    /// Keep this in the archive.
    Archive { content: &'a str },
    /// Look in the archive.
    SearchArchive { query: &'a str },
    /// Look in the conversation.
    SearchConversation { query: &'a str },
    /// Look everywhere.
    SearchAll { query: &'a str },
    /// Say the person's name.
    RecallName,
    /// Say all that is in memory.
    RecallAll,
    /// Keep the person's name in mind.
    Name { name: &'a str },
    /// Keep a fact in mind.
    Remember { fact: &'a str },
    /// Anything else.
    Talk,
}

impl<'a> Wish<'a> {
    /// What `text` asks for. `has_tool` tells which names are tools, so that "use" can be an
    /// ordinary word.
    pub(super) fn of(text: &'a str, has_tool: impl Fn(&str) -> bool) -> Self {
        // Same length in bytes, so positions in one are positions in the other.
        let lower = text.to_ascii_lowercase();
        let said = Said { text, lower: &lower };
        call(&said, has_tool)
            .or_else(|| replace(&said))
            .or_else(|| archive(&said))
            .or_else(|| search(&said))
            .or_else(|| recall(&said))
            .or_else(|| remember(&said))
            .unwrap_or(Wish::Talk)
    }
}

/// A text and the same in lower case.
struct Said<'a, 'l> {
    text: &'a str,
    lower: &'l str,
}

impl<'a> Said<'a, '_> {
    fn has_any(&self, marks: &[&str]) -> bool {
        marks.iter().any(|mark| self.lower.contains(mark))
    }

    /// What follows the first of `marks` that occurs, without blanks around it; never empty.
    fn after(&self, marks: &[&str]) -> Option<&'a str> {
        let at = marks.iter().find_map(|mark| Some(self.lower.find(mark)? + mark.len()))?;
        let rest = self.text[at..].trim();
        (!rest.is_empty()).then_some(rest)
    }
}

fn call<'a>(said: &Said<'a, '_>, has_tool: impl Fn(&str) -> bool) -> Option<Wish<'a>> {
    let named = said.after(&["call the tool ", "use the tool ", "run the tool "]);
    let rest = named.or_else(|| {
        let rest = said.after(&["call ", "use ", "run "])?;
        has_tool(tool_name(rest)).then_some(rest)
    })?;
    let tool = tool_name(rest);
    let arguments = rest.find('{').map_or("{}", |at| json_prefix(&rest[at..]));
    (!tool.is_empty()).then_some(Wish::Call { tool, arguments })
}

fn tool_name(rest: &str) -> &str {
    let quoted = rest.trim_start_matches(['`', '"', '\'']);
    let end = quoted.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == '-'));
    &quoted[..end.unwrap_or(quoted.len())]
}

/// The JSON value at the start of `text`, or all of it where that is none: a tool call with
/// broken arguments is what was asked for then.
fn json_prefix(text: &str) -> &str {
    let mut values = Deserializer::from_str(text).into_iter::<Value>();
    match values.next() {
        Some(Ok(_)) => &text[..values.byte_offset()],
        Some(Err(_)) | None => text,
    }
}

fn replace<'a>(said: &Said<'a, '_>) -> Option<Wish<'a>> {
    let rest = said.after(&["in your memory replace ", "in memory replace ", "replace "])?;
    let (old, new) = quoted_pair(rest)?;
    Some(Wish::Replace { old, new })
}

/// `"old" with "new"`.
fn quoted_pair(rest: &str) -> Option<(&str, &str)> {
    let mut parts = rest.split('"');
    let (before, old, between, new) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let fits = before.trim().is_empty() && matches!(between.trim(), "with" | "by") && !old.is_empty();
    fits.then_some((old, new))
}

fn archive<'a>(said: &Said<'a, '_>) -> Option<Wish<'a>> {
    let marks = [
        "insert into the archive",
        "insert into archive",
        "insert into archival memory",
        "put into the archive",
        "add to the archive",
        "archive that ",
        "archive: ",
    ];
    let content = said.after(&marks)?.trim_start_matches([':', ' ', ',']);
    (!content.is_empty()).then_some(Wish::Archive { content })
}

fn search<'a>(said: &Said<'a, '_>) -> Option<Wish<'a>> {
    let rest = said.after(&["search "])?;
    let lower = rest.to_ascii_lowercase();
    let query = match lower.find("for ") {
        Some(at) if at == 0 || lower[..at].ends_with(' ') => &rest[at + "for ".len()..],
        Some(_) | None => rest,
    };
    let query = query.trim().trim_end_matches(['.', '?', '!']).trim_matches('"');
    if query.is_empty() {
        return None;
    }
    // Where to look stands before the query: "search the archive for …".
    let place = &lower[..lower.find(&query.to_ascii_lowercase()).unwrap_or(0)];
    Some(if place.contains("archiv") {
        Wish::SearchArchive { query }
    } else if ["conversation", "history", "messages", "chat"].iter().any(|word| place.contains(word)) {
        Wish::SearchConversation { query }
    } else {
        Wish::SearchAll { query }
    })
}

fn recall<'a>(said: &Said<'a, '_>) -> Option<Wish<'a>> {
    if said.has_any(&["what is my name", "what's my name", "who am i", "do you know my name"]) {
        return Some(Wish::RecallName);
    }
    let all = [
        "what do you remember",
        "what do you know about me",
        "what did i tell you",
        "what have i told you",
        "do you remember",
    ];
    said.has_any(&all).then_some(Wish::RecallAll)
}

fn remember<'a>(said: &Said<'a, '_>) -> Option<Wish<'a>> {
    if let Some(rest) = said.after(&["my name is "]) {
        let end = rest.find(['.', '!', '?', ',', ';', '\n']).unwrap_or(rest.len());
        let name = rest[..end].trim();
        if !name.is_empty() {
            return Some(Wish::Name { name });
        }
    }
    let fact = said.after(&["remember that ", "remember this: ", "remember: ", "remember "])?;
    Some(Wish::Remember { fact })
}
