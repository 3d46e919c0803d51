//! Sources name only hosts that every reader can reach.
//!
//! An address of a private mirror or a company network slips in easily, through a copied
//! log or a lock file. So the hosts that may be named are listed.

use super::Findings;
use crate::repo::Tree;

/// Public hosts that sources and documents may name.
const PUBLIC: &[&str] = &[
    "api.anthropic.com",
    "api.openai.com",
    "crates.io",
    "docs.letta.com",
    "docs.rs",
    "doc.rust-lang.org",
    "github.com",
    "localhost",
    "ollama.com",
    "rustup.rs",
    "sh.rustup.rs",
    "spdx.org",
    "www.apache.org",
    "www.rust-lang.org",
];

/// Endings reserved for examples and tests (RFC 2606).
const RESERVED: &[&str] =
    &[".example", ".invalid", ".test", ".localhost", "example.com", "example.org", "example.net"];

/// Reports URLs whose host is neither public, reserved nor an address of this machine.
pub(super) fn check(tree: &Tree) -> Findings {
    let mut findings = Findings::default();
    for (path, text) in tree.texts() {
        for (index, line) in text.lines().enumerate() {
            for host in hosts(line).filter(|host| !known(host)) {
                findings.violation(
                    &format!("{path}:{}", index + 1),
                    format!("names the host `{host}`: not in xtask/src/tidy/hosts.rs"),
                );
            }
        }
    }
    findings
}

fn hosts(line: &str) -> impl Iterator<Item = &str> {
    line.match_indices("://").filter_map(|(at, found)| {
        let scheme = &line[..at];
        let web = scheme.ends_with("http") || scheme.ends_with("https") || scheme.ends_with("ssh");
        let rest = &line[at + found.len()..];
        let end = rest
            .find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '@')))
            .unwrap_or(rest.len());
        let host = rest[..end].rsplit('@').next().unwrap_or_default();
        (web && !host.is_empty()).then_some(host)
    })
}

fn known(host: &str) -> bool {
    let host = host.trim_end_matches('.');
    let is_loopback = host.starts_with("127.") || host == "0.0.0.0";
    // Documentation blocks of RFC 5737,
    // and the first block that everybody has at home.
    let is_documentation =
        ["192.0.2.", "198.51.100.", "203.0.113.", "10.0.0."].iter().any(|net| host.starts_with(net));
    // A word without a dot is a made-up name in a test, never a host of the internet.
    let is_word = !host.contains('.');
    is_loopback
        || is_documentation
        || is_word
        || PUBLIC.contains(&host)
        || RESERVED.iter().any(|end| host.ends_with(end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn private_hosts_are_reported() {
        let line = concat!("index = \"https:", "//mirror.corp.internal:8080/simple\"");
        let found = check(&Tree::of(&[("pip.toml", line)])).violations;
        assert_eq!(
            found,
            ["pip.toml:1: names the host `mirror.corp.internal`: not in xtask/src/tidy/hosts.rs"]
        );
        let user = concat!("https:", "//me@10.1.2.3/x");
        assert_eq!(check(&Tree::of(&[("a.md", user)])).violations.len(), 1);
    }

    #[test]
    fn public_and_local_hosts_are_not() {
        let line =
            "http://127.0.0.1:8283 https://api.openai.com/v1 http://{addr}/ http://node-a.test http://peer";
        assert!(check(&Tree::of(&[("a.rs", line)])).violations.is_empty());
    }
}
