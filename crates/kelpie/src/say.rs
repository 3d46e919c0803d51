//! Words on the standard output, for people and for scripts.
//!
//! Everything a command answers goes through here, so that a closed pipe is an error that
//! ends the command quietly and not a panic.

use std::io::{self, IsTerminal, Write};

/// Prints one line.
pub(crate) fn line(text: impl AsRef<str>) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_ref().as_bytes())?;
    out.write_all(b"\n")?;
    out.flush()
}

/// Prints a piece of a line at once.
pub(crate) fn piece(text: impl AsRef<str>) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_ref().as_bytes())?;
    out.flush()
}

/// Prints a value as JSON, for scripts.
pub(crate) fn json(value: &serde_json::Value) -> io::Result<()> {
    line(format!("{value:#}"))
}

/// Whether a person looks at the standard output.
pub(crate) fn terminal() -> bool {
    io::stdout().is_terminal()
}

/// One line, at most `chars` characters, for a list or a log of what happened.
pub(crate) fn brief(text: &str, chars: usize) -> String {
    let one_line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match one_line.char_indices().nth(chars) {
        None => one_line,
        Some((end, _)) => format!("{}…", &one_line[..end]),
    }
}
