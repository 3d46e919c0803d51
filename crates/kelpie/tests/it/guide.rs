//! Blocks of the guide, as the tests run them.

/// The blocks of a language under a heading of `docs/guide/agents.md`, in order.
pub(crate) fn blocks(heading: &str, language: &str) -> Vec<String> {
    let guide = include_str!("../../../../docs/guide/agents.md");
    let (_, rest) = guide.split_once(&format!("\n## {heading}\n")).expect("the heading");
    let section = rest.split("\n## ").next().expect("a section");
    let fence = format!("```{language}\n");
    let mut blocks = section.split(&fence);
    blocks.next();
    blocks.map(|rest| rest.split("```").next().expect("the block").to_owned()).collect()
}

/// The words of a command of the guide after `kelpie`, without its comment.
pub(crate) fn words(line: &str) -> Vec<String> {
    let line = line.split(" #").next().expect("a line");
    let words = line.strip_prefix("kelpie ").expect("a command of kelpie").split_whitespace();
    words.map(|word| word.trim_matches('"').to_owned()).collect()
}
