//! TLS to the server, checked as far as `sslmode` asks.

use std::io;
use std::path::Path;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::options::{CertificateCheck, PostgresOptions, chain};

/// What opens TLS connections, or why the trusted certificates cannot be had.
pub(super) fn connector(options: &PostgresOptions) -> Result<MakeRustlsConnect, String> {
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|error| chain(&error))?;
    let verifier: Arc<dyn ServerCertVerifier> = match options.check {
        CertificateCheck::None => Arc::new(AnyName { provider, authorities: None }),
        CertificateCheck::Authority => {
            let authorities = Some(authorities(options, provider.clone())?);
            Arc::new(AnyName { provider, authorities })
        }
        CertificateCheck::Full => authorities(options, provider)?,
    };
    let config = builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth();
    Ok(MakeRustlsConnect::new(config))
}

fn authorities(
    options: &PostgresOptions,
    provider: Arc<CryptoProvider>,
) -> Result<Arc<WebPkiServerVerifier>, String> {
    let mut roots = RootCertStore::empty();
    let certificates = match &options.authorities {
        Some(path) => {
            let at =
                |error: &dyn std::error::Error| format!("sslrootcert {}: {}", path.display(), chain(error));
            let pem = read(path).map_err(|error| at(&error))?;
            CertificateDer::pem_slice_iter(&pem).collect::<Result<Vec<_>, _>>().map_err(|error| at(&error))?
        }
        None => rustls_native_certs::load_native_certs().certs,
    };
    roots.add_parsable_certificates(certificates);
    if roots.is_empty() {
        return Err("no certificate to trust: name a PEM file with `sslrootcert`".to_owned());
    }
    WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider)
        .build()
        .map_err(|error| chain(&error))
}

/// What to do about a connection that failed over the server's certificate.
pub(super) fn refused_certificate(error: &tokio_postgres::Error) -> Option<String> {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        let wrapped = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        let wrapped = wrapped.and_then(|error| error.downcast_ref::<Error>());
        if let Some(Error::InvalidCertificate(why)) = wrapped.or(error.downcast_ref::<Error>()) {
            let is_name = matches!(
                why,
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. }
            );
            return Some(if *why == CertificateError::UnknownIssuer {
                "its certificate is signed by an authority that is not trusted here: name the authority's PEM \
                 file with `sslrootcert`"
                    .to_owned()
            } else if is_name {
                format!(
                    "its certificate is for another name ({why}): connect under that one, or check the authority \
                     alone with `sslmode=verify-ca`"
                )
            } else {
                format!("its certificate is refused: {why}")
            });
        }
        cause = error.source();
    }
    None
}

#[expect(clippy::disallowed_methods, reason = "read once, at the start of an adapter to the outside")]
fn read(path: &Path) -> io::Result<Vec<u8>> {
    std::fs::read(path)
}

/// Trusts whatever the authorities have signed, under any name; without authorities,
/// everything.
#[derive(Debug)]
struct AnyName {
    provider: Arc<CryptoProvider>,
    authorities: Option<Arc<WebPkiServerVerifier>>,
}

impl ServerCertVerifier for AnyName {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let Some(authorities) = &self.authorities else { return Ok(ServerCertVerified::assertion()) };
        match authorities.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now) {
            // Checked last, when the rest was found good.
            Err(Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => Ok(ServerCertVerified::assertion()),
            other => other,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
