//! What the figures were measured on, and what processes have used.

use std::time::Duration;

#[expect(clippy::disallowed_methods, reason = "the kernel's own figures, not data of ours")]
pub(crate) fn file(path: &str) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Load averages over 1, 5 and 15 minutes, and running of all tasks.
pub(crate) fn load() -> String {
    file("/proc/loadavg").split_whitespace().take(4).collect::<Vec<_>>().join(" ")
}

/// Cores, processor and kernel.
pub(crate) fn describe() -> String {
    let cpus = file("/proc/cpuinfo");
    let model = cpus.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or(": unknown");
    let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    let kernel = file("/proc/sys/kernel/osrelease");
    format!("{cores} cores, {}, Linux {}", model.trim_start_matches([' ', '\t', ':']), kernel.trim())
}

/// Bytes of memory that this process holds.
pub(crate) fn resident_bytes() -> u64 {
    let status = file("/proc/self/status");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("the kernel says it");
    let kib = line.split_whitespace().next().expect("a number");
    kib.parse::<u64>().expect("a number") << 10
}

/// What a process has computed so far.
pub(crate) fn cpu(process: u32) -> Duration {
    let stat = file(&format!("/proc/{process}/stat"));
    // Behind the name, which may hold anything: the 12th and 13th field, in ticks of 10 ms.
    let (_, fields) = stat.rsplit_once(')').expect("the name is in brackets");
    let ticks =
        fields.split_whitespace().skip(11).take(2).map(|ticks| ticks.parse::<u64>().expect("a number"));
    let ticks: u64 = ticks.sum();
    Duration::from_millis(10 * ticks)
}
