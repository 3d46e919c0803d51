//! Which hosts pages may come from.

use std::fmt::{self, Display, Formatter};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use reqwest::Url;

/// The list of hosts, from words with commas between them:
///
/// | word | allows |
/// |---|---|
/// | `example.org` | this host |
/// | `*.example.org` | all hosts below it |
/// | `*` | every public host |
/// | `10.0.0.5`, `127.0.0.1:9000`, `[::1]:9000` | this very address, public or not, at every port or at one |
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Allowed(Vec<Entry>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Entry {
    Any,
    Host(String),
    Below(String),
    Address(IpAddr, Option<u16>),
}

/// A word of the list cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is neither a host (example.org), hosts below one (*.example.org), an address (10.0.0.5, 127.0.0.1:9000), nor * for every public host"
)]
pub struct NotAHost(String);

impl FromStr for Allowed {
    type Err = NotAHost;

    fn from_str(list: &str) -> Result<Self, NotAHost> {
        list.split(',').map(|word| entry(word.trim())).collect::<Result<_, _>>().map(Self)
    }
}

fn entry(word: &str) -> Result<Entry, NotAHost> {
    let wrong = || NotAHost(word.to_owned());
    if word == "*" {
        return Ok(Entry::Any);
    }
    if let Ok(address) = word.trim_matches(['[', ']']).parse::<IpAddr>() {
        return Ok(Entry::Address(address.to_canonical(), None));
    }
    if let Ok(socket) = word.parse::<std::net::SocketAddr>() {
        return Ok(Entry::Address(socket.ip().to_canonical(), Some(socket.port())));
    }
    let (below, host) = word.strip_prefix("*.").map_or((false, word), |host| (true, host));
    // Written as a URL has it: in small letters, and in ASCII whatever the language.
    let url = Url::parse(&format!("http://{host}/")).map_err(|_| wrong())?;
    let host = url.domain().ok_or_else(wrong)?;
    // The usual port goes without saying in a URL.
    if host.contains(['*', '%']) || word.contains([':', '/', '@', '?', '#']) {
        return Err(wrong());
    }
    Ok(if below { Entry::Below(format!(".{host}")) } else { Entry::Host(host.to_owned()) })
}

impl Display for Allowed {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for (index, entry) in self.0.iter().enumerate() {
            f.write_str(if index == 0 { "" } else { ", " })?;
            match entry {
                Entry::Any => f.write_str("any public host")?,
                Entry::Host(host) => f.write_str(host)?,
                Entry::Below(host) => write!(f, "*{host}")?,
                Entry::Address(IpAddr::V6(ip), Some(port)) => write!(f, "[{ip}]:{port}")?,
                Entry::Address(ip, Some(port)) => write!(f, "{ip}:{port}")?,
                Entry::Address(ip, None) => write!(f, "{ip}")?,
            }
        }
        Ok(())
    }
}

impl Allowed {
    /// Whether a page may come from there; else why not, for the model. Of a name it says nothing
    /// about its addresses.
    ///
    /// # Errors
    /// What is wrong with the URL, or which hosts there are.
    pub fn judge(&self, url: &Url) -> Result<(), String> {
        if !matches!(url.scheme(), "http" | "https") {
            return Err(format!("{url} is not fetched: only http:// and https:// are"));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err("the url is not fetched: it holds a name or a password".to_owned());
        }
        // An address of the new kind stands in brackets.
        let host = url.host_str().unwrap_or_default();
        let allowed = match host.trim_matches(['[', ']']).parse::<IpAddr>() {
            Ok(ip) => self.allows_address(ip.to_canonical(), url.port_or_known_default()),
            Err(_) => self.allows_name(host.trim_end_matches('.')),
        };
        if allowed { Ok(()) } else { Err(format!("{host} is not fetched from; allowed: {self}")) }
    }

    fn allows_address(&self, ip: IpAddr, port: Option<u16>) -> bool {
        self.0.iter().any(|entry| match entry {
            Entry::Any => is_public(ip),
            Entry::Address(address, only) => *address == ip && (only.is_none() || *only == port),
            Entry::Host(_) | Entry::Below(_) => false,
        })
    }

    fn allows_name(&self, name: &str) -> bool {
        self.0.iter().any(|entry| match entry {
            Entry::Any => true,
            Entry::Host(host) => host == name,
            Entry::Below(host) => name.ends_with(host),
            Entry::Address(..) => false,
        })
    }
}

