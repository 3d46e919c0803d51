//! What the signature and the docstring of a Python function say about the tool that it is.
//!
//! Only what stands there in plain sight is read, and nothing is ever run: the last function at
//! the outermost level, its parameters with their plain annotations, and a docstring with an
//! `Args:` part, as people write them for agents.

use serde_json::{Map, Value, json};

/// A function that was found in a source.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Function {
    /// Its name.
    pub(super) name: String,
    /// What its docstring says before the arguments.
    pub(super) description: String,
    /// JSON schema of its parameters.
    pub(super) parameters: Value,
}

/// The last function at the outermost level of a Python source.
pub(super) fn last_function(source: &str) -> Option<Function> {
    let starts = |line: &str| line.starts_with("def ") || line.starts_with("async def ");
    let mut offset = 0;
    let mut found = None;
    for line in source.split_inclusive('\n') {
        if starts(line) {
            found = Some(offset);
        }
        offset += line.len();
    }
    let text = source[found?..].trim_start_matches("async ").strip_prefix("def ")?;
    let (name, rest) = text.split_once('(')?;
    let end = closing(rest)?;
    let (list, body) = (&rest[..end], &rest[end + 1..]);
    let doc = docstring(body);
    let (description, told) = described(&doc);
    let (mut properties, mut required) = (Map::new(), Vec::new());
    for parameter in split(list) {
        let (declared, default) = match parameter.split_once('=') {
            Some((declared, _)) => (declared, true),
            None => (parameter, false),
        };
        let (name, annotation) = declared.split_once(':').unwrap_or((declared, ""));
        let name = name.trim();
        if name.is_empty() || name.starts_with('*') || name == "/" || name == "self" {
            continue;
        }
        let mut property = of_annotation(annotation.trim());
        if let Some((_, text)) = told.iter().find(|(known, _)| known == name) {
            property.insert("description".to_owned(), json!(text));
        }
        properties.insert(name.to_owned(), Value::Object(property));
        if !default {
            required.push(name.to_owned());
        }
    }
    let parameters = json!({ "type": "object", "properties": properties, "required": required });
    Some(Function { name: name.trim().to_owned(), description, parameters })
}

/// Where the bracket closes that was opened before the text.
fn closing(text: &str) -> Option<usize> {
    let (mut depth, mut quote) = (0_usize, None);
    for (at, c) in text.char_indices() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (Some(_), _) => {}
            (None, '"' | '\'') => quote = Some(c),
            (None, '(' | '[' | '{') => depth += 1,
            (None, ')') if depth == 0 => return Some(at),
            (None, ')' | ']' | '}') => depth = depth.checked_sub(1)?,
            (None, _) => {}
        }
    }
    None
}

/// The parts between the commas of the outermost level.
fn split(list: &str) -> Vec<&str> {
    let (mut parts, mut start) = (Vec::new(), 0);
    let (mut depth, mut quote) = (0_usize, None);
    for (at, c) in list.char_indices() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (Some(_), _) => {}
            (None, '"' | '\'') => quote = Some(c),
            (None, '(' | '[' | '{') => depth += 1,
            (None, ')' | ']' | '}') => depth = depth.saturating_sub(1),
            (None, ',') if depth == 0 => {
                parts.push(&list[start..at]);
                start = at + 1;
            }
            (None, _) => {}
        }
    }
    parts.push(&list[start..]);
    parts
}

/// What a plain annotation says about a value; nothing when it says something else.
fn of_annotation(annotation: &str) -> Map<String, Value> {
    let inner = annotation.strip_prefix("Optional[").and_then(|rest| rest.strip_suffix(']'));
    let inner = inner.or_else(|| annotation.strip_suffix("| None").map(str::trim_end));
    let annotation = inner.unwrap_or(annotation).trim_matches(|c| c == '"' || c == '\'');
    let plain = annotation.split('[').next().unwrap_or(annotation);
    let word = match plain {
        "str" => "string",
        "int" => "integer",
        "float" => "number",
        "bool" => "boolean",
        "list" | "List" | "tuple" | "Tuple" | "set" => "array",
        "dict" | "Dict" => "object",
        _ => return Map::new(),
    };
    let mut property = Map::from_iter([("type".to_owned(), json!(word))]);
    if inner.is_some() {
        property.insert("type".to_owned(), json!([word, "null"]));
    }
    property
}

/// The string that a function's body begins with.
fn docstring(body: &str) -> String {
    let Some((_, body)) = body.split_once(":\n") else { return String::new() };
    let body = body.trim_start();
    for quote in ["\"\"\"", "'''", "\"", "'"] {
        if let Some(rest) = body.strip_prefix(quote) {
            return rest.split_once(quote).map(|(text, _)| text.to_owned()).unwrap_or_default();
        }
    }
    String::new()
}

/// What comes before the arguments, and what is told about each of them.
fn described(doc: &str) -> (String, Vec<(String, String)>) {
    let mut lines = doc.lines().map(str::trim);
    let mut description: Vec<&str> = Vec::new();
    for line in lines.by_ref() {
        if matches!(line, "Args:" | "Arguments:" | "Parameters:" | "Returns:") {
            break;
        }
        description.push(line);
    }
    let mut told = Vec::new();
    for line in lines.take_while(|line| !matches!(*line, "Returns:" | "Raises:" | "Examples:")) {
        let Some((name, text)) = line.split_once(':') else { continue };
        let name = name.split_whitespace().next().unwrap_or_default();
        told.push((name.to_owned(), text.trim().to_owned()));
    }
    (description.join("\n").trim().to_owned(), told)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_function_tells_its_name_its_parameters_and_what_it_is_for() {
        let source = r#"
import random

def helper(x):
    return x

def roll_dice(sides: int, times: "int" = 1, names: list[str] = ["a", "b(c"], seed: Optional[int] = None, *, loud=False) -> str:
    """
    Rolls dice.

    Args:
        sides (int): How many sides they have.
        names: Who rolls.

    Returns:
        str: What came.
    """
    def inner(y):
        return y
    return ""
"#;
        let found = last_function(source).expect("there is one");
        assert_eq!((found.name.as_str(), found.description.as_str()), ("roll_dice", "Rolls dice."));
        let expected = json!({
            "type": "object",
            "properties": {
                "sides": { "type": "integer", "description": "How many sides they have." },
                "times": { "type": "integer" },
                "names": { "type": "array", "description": "Who rolls." },
                "seed": { "type": ["integer", "null"] },
                "loud": {},
            },
            "required": ["sides"],
        });
        assert_eq!(found.parameters, expected);
    }

    #[test]
    fn what_is_no_function_is_none() {
        for source in ["", "x = 1", "class A:\n    def f(self):\n        pass\n", "def f(a", "def f"] {
            assert_eq!(last_function(source), None, "{source:?}");
        }
        let one_line = last_function("async def ping(): return 'pong'").expect("there is one");
        assert_eq!((one_line.name.as_str(), one_line.description.as_str()), ("ping", ""));
    }
}
