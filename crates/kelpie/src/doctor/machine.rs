//! The machine and the binary.
#![expect(clippy::disallowed_methods, reason = "/proc is the kernel talking, not a node's disk")]

use std::fs::read_to_string;

use super::Check;

/// Descriptors below which many streams at once would be refused.
const OPEN_FILES_MIN: u64 = 4096;
/// Memory below which the default caches are too large.
const MEMORY_MIN: u64 = 512 << 20;

pub(super) fn build() -> Check {
    let kind = if cfg!(debug_assertions) { "debug build" } else { "release build" };
    let (version, os, arch) = (env!("CARGO_PKG_VERSION"), std::env::consts::OS, std::env::consts::ARCH);
    let check = Check::ok("kelpie", format!("{version}, {kind} for {os}/{arch}"));
    if cfg!(debug_assertions) {
        check.hint("several times slower than `cargo build --release`")
    } else {
        check
    }
}

pub(super) fn limits() -> Vec<Check> {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let mut checks = vec![Check::ok("processors", processors.to_string())];
    checks.extend(memory(&read_to_string("/proc/meminfo").unwrap_or_default()));
    checks.extend(open_files(&read_to_string("/proc/self/limits").unwrap_or_default()));
    checks
}

fn memory(meminfo: &str) -> Option<Check> {
    let kib = |name: &str| {
        let row = meminfo.lines().find(|row| row.starts_with(name))?;
        row.split_whitespace().nth(1)?.parse::<u64>().ok()
    };
    let (total, available) = (kib("MemTotal:")? << 10, kib("MemAvailable:")? << 10);
    let says = format!("{} MiB available of {} MiB", available >> 20, total >> 20);
    if available >= MEMORY_MIN {
        return Some(Check::ok("memory", says));
    }
    Some(Check::note("memory", says).hint("the store alone caches some 128 MiB"))
}

fn open_files(limits: &str) -> Option<Check> {
    let row = limits.lines().find_map(|row| row.strip_prefix("Max open files"))?;
    let mut columns = row.split_whitespace();
    let (soft, hard) = (columns.next()?, columns.next()?);
    let says = format!("{soft} open files (up to {hard} may be set)");
    match soft.parse::<u64>() {
        Ok(soft) if soft < OPEN_FILES_MIN => {
            let hint = format!("each open stream takes one; raise it: ulimit -n {OPEN_FILES_MIN}");
            Some(Check::note("limits", says).hint(hint))
        }
        // "unlimited" is no number.
        Ok(_) | Err(_) => Some(Check::ok("limits", says)),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Status;
    use super::*;

    #[test]
    fn a_low_limit_is_noted() {
        let row = |soft: &str| {
            format!("Limit  Soft Limit Hard Limit Units\nMax open files  {soft}  524288  files\n")
        };
        assert_eq!(open_files(&row("1024")).map(|check| check.status), Some(Status::Note));
        assert_eq!(open_files(&row("65536")).map(|check| check.status), Some(Status::Ok));
        assert_eq!(open_files(&row("unlimited")).map(|check| check.status), Some(Status::Ok));
        let meminfo = "MemTotal:  4194304 kB\nMemFree: 1 kB\nMemAvailable:  2097152 kB\n";
        assert_eq!(
            memory(meminfo).map(|check| check.says),
            Some("2048 MiB available of 4096 MiB".to_owned())
        );
    }
}
