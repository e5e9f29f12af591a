//! What all clients of this crate that speak HTTP have in common: whom they trust, and where they
//! send what is secret.

pub(crate) use crate::redirect::resolve;
use crate::trust;
pub(crate) use crate::trust::{read, said};
use http::Uri;
use http::header::{self, HeaderMap};
use http_body::Body;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use rustls::RootCertStore;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

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
    let roots = trust::roots(ca)?;
    if roots.is_empty() && to.scheme_str() == Some("https") {
        return Err(format!("this system trusts no certificates; name some ({variable})"));
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

/// Seconds, or a date.
pub(crate) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = httpdate::parse_http_date(text).ok()?;
    Some(date.duration_since(SystemTime::now()).unwrap_or_default())
}
