//! Mutual TLS over real sockets.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use kelpie_cluster::{Failure, Links, Pem, Refusal, Security, Tls, TlsError};
use kelpie_core::advice::Advice;
use kelpie_core::id::NodeId;
use kelpie_env::Env;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

use crate::peers::{Echo, after, ask, listen, local};

fn node_id(name: &str) -> NodeId {
    NodeId::new(name).unwrap()
}

struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    /// A certificate for that name.
    fn certify(&self, name: &str) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new([name.to_owned()]).unwrap();
        (params.signed_by(&key, &self.0).unwrap().pem(), key.serialize_pem())
    }

    fn tls(&self, env: &Env, node: &str, (certificate, key): &(String, String)) -> Result<Tls, TlsError> {
        let authorities = self.0.as_ref().pem();
        let pem = Pem {
            authorities: authorities.as_bytes(),
            certificate: certificate.as_bytes(),
            key: key.as_bytes(),
        };
        Tls::new(env, &node_id(node), pem)
    }

    fn security(&self, env: &Env, node: &str) -> Security {
        Security::Tls(Arc::new(self.tls(env, node, &self.certify(node)).unwrap()))
    }
}

/// What node `a` gets that asks node `b` once, and how many requests got through.
fn connect(
    a: impl FnOnce(&Env) -> Security,
    b: impl FnOnce(&Env) -> Security,
) -> (Result<(), Failure>, usize) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let env = kelpie_env::real::env_on(&tokio::runtime::Handle::current());
        let (asks, answers) = (local(&env, "a", a(&env)), local(&env, "b", b(&env)));
        let echo = Echo::new(&env);
        let (_listening, target) = listen(&answers, ([127, 0, 0, 1], 0).into(), None, echo.clone()).await;
        let asked = ask(&Links::new(asks), &target, after(Duration::ZERO)).await;
        (asked.map(|_| ()), echo.begun.load(Ordering::Relaxed))
    })
}

#[test]
fn two_nodes_of_one_authority_connect() {
    let authority = Authority::new();
    let connected = connect(|env| authority.security(env, "a"), |env| authority.security(env, "b"));
    assert_eq!(connected, (Ok(()), 1));
}

#[test]
fn a_certificate_of_another_node_of_another_authority_or_none_gets_nothing_through() {
    let (authority, other) = (Authority::new(), Authority::new());
    // The listener's certificate is for somebody else: the opener does not go on.
    let (failure, through) = connect(|env| authority.security(env, "a"), |env| authority.security(env, "c"));
    assert!(failure.unwrap_err().to_string().contains("not valid for name"));
    assert_eq!(through, 0);
    // The opener's is: the listener says why.
    let (failure, through) = connect(|env| authority.security(env, "c"), |env| authority.security(env, "b"));
    let Err(Failure::Rejected { refusal, .. }) = failure else { panic!("{failure:?}") };
    assert_eq!((refusal, through), (Refusal::WrongCertificate { node: "a".to_owned() }, 0));
    for (a, b) in [(&authority, &other), (&other, &authority)] {
        let (failure, through) = connect(|env| a.security(env, "a"), |env| b.security(env, "b"));
        let failure = failure.unwrap_err();
        assert!(
            failure.to_string().contains("certificate") || failure.to_string().contains("UnknownC"),
            "{failure}"
        );
        assert_eq!((failure.advice(), through), (Advice::NotRun, 0));
    }
    // One of the two has none, and the reason is known to it.
    let (failure, through) = connect(|_| Security::Loopback, |env| authority.security(env, "b"));
    let Err(Failure::Unreachable { reason, .. }) = failure else { panic!("{failure:?}") };
    let wanted = "the peer has certificates and this node has none: start both with them";
    assert_eq!((reason.as_str(), through), (wanted, 0));
    let (failure, through) = connect(|env| authority.security(env, "a"), |_| Security::Loopback);
    assert_eq!((failure.unwrap_err().advice(), through), (Advice::NotRun, 0));
}

#[test]
fn a_node_does_not_start_with_a_certificate_that_is_not_its_own() {
    let authority = Authority::new();
    let env = kelpie_env::sim::Sim::new(1).node("a").env();
    let certified = authority.certify("a");
    assert!(matches!(authority.tls(&env, "b", &certified), Err(TlsError::Name { .. })));
    assert!(matches!(authority.tls(&env, "not a host", &certified), Err(TlsError::NoHostName { .. })));
    let (certificate, _) = certified;
    let no_key = (certificate.clone(), certificate.clone());
    assert!(matches!(authority.tls(&env, "a", &no_key), Err(TlsError::Pem { what: "key", .. })));
    let foreign = (certificate, KeyPair::generate().unwrap().serialize_pem());
    assert!(matches!(authority.tls(&env, "a", &foreign), Err(TlsError::Config(_))));
}
