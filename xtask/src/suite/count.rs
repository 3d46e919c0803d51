//! How many tests a test runner says it ran.

use std::ops::AddAssign;

/// Tests that passed and tests that did not.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Counts {
    pub(super) passed: usize,
    pub(super) failed: usize,
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
    }
}

/// Reads the summaries of `cargo nextest` and of `cargo test`.
pub(super) fn tests(lines: &[String]) -> Counts {
    let mut counts = Counts::default();
    for line in lines {
        counts += nextest(line).or_else(|| libtest(line)).unwrap_or_default();
    }
    counts
}

/// `Summary [   0.5s] 3 tests run: 2 passed (1 slow), 1 failed, 4 skipped`
fn nextest(line: &str) -> Option<Counts> {
    let (_, summary) = line.trim_start().strip_prefix("Summary [")?.split_once(']')?;
    let (run, results) = summary.split_once(" run:")?;
    // `2/5 tests` when the run was cut short: the rest did not pass.
    let planned = run.split_whitespace().next()?.rsplit('/').next()?.parse::<usize>().ok()?;
    let passed = before(results, " passed").unwrap_or(0);
    Some(Counts { passed, failed: planned.saturating_sub(passed) })
}

/// `test result: FAILED. 2 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; …`
fn libtest(line: &str) -> Option<Counts> {
    let results = line.strip_prefix("test result: ")?;
    Some(Counts { passed: before(results, " passed")?, failed: before(results, " failed")? })
}

fn before(text: &str, word: &str) -> Option<usize> {
    text[..text.find(word)?].rsplit(' ').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(line: &str) -> (usize, usize) {
        let counts = tests(&[line.to_owned()]);
        (counts.passed, counts.failed)
    }

    #[test]
    fn summaries_of_nextest_are_read() {
        assert_eq!(counted("     Summary [   0.012s] 5 tests run: 5 passed, 0 skipped"), (5, 0));
        assert_eq!(counted("     Summary [  61.2s] 1 test run: 1 passed (1 slow), 3 skipped"), (1, 0));
        assert_eq!(
            counted("     Summary [   2.0s] 9 tests run: 6 passed, 2 failed, 1 timed out, 3 skipped"),
            (6, 3)
        );
        assert_eq!(counted("     Summary [   2.0s] 4/9 tests run: 3 passed, 1 failed, 0 skipped"), (3, 6));
        assert_eq!(counted("     Summary [   2.0s] 2 tests run: 0 passed, 2 failed, 0 skipped"), (0, 2));
    }

    #[test]
    fn summaries_of_cargo_test_are_read() {
        assert_eq!(
            counted("test result: ok. 3 passed; 0 failed; 0 ignored; 0 measured; 7 filtered out"),
            (3, 0)
        );
        assert_eq!(counted("test result: FAILED. 3 passed; 2 failed; 0 ignored; 0 measured"), (3, 2));
    }

    #[test]
    fn other_lines_count_nothing() {
        assert_eq!(counted("test lease::ends ... ok"), (0, 0));
        assert_eq!(counted("   5 passed by the window"), (0, 0));
    }
}
