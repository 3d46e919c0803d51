//! A section of a page that benches write part by part, and how times become figures.

use std::path::Path;
use std::time::Duration;

use kelpie_env::Env;

/// A section of `docs/performance.md`.
#[derive(Debug, Clone, Copy)]
pub struct Section {
    /// Its heading, of the second level.
    pub title: &'static str,
    /// What it says before its first part.
    pub introduction: &'static str,
}

impl Section {
    /// A part, under its own heading: what was measured at a load of `before`.
    pub fn part(heading: &str, before: &str, text: &str) -> String {
        let (machine, after) = (crate::describe(), crate::load());
        format!("### {heading}\n\n{machine}. Load before: {before}; after: {after}.\n\n{}\n", text.trim())
    }

    /// Puts a part into a page, in the place of the one with its heading or at the section's end.
    ///
    /// # Panics
    /// When there is no such page, or it cannot be written.
    pub fn write(&self, env: &Env, path: impl AsRef<Path>, part: &str) {
        let page = self.with_part(&crate::file(&path), part);
        crate::replace(env, path, page.as_bytes());
    }

    fn with_part(&self, page: &str, part: &str) -> String {
        let Self { title, introduction } = self;
        let page = if page.contains(title) {
            page.to_owned()
        } else {
            format!("{}\n\n{title}\n\n{introduction}\n", page.trim_end())
        };
        let (before, section) = page.split_at(page.find(title).unwrap());
        let (section, behind) = section.split_at(section.find("\n## ").unwrap_or(section.len()));
        let heading = part.lines().next().unwrap();
        let (front, rest) = section.split_once(&format!("{heading}\n")).unwrap_or((section, ""));
        let rest = rest.find("\n### ").map_or("", |at| &rest[at + 1..]);
        let section = format!("{}\n\n{}\n\n{}", front.trim_end(), part.trim_end(), rest.trim_start());
        format!("{before}{}\n{behind}", section.trim_end())
    }
}

/// A time for people.
pub fn show(time: Duration) -> String {
    match time.as_nanos() {
        nanos @ 0..10_000 => format!("{nanos} ns"),
        10_000..10_000_000 => format!("{:.1} µs", time.as_secs_f64() * 1e6),
        _ => format!("{:.1} ms", time.as_secs_f64() * 1e3),
    }
}

/// The figure in the middle.
pub fn median<T: Copy + PartialOrd>(figures: &[T]) -> T {
    quantile(figures, 50)
}

/// The figure below which so many of a hundred lie.
///
/// # Panics
/// When there are none, or some cannot be compared.
pub fn quantile<T: Copy + PartialOrd>(figures: &[T], percent: usize) -> T {
    let mut sorted = figures.to_vec();
    sorted.sort_unstable_by(|a, b| a.partial_cmp(b).unwrap());
    sorted[(sorted.len() - 1) * percent / 100]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_takes_the_place_of_the_one_with_its_heading_and_others_stay() {
        let section = Section { title: "## B", introduction: "About b." };
        let page = section.with_part("# P\n\n## A\n\na\n", "### one\n\n1\n");
        assert_eq!(page, "# P\n\n## A\n\na\n\n## B\n\nAbout b.\n\n### one\n\n1\n");
        let page = section.with_part(&page, "### two\n\n2\n") + "\n## C\n\nc\n";
        let page = section.with_part(&page, "### one\n\n3\n");
        assert_eq!(
            page,
            "# P\n\n## A\n\na\n\n## B\n\nAbout b.\n\n### one\n\n3\n\n### two\n\n2\n\n## C\n\nc\n"
        );
    }
}
