//! What all clients of this crate that speak HTTP have in common: whom they trust, and where they
//! send what is secret.

use crate::file::{self, ReadError};
use http::Uri;
use http::header::{self, HeaderMap};
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
use std::time::{Duration, SystemTime};

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

/// Where `to` leads, said in an answer from `from` (RFC 3986, section 5.2, as far as redirects go).
pub(crate) fn resolve(to: &str, from: &Uri) -> Option<Uri> {
    let (scheme, authority) = (from.scheme_str()?, from.authority()?);
    let (path, query) = match to.split_once('?') {
        Some((path, query)) => (path, format!("?{query}")),
        None => (to, String::new()),
    };
    if to.contains("://") && to.find("://") < to.find('/') {
        return to.parse().ok();
    }
    if to.starts_with("//") {
        return format!("{scheme}:{to}").parse().ok();
    }
    let dir = from.path().rsplit_once('/').map_or("", |(dir, _)| dir);
    let whole = match path {
        "" => from.path().to_owned(),
        path if path.starts_with('/') => path.to_owned(),
        path => format!("{dir}/{path}"),
    };
    let mut parts: Vec<&str> = Vec::new();
    for part in whole.split('/').skip(1) {
        match part {
            "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    format!("{scheme}://{authority}/{}{query}", parts.join("/")).parse().ok()
}

/// Seconds, or a date.
pub(crate) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = httpdate::parse_http_date(text).ok()?;
    Some(date.duration_since(SystemTime::now()).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::resolve;

    #[test]
    fn redirects_lead_where_a_browser_would_go() {
        let from = "https://a:1/b/c.toml?q=1".parse().unwrap();
        for (to, whole) in [
            ("https://x/y", "https://x/y"),
            ("//x/y?z", "https://x/y?z"),
            ("/y", "https://a:1/y"),
            ("d.toml", "https://a:1/b/d.toml"),
            ("./d.toml?r=2", "https://a:1/b/d.toml?r=2"),
            ("../d.toml", "https://a:1/d.toml"),
            ("../../d.toml", "https://a:1/d.toml"),
            ("?r=2", "https://a:1/b/c.toml?r=2"),
            ("/y?u=http://x/", "https://a:1/y?u=http://x/"),
        ] {
            assert_eq!(resolve(to, &from).unwrap().to_string(), whole, "{to}");
        }
    }
}