/// Whether an address belongs to the internet at large: by the special-purpose registries of IANA
/// (RFC 6890 and its successors), and for IPv6 only what is handed out as global unicast.
pub fn is_public(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(ip) => is_public_v4(ip),
        IpAddr::V6(ip) => is_public_v6(ip),
    }
}

fn is_public_v4(ip: Ipv4Addr) -> bool {
    let [a, b, c, _] = ip.octets();
    let shared = a == 100 && (64..128).contains(&b);
    let protocols = a == 192 && b == 0 && c == 0;
    let relays = a == 192 && b == 88 && c == 99;
    let benchmarks = a == 198 && (18..20).contains(&b);
    !(a == 0
        || a >= 224
        || shared
        || protocols
        || relays
        || benchmarks
        || ip.is_private()
        || ip.is_loopback()
        || ip.is_link_local()
        || ip.is_documentation())
}

fn is_public_v6(ip: Ipv6Addr) -> bool {
    let [a, b, ..] = ip.segments();
    let global = a & 0xe000 == 0x2000;
    // Teredo, 6to4 and the other protocols have addresses of IPv4 inside.
    let protocols = (a == 0x2001 && b < 0x0200) || a == 0x2002;
    let documentation = (a == 0x2001 && b == 0x0db8) || (a == 0x3fff && b < 0x1000);
    global && !protocols && !documentation
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allows(list: &str, url: &str) -> bool {
        list.parse::<Allowed>().unwrap().judge(&Url::parse(url).unwrap()).is_ok()
    }

    #[test]
    fn a_list_allows_what_it_names() {
        let list = "Example.org, *.wiki.test,127.0.0.1:9000";
        for url in [
            "https://example.org/a?b#c",
            concat!("http:", "//EXAMPLE.org:8080"),
            "http://example.org./",
            "https://en.wiki.test",
            "http://127.0.0.1:9000/x",
            "http://[::ffff:127.0.0.1]:9000/",
        ] {
            assert!(allows(list, url), "{url}");
        }
        for url in [
            "https://notexample.org",
            "https://sub.example.org",
            "https://wiki.test",
            "https://evilwiki.test",
            "http://127.0.0.1:9001/x",
            "http://127.0.0.1/",
            "http://example.org@10.0.0.1/",
            "https://me:secret@example.org/",
            "ftp://example.org/",
            "file:///etc/passwd",
        ] {
            assert!(!allows(list, url), "{url}");
        }
    }

    #[test]
    fn every_public_host_is_not_every_host() {
        // Written in ways that hide what they are.
        for url in [
            "http://127.1/",
            "http://2130706433/",
            concat!("http:", "//0x7f.0.0.1/"),
            "http://0/",
            "http://[::1]/",
            "http://[::ffff:10.0.0.1]/",
            "http://[64:ff9b::a00:1]/",
            "http://[2002:a00:1::]/",
            concat!("http:", "//169.254.169.254/latest/meta-data"),
            "http://[fd00:ec2::254]/",
        ] {
            assert!(!allows("*", url), "{url}");
        }
        assert!(allows("*", concat!("http:", "//93.184.215.14/")) && allows("*", "https://[2606:4700::1]/"));
        assert!(allows("*", "https://example.org"), "what its name means is judged when it is known");
    }

    #[test]
    fn addresses_that_are_not_public_are_known() {
        for ip in [
            "0.0.0.0",
            "10.1.2.3",
            "100.64.0.1",
            "127.8.8.8",
            "169.254.1.1",
            "172.31.0.1",
            "192.0.0.8",
            "192.0.2.1",
            "192.168.1.1",
            "198.19.0.1",
            "203.0.113.1",
            "224.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "fe80::1",
            "fc00::1",
            "ff02::1",
            "2001:db8::1",
            "2001::1",
            "100::1",
        ] {
            assert!(!is_public(ip.parse().unwrap()), "{ip}");
        }
        for ip in ["1.1.1.1", "100.128.0.1", "172.32.0.1", "192.0.1.1", "223.255.255.1", "2a00:1450::1"] {
            assert!(is_public(ip.parse().unwrap()), "{ip}");
        }
    }

    #[test]
    fn a_word_that_means_nothing_is_refused() {
        for word in ["", "a b", "http://example.org", "example.org/path", "example.org:80", "*.*.org", "a,,b"]
        {
            assert!(word.parse::<Allowed>().is_err(), "{word}");
        }
        let list: Allowed = "example.org,*.wiki.test,*,[::1]:9000".parse().unwrap();
        assert_eq!(list.to_string(), "example.org, *.wiki.test, any public host, [::1]:9000");
    }
}
