//! Who listens at a port, as far as this user may know.
//!
//! Linux tells it in two places: `/proc/net/tcp` names the socket (an inode) that listens,
//! and the process that has this inode among its descriptors is the holder. Descriptors of
//! other users' processes cannot be read: then only the port is known to be taken.
#![expect(clippy::disallowed_methods, reason = "/proc is the kernel talking, not a node's disk")]

use std::fmt::{self, Display};
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// The process behind a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Holder {
    pub(crate) pid: u32,
    pub(crate) name: String,
}

impl Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (pid {})", self.name, self.pid)
    }
}

/// The process that listens at this address or at all addresses of its port.
pub(crate) fn holder(address: SocketAddr) -> Option<Holder> {
    let tables =
        ["/proc/net/tcp", "/proc/net/tcp6"].map(|table| fs::read_to_string(table).unwrap_or_default());
    let inode =
        tables.iter().flat_map(|table| table.lines().skip(1)).find_map(|row| listening(row, address))?;
    owner_of(inode)
}

/// The name of a process; empty when it has ended.
pub(crate) fn process_name(pid: u32) -> String {
    fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default().trim().to_owned()
}

/// The inode of a row's socket, if it listens where `address` would.
fn listening(row: &str, address: SocketAddr) -> Option<u64> {
    const LISTEN: &str = "0A";
    let columns: Vec<&str> = row.split_whitespace().collect();
    let (local, state, inode) = (columns.get(1)?, columns.get(3)?, columns.get(9)?);
    let (ip, port) = local.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let ip = ip_of(ip)?;
    let same = ip.is_unspecified() || address.ip().is_unspecified() || ip == address.ip();
    (*state == LISTEN && port == address.port() && same).then(|| inode.parse().ok())?
}

/// An address as the kernel prints it: 32-bit words in host byte order, hexadecimal.
fn ip_of(hex: &str) -> Option<IpAddr> {
    let mut bytes = Vec::with_capacity(16);
    for at in (0..hex.len()).step_by(8) {
        let word = u32::from_str_radix(hex.get(at..at + 8)?, 16).ok()?;
        bytes.extend(word.to_ne_bytes());
    }
    match bytes.len() {
        4 => Some(IpAddr::V4(Ipv4Addr::from(<[u8; 4]>::try_from(bytes).ok()?))),
        16 => Some(IpAddr::V6(Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?)).to_canonical()),
        _ => None,
    }
}

fn owner_of(inode: u64) -> Option<Holder> {
    let socket = format!("socket:[{inode}]");
    let processes = fs::read_dir("/proc").ok()?.flatten();
    let mut pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let pid = pids.find(|pid| {
        let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
        descriptors
            .filter_map(|entry| fs::read_link(entry.path()).ok())
            .any(|target| target.as_os_str() == &*socket)
    })?;
    Some(Holder { pid, name: process_name(pid) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_holder_of_a_port_is_found() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("bound");
        let holder = holder(address).expect("this process");
        assert_eq!(holder.pid, std::process::id());
        drop(listener);
        assert_eq!(super::holder(address), None);
    }

    #[test]
    fn rows_of_both_families_are_read() {
        let v4 = "   0: 0100007F:205B 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000 0 4711 1 0 100";
        assert_eq!(listening(v4, "127.0.0.1:8283".parse().unwrap()), Some(4711));
        assert_eq!(listening(v4, "127.0.0.2:8283".parse().unwrap()), None);
        let v6 = "   0: 00000000000000000000000000000000:205B 00000000000000000000000000000000:0000 0A 0:0 0:0 0 0 0 12 1";
        assert_eq!(listening(v6, "127.0.0.1:8283".parse().unwrap()), Some(12));
        let connected = v4.replace(" 0A ", " 01 ");
        assert_eq!(listening(&connected, "127.0.0.1:8283".parse().unwrap()), None);
    }
}
