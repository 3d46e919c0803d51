//! Connections that are encrypted, to a server whose certificate the test has made.

use std::path::{Path, PathBuf};

use kelpie_env::real;
use kelpie_storage::{OpenError, Store};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use tempfile::TempDir;

use super::server::{Own, client, fresh_on};
use super::{put, value};

/// An authority: what it signs with, and the file that tells whom to trust.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    file: PathBuf,
}

impl Authority {
    fn new(dir: &Path, name: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut parameters = CertificateParams::new(vec![]).unwrap();
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        parameters.distinguished_name.push(rcgen::DnType::CommonName, name);
        let file = dir.join(name);
        std::fs::write(&file, parameters.self_signed(&key).unwrap().pem()).unwrap();
        Self { issuer: Issuer::new(parameters, key), file }
    }

    /// A server that it has signed for `localhost`, and for no address.
    fn server(&self) -> Own {
        let key = KeyPair::generate().unwrap();
        let parameters = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        let certificate = parameters.signed_by(&key, &self.issuer).unwrap();
        let files = [("server.crt", certificate.pem()), ("server.key", key.serialize_pem())];
        Own::start_with(&files, vec!["ssl=on"])
    }
}

/// Opens a store under this part of a URL, by name instead of by address if asked.
async fn opened(server: &Own, by_name: bool, parameters: &str) -> Result<Store, OpenError> {
    let mut url = fresh_on(&server.url()).with(parameters).text;
    if by_name {
        url = url.replace("127.0.0.1", "localhost");
    }
    Store::open(&url.parse().unwrap(), &real::env()).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_are_encrypted_and_certificates_checked_as_asked() {
    let dir = TempDir::new().unwrap();
    let (ours, other) = (Authority::new(dir.path(), "ours"), Authority::new(dir.path(), "other"));
    let server = ours.server();
    let trust = |authority: &Authority| format!("sslrootcert={}", authority.file.display());
    let (ours, other) = (trust(&ours), trust(&other));
    for (by_name, parameters) in [
        (false, "sslmode=prefer".to_owned()),
        (false, "sslmode=require".to_owned()),
        (false, format!("sslmode=verify-ca&{ours}")),
        (true, format!("sslmode=verify-full&{ours}")),
    ] {
        let store = opened(&server, by_name, &format!("{parameters}&application_name=by_tls")).await.unwrap();
        put(&store, b"a", b"1").await;
        assert_eq!(value(&store, b"a").await.unwrap(), "1");
        let client = client(&server.url()).await;
        let counted = client.query_one(
            "SELECT count(*) FILTER (WHERE ssl), count(*) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) \
             WHERE application_name = 'by_tls'",
            &[],
        );
        let counted = counted.await.unwrap();
        let (encrypted, all): (i64, i64) = (counted.get(0), counted.get(1));
        assert!(encrypted > 0 && encrypted == all, "{parameters}: {encrypted} of {all} are encrypted");
        store.close().await.unwrap();
        super::server::gone(&server.url(), "by_tls").await;
    }
    for (by_name, parameters, said) in [
        (true, format!("sslmode=verify-full&{other}"), "not trusted"),
        (false, format!("sslmode=verify-ca&{other}"), "not trusted"),
        (false, format!("sslmode=require&{other}"), "not trusted"),
        (false, format!("sslmode=verify-full&{ours}"), "another name"),
        (true, "sslmode=verify-full&sslrootcert=/nowhere.pem".to_owned(), "/nowhere.pem"),
    ] {
        let refused = opened(&server, by_name, &parameters).await.unwrap_err();
        assert!(matches!(refused, OpenError::Unfit { .. }), "{parameters}: {refused:?}");
        assert!(refused.to_string().contains(said), "{parameters}: {refused}");
    }
}

#[tokio::test]
async fn a_server_without_encryption_is_refused_where_it_is_required() {
    let server = Own::start();
    let refused = opened(&server, false, "sslmode=require").await.unwrap_err();
    assert!(refused.to_string().contains("does not support TLS"), "{refused}");
    opened(&server, false, "sslmode=prefer").await.unwrap().close().await.unwrap();
}
