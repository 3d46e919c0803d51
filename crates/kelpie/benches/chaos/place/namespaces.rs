//! A bridge, and behind it a network namespace for each node.

use std::collections::BTreeSet;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};
use parking_lot::Mutex;

use super::Seat;

/// For clients of a node.
const HTTP_PORT: u16 = 8283;
/// For other nodes.
const PEER_PORT: u16 = 7001;
/// The address of a network card that nobody has: what is sent to it comes nowhere.
const NOBODY: &str = "02:de:ad:00:00:01";

/// The networks. They go away with this.
pub(crate) struct Namespaces {
    tag: String,
    /// The third part of all addresses.
    net: u32,
    seats: Vec<Seat>,
    /// Who is kept from which address.
    cuts: Mutex<BTreeSet<(usize, String)>>,
}

impl Namespaces {
    pub(crate) fn make(nodes: usize) -> Result<Self> {
        let pid = std::process::id();
        let mut made = Self {
            tag: format!("kc{}", pid % 1_000_000),
            // 198.18.0.0/15 is for tests of networks: no host of anybody has such an address.
            net: pid % 250,
            seats: Vec::new(),
            cuts: Mutex::default(),
        };
        // What was made before something failed is taken away as it is dropped.
        made.build(nodes)?;
        Ok(made)
    }

    fn build(&mut self, nodes: usize) -> Result<()> {
        let bridge = self.tag.clone();
        ip(&format!("link add {bridge} type bridge"))?;
        ip(&format!("addr add {}/24 dev {bridge}", self.bridge_address()))?;
        ip(&format!("link set {bridge} up"))?;
        for at in 0..nodes {
            let (space, outer, inner) = (self.space(at), format!("{bridge}o{at}"), format!("{bridge}i{at}"));
            ip(&format!("netns add {space}"))?;
            ip(&format!("link add {outer} type veth peer name {inner}"))?;
            ip(&format!("link set {inner} netns {space}"))?;
            ip(&format!("link set {outer} master {bridge}"))?;
            ip(&format!("link set {outer} up"))?;
            let address = self.address(at);
            ip(&format!("-n {space} link set {inner} name eth0"))?;
            ip(&format!("-n {space} addr add {address}/24 dev eth0"))?;
            ip(&format!("-n {space} link set eth0 up"))?;
            ip(&format!("-n {space} link set lo up"))?;
            let at = |port: u16| -> Result<_> { Ok(format!("{address}:{port}").parse()?) };
            let within = ["ip", "netns", "exec", &space].map(str::to_owned).to_vec();
            let (name, listen, peers) =
                (format!("n{}", self.seats.len() + 1), at(HTTP_PORT)?, at(PEER_PORT)?);
            self.seats.push(Seat { name, listen, advertise: peers, peer_listen: peers, within });
        }
        Ok(())
    }

    pub(super) fn bridge_address(&self) -> String {
        format!("198.18.{}.1", self.net)
    }

    pub(super) fn network(&self) -> String {
        format!("198.18.{}.0/24", self.net)
    }

    pub(super) fn seats(&self) -> &[Seat] {
        &self.seats
    }

    fn space(&self, at: usize) -> String {
        format!("{}n{}", self.tag, at + 1)
    }

    fn address(&self, at: usize) -> String {
        format!("198.18.{}.{}", self.net, at + 11)
    }

    /// What a node sends to another one, or to the bridge, is lost from now on.
    pub(super) fn cut(&self, from: usize, to: Option<usize>) -> Result<()> {
        let address = to.map_or_else(|| self.bridge_address(), |to| self.address(to));
        let space = self.space(from);
        ip(&format!("-n {space} neigh replace {address} lladdr {NOBODY} dev eth0 nud permanent"))?;
        self.cuts.lock().insert((from, address));
        Ok(())
    }

    /// Nothing is lost from now on.
    pub(super) fn heal(&self) -> Result<()> {
        let mut cuts = self.cuts.lock();
        while let Some((from, address)) = cuts.pop_first() {
            ip(&format!("-n {} neigh del {address} dev eth0", self.space(from)))?;
        }
        Ok(())
    }
}

impl Drop for Namespaces {
    fn drop(&mut self) {
        for at in 0..crate::NODES {
            // With it goes the pair of cards.
            drop(ip(&format!("netns del {}", self.space(at))));
            drop(ip(&format!("link del {}o{at}", self.tag)));
        }
        drop(ip(&format!("link del {}", self.tag)));
    }
}

fn ip(words: &str) -> Result<()> {
    let mut command = Command::new("ip");
    command.args(words.split(' ')).stdin(Stdio::null());
    let output = command.output().context("ip (package iproute2) does not start")?;
    if !output.status.success() {
        bail!("ip {words}: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}
