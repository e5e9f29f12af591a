//! What all clients of this crate that speak HTTP have in common: whom they trust, and where they
//! send what is secret.

use crate::file::{self, ReadError};
use http::Uri;
use http_body::Body;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use std::error::Error as StdError;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

/// The most that a file with a token or a certificate may hold.
const MAX_FILE: usize = 256 * 1024;

pub(crate) type Client<B> = legacy::Client<HttpsConnector<HttpConnector>, B>;

/// A client for HTTP/1 with and without TLS. It trusts the certificates in `ca` and no others,
/// or what the system trusts; `variable` is where an operator names them.
pub(crate) fn client<B>(to: &Uri, ca: Option<&Path>, variable: &str) -> Result<Client<B>, String>
where
    B: Body + Send,
    B::Data: Send,
{
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots(to, ca, variable)?)
        .with_no_client_auth();
    let connector =
        HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1().build();
    Ok(legacy::Client::builder(TokioExecutor::new()).pool_max_idle_per_host(1).build(connector))
}

fn roots(to: &Uri, ca: Option<&Path>, variable: &str) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    let Some(path) = ca else {
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if roots.is_empty() && to.scheme_str() == Some("https") {
            return Err(format!("this system trusts no certificates; name some ({variable})"));
        }
        return Ok(roots);
    };
    let wrong = |what: &str| format!("the certificates in {}: {what}", path.display());
    for certificate in CertificateDer::pem_slice_iter(&read(path)?) {
        let certificate = certificate.map_err(|error| wrong(&error.to_string()))?;
        roots.add(certificate).map_err(|error| wrong(&error.to_string()))?;
    }
    if roots.is_empty() {
        return Err(wrong("there are none"));
    }
    Ok(roots)
}

/// Whether nobody on the way can read what is sent there.
pub(crate) fn is_private(to: &Uri) -> bool {
    to.scheme_str() == Some("https") || to.host().is_some_and(is_loopback)
}

fn is_loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost")
        || bare.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// A file with a token or certificates.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>, String> {
    file::read(path, MAX_FILE).map_err(|error| {
        let shown = path.display();
        match error {
            ReadError::System(error) => format!("{shown} cannot be read: {error}"),
            ReadError::NotAFile(what) => format!("{shown} is {what}, not a file"),
            ReadError::TooLarge => format!("{shown} is larger than 256 KiB"),
        }
    })
}

/// All that an error says, since the outermost one says next to nothing.
pub(crate) fn said(error: &dyn StdError) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.ends_with(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text
}
