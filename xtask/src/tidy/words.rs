//! Words that do not belong in sources: promises, history, and paths of one machine.
//!
//! The banned words are put together by `concat!`, so that this file obeys its own rule.

use super::Findings;
use crate::repo::Tree;

struct Word {
    text: &'static str,
    /// Whether a letter, digit or `_` beside it makes it another word.
    whole: bool,
    any_case: bool,
    /// Only files with this ending, if any.
    only: Option<&'static str>,
    why: &'static str,
}

const fn word(text: &'static str, why: &'static str) -> Word {
    Word { text, whole: true, any_case: false, only: None, why }
}

const UNFINISHED: &str = "unfinished code does not land";
const HISTORY: &str = "history belongs into commits";
const MACHINE: &str = "paths of one machine work on no other";

const BANNED: &[Word] = &[
    Word { any_case: true, ..word(concat!("for", " now"), HISTORY) },
    word(concat!("N", "EW"), HISTORY),
    Word { whole: false, ..word(concat!("todo", "!("), UNFINISHED) },
    Word { whole: false, ..word(concat!("unimplemented", "!("), UNFINISHED) },
    word(concat!("FIX", "ME"), UNFINISHED),
    word(concat!("TO", "DO"), UNFINISHED),
    word(concat!("XX", "X"), UNFINISHED),
    Word {
        whole: false,
        only: Some(".rs"),
        ..word(concat!("#[ign", "ore"), "assert today's behaviour with a reason instead")
    },
    Word {
        whole: false,
        only: Some(".rs"),
        ..word(concat!("#[all", "ow("), "use #[expect(lint, reason)]: it says why and when it is over")
    },
    word(concat!("/wo", "rk/"), MACHINE),
    word(concat!("/ro", "ot/"), MACHINE),
    word(concat!("/ho", "me/"), MACHINE),
    word(concat!("/tm", "p/"), MACHINE),
];

/// Reports banned words with their line.
pub(super) fn check(tree: &Tree) -> Findings {
    let mut findings = Findings::default();
    for (path, text) in tree.texts() {
        if path == "LICENSE" || path == "Cargo.lock" {
            continue;
        }
        for (index, line) in text.lines().enumerate() {
            for banned in BANNED {
                if banned.only.is_none_or(|end| path.ends_with(end)) && occurs(line, banned) {
                    findings.violation(
                        &format!("{path}:{}", index + 1),
                        format!("`{}`: {}", banned.text, banned.why),
                    );
                }
            }
            if numbered_phase(line) {
                findings.violation(&format!("{path}:{}", index + 1), format!("a numbered phase: {HISTORY}"));
            }
        }
    }
    findings
}

fn occurs(line: &str, banned: &Word) -> bool {
    let lowered;
    let line = if banned.any_case {
        lowered = line.to_ascii_lowercase();
        lowered.as_str()
    } else {
        line
    };
    line.match_indices(banned.text).any(|(at, found)| {
        let before = line[..at].chars().next_back();
        let after = line[at + found.len()..].chars().next();
        // A path goes on after its folder, but must start there.
        let starts = !before.is_some_and(|c| is_word(c) || matches!(c, '-' | '.' | '}' | '/'));
        let ends = found.ends_with('/') || !after.is_some_and(is_word);
        !banned.whole || (starts && ends)
    })
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn numbered_phase(line: &str) -> bool {
    let phase = concat!("Pha", "se ");
    line.match_indices(phase)
        .any(|(at, _)| line[at + phase.len()..].starts_with(|c: char| c.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(path: &str, line: &str) -> usize {
        check(&Tree::of(&[(path, line)])).violations.len()
    }

    #[test]
    fn each_banned_word_is_reported() {
        for banned in BANNED {
            let line = format!("let x = 1; // {} )", banned.text);
            let path = format!("crates/x/src/lib{}", banned.only.unwrap_or(".rs"));
            assert_eq!(found(&path, &line), 1, "{line}");
        }
        assert_eq!(found("a.md", concat!("Pha", "se 3: more")), 1);
        assert_eq!(found("a.md", concat!("Good enough F", "or now.")), 1);
    }

    #[test]
    fn longer_words_are_not() {
        let fine =
            concat!("RENEWAL, frame", "work/x, before nowadays, the safety pha", "se, a/tm", "p/x, NEWER");
        assert_eq!(found("a.md", fine), 0);
    }

    #[test]
    fn the_line_is_named() {
        let found = check(&Tree::of(&[("a.rs", concat!("fn a() {\n    todo", "!()\n}"))])).violations;
        assert!(found[0].starts_with("a.rs:2: "), "{found:?}");
    }
}
