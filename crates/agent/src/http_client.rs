//! Where HTTP clients come from.
//!
//! The HTTP library brings no cryptography of its own: the default one takes half a minute
//! longer to compile. So it has to be chosen before the first client is built, and this is the
//! only place that builds one (a lint keeps it so).

use std::net::IpAddr;

use reqwest::{ClientBuilder, Url};

/// A client for any server; trusts the certificates that the operating system trusts.
pub fn for_anywhere() -> ClientBuilder {
    // Only the first choice of a process counts, and any that stands already serves as well.
    drop(rustls::crypto::ring::default_provider().install_default());
    #[expect(clippy::disallowed_methods, reason = "the place where the cryptography was just chosen")]
    ClientBuilder::new()
}

/// A client for one server. For one without TLS it needs no certificates, which a small machine
/// may not have; one on this very machine is reached past any proxy.
pub fn for_server(base: &Url) -> ClientBuilder {
    let builder = for_anywhere();
    let builder = if is_loopback(base) { builder.no_proxy() } else { builder };
    if base.scheme() == "https" { builder } else { builder.tls_certs_only([]) }
}

fn is_loopback(url: &Url) -> bool {
    match url.host_str() {
        Some("localhost") => true,
        Some(host) => {
            host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
        }
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_told_from_the_world() {
        let is = |url| is_loopback(&Url::parse(url).unwrap());
        assert!(is("http://127.0.0.1:11434/v1") && is("http://localhost:1/") && is("http://[::1]:1/"));
        assert!(!is("https://api.openai.com/v1") && !is("http://127.example/"));
    }

    #[test]
    fn both_kinds_of_client_can_be_built() {
        assert!(for_server(&Url::parse("http://127.0.0.1:1").unwrap()).build().is_ok());
        assert!(for_server(&Url::parse("https://example.org").unwrap()).build().is_ok());
    }
}
