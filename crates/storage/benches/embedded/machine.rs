//! What the figures were measured on.

use std::path::Path;

use kelpie_env::{Env, Open};

#[expect(clippy::disallowed_methods, reason = "the kernel's own figures, not data of ours")]
fn proc_file(path: &str) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

/// Load averages over 1, 5 and 15 minutes, and running of all tasks.
pub(crate) fn load() -> String {
    let load = proc_file("/proc/loadavg");
    load.split_whitespace().take(4).collect::<Vec<_>>().join(" ")
}

/// Cores, processor and kernel.
pub(crate) fn describe() -> String {
    let cpus = proc_file("/proc/cpuinfo");
    let model = cpus.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or(": unknown");
    let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    let kernel = proc_file("/proc/sys/kernel/osrelease");
    format!("{cores} cores, {}, Linux {}", model.trim_start_matches([' ', '\t', ':']), kernel.trim())
}

/// Bytes of memory that this process holds.
pub(crate) fn resident_bytes() -> u64 {
    let status = proc_file("/proc/self/status");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
    line.split_whitespace().next().and_then(|kib| kib.parse::<u64>().ok()).unwrap_or_default() << 10
}

/// What a file says; nothing if there is none.
pub(crate) fn contents(path: &Path) -> String {
    proc_file(&path.to_string_lossy())
}

/// Replaces a file.
pub(crate) fn replace(env: &Env, path: &Path, bytes: &[u8]) {
    let disk = env.disk();
    if disk.exists(path).unwrap() {
        disk.remove(path).unwrap();
    }
    let file = disk.open(path, Open::New).unwrap();
    file.write_all_at(bytes, 0).unwrap();
    file.sync().unwrap();
}
