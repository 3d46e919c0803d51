//! What a bench was measured on, what processes have used, and the page that says so.
//!
//! Invariant: a figure that cannot be read ends the bench; it is never a zero.

#![expect(clippy::unwrap_used, reason = "a bench that cannot run ends there")]

pub mod section;

use std::path::Path;
use std::time::Duration;

use kelpie_env::{Env, Open};

/// What a file says: one of the kernel's own figures, or a page as it is so far.
///
/// # Panics
/// When there is none.
#[expect(clippy::disallowed_methods, reason = "not data of ours")]
pub fn file(path: impl AsRef<Path>) -> String {
    let path = path.as_ref();
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Replaces a file, or makes it.
///
/// # Panics
/// When that does not work.
pub fn replace(env: &Env, path: impl AsRef<Path>, bytes: &[u8]) {
    let (disk, path) = (env.disk(), path.as_ref());
    if disk.exists(path).unwrap() {
        disk.remove(path).unwrap();
    }
    let file = disk.open(path, Open::New).unwrap();
    file.write_all_at(bytes, 0).unwrap();
    file.sync().unwrap();
}

/// A page with this section in the place of the one of its title, or at its end.
pub fn with_section(page: &str, title: &str, section: &str) -> String {
    let (before, rest) = page.split_once(title).unwrap_or((page, ""));
    let after = rest.find("\n## ").map_or("", |at| &rest[at + 1..]);
    let section = section.trim_end();
    let gap = if after.is_empty() { "" } else { "\n" };
    format!("{}\n\n{section}\n{gap}{after}", before.trim_end())
}

/// Load averages over 1, 5 and 15 minutes, and running of all tasks.
pub fn load() -> String {
    file("/proc/loadavg").split_whitespace().take(4).collect::<Vec<_>>().join(" ")
}

/// Cores, processor and kernel.
pub fn describe() -> String {
    let cpus = file("/proc/cpuinfo");
    let model = cpus.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or(": unknown");
    let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    let kernel = file("/proc/sys/kernel/osrelease");
    format!("{cores} cores, {}, Linux {}", model.trim_start_matches([' ', '\t', ':']), kernel.trim())
}

/// Bytes of memory that a process holds.
pub fn resident_bytes(process: u32) -> u64 {
    let status = file(format!("/proc/{process}/status"));
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("the kernel says it");
    let kib = line.split_whitespace().next().expect("a number");
    kib.parse::<u64>().expect("a number") << 10
}

/// What a process has computed so far, in steps of 10 ms.
pub fn cpu(process: u32) -> Duration {
    let stat = file(format!("/proc/{process}/stat"));
    // Behind the name, which may hold anything: the 12th and 13th field, in ticks of 10 ms.
    let (_, fields) = stat.rsplit_once(')').expect("the name is in brackets");
    let ticks =
        fields.split_whitespace().skip(11).take(2).map(|ticks| ticks.parse::<u64>().expect("a number"));
    let ticks: u64 = ticks.sum();
    Duration::from_millis(10 * ticks)
}
