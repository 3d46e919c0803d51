//! Reads core memory back out of the system prompt, where every model finds it.
//!
//! A block is written `<label> … </label>`; where it has a `<value> … </value>` inside, that
//! is its text and the rest describes it.

/// The text of the block `label`, if the prompt has one. The last one wins: instructions
/// before the memory may mention a label, too.
pub(super) fn block<'a>(system: &'a str, label: &str) -> Option<&'a str> {
    let end = system.rfind(&format!("</{label}>"))?;
    let before = &system[..end];
    let start = before.rfind(&format!("<{label}>"))?;
    let inside = before[start..].split_once('>')?.1;
    let text = inside
        .split_once("<value>")
        .and_then(|(_, rest)| rest.rsplit_once("</value>"))
        .map_or(inside, |(value, _)| value);
    Some(text.trim())
}

/// The person's name, if the block tells it; the last mention wins.
pub(super) fn person_name(human: &str) -> Option<&str> {
    human.lines().filter_map(name_in_line).next_back()
}

/// The whole line `Name: …`, as this script writes it.
pub(super) fn name_line(human: &str) -> Option<&str> {
    human.lines().map(str::trim).rfind(|line| line.starts_with("Name: "))
}

fn name_in_line(line: &str) -> Option<&str> {
    let lower = line.to_ascii_lowercase();
    let at = ["name: ", "name is "].iter().find_map(|mark| Some(lower.find(mark)? + mark.len()))?;
    let name = line[at..].trim().trim_end_matches(['.', '!']);
    (!name.is_empty()).then_some(name)
}
