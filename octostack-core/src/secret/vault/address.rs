//! Where the server is, and where its tokens may go.

use crate::https;
use http::Uri;
use std::fmt;

/// The address of a server, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Address {
    /// Without a path.
    origin: String,
    /// Before `/v1`, without a slash at the end. Empty unless the server is behind a proxy.
    prefix: String,
    /// Whether tokens may go where others can read them.
    allow_plain: bool,
}

impl Address {
    /// Reads `text`.
    ///
    /// # Errors
    /// What is wrong. It does not repeat the text, which may hold a password.
    pub(super) fn parse(text: &str, allow_plain: bool) -> Result<Self, String> {
        let example = "is no address such as `https://vault.internal:8200`";
        let uri: Uri = text.trim().parse().map_err(|_| example)?;
        let scheme = uri.scheme_str().unwrap_or_default();
        let host = uri.host().unwrap_or_default();
        let authority = uri.authority().map(http::uri::Authority::as_str).unwrap_or_default();
        if !matches!(scheme, "http" | "https") || host.is_empty() {
            return Err(example.to_owned());
        }
        if authority.contains('@') {
            return Err("holds a user or a password, and needs none".to_owned());
        }
        // HTTP would take the usual port instead of one that is none.
        if authority.len() > host.len() && uri.port_u16().is_none() {
            return Err(example.to_owned());
        }
        if uri.query().is_some() {
            return Err("holds a query, and needs none".to_owned());
        }
        let prefix = uri.path().trim_end_matches('/').to_owned();
        if prefix == "/v1" || prefix.ends_with("/v1") {
            return Err("ends with `/v1`, which is added to it; leave that away".to_owned());
        }
        let address = Self { origin: format!("{scheme}://{authority}"), prefix, allow_plain };
        if !address.may_know(&uri) {
            let what = "is not encrypted, so that others can read the secrets: use https, or http \
                        on loopback, or say allow_plain = true";
            return Err(what.to_owned());
        }
        Ok(address)
    }

    /// The URL of `path`, which is encoded.
    pub(super) fn url(&self, path: &str) -> Result<Uri, http::uri::InvalidUri> {
        format!("{self}/v1/{path}").parse()
    }

    /// Whether tokens and secrets may travel to and from `to`.
    pub(super) fn may_know(&self, to: &Uri) -> bool {
        self.allow_plain || https::is_private(to)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.origin, self.prefix)
    }
}

/// Where an answer with status 301, 302, 307 or 308 sends a request that went to `from`. A server
/// that waits for its turn sends requests to the one that has it, which needs the token too.
///
/// # Errors
/// Why the request does not go there.
pub(super) fn redirect(address: &Address, from: &Uri, to: Option<&str>) -> Result<Uri, String> {
    let to = to.and_then(|to| https::resolve(to, from)).ok_or("redirects to no address")?;
    if from.scheme_str() == Some("https") && to.scheme_str() != Some("https") {
        return Err("redirects from https to http".to_owned());
    }
    if !matches!(to.scheme_str(), Some("http" | "https")) || !address.may_know(&to) {
        return Err("redirects to where others could read the token".to_owned());
    }
    Ok(to)
}

#[cfg(test)]
mod tests {
    use super::{Address, redirect};

    #[test]
    fn addresses_are_private_unless_that_is_allowed() {
        for (text, whole) in [
            ("https://vault:8200", "https://vault:8200"),
            ("https://vault/", "https://vault"),
            ("http://127.0.0.1:8200", "http://127.0.0.1:8200"),
            ("http://[::1]:8200", "http://[::1]:8200"),
            ("https://proxy/team/vault/", "https://proxy/team/vault"),
        ] {
            let address = Address::parse(text, false).unwrap();
            assert_eq!(address.to_string(), whole);
            assert_eq!(
                address.url("kv/a%20b").unwrap().to_string(),
                format!("{whole}/v1/kv/a%20b")
            );
        }
        for (text, why) in [
            ("vault:8200", "is no address"),
            ("", "is no address"),
            ("ftp://vault", "is no address"),
            ("https://vault:82000", "is no address"),
            ("https://[::1]:82000", "is no address"),
            ("https://vault:", "is no address"),
            ("https://me:hunter2@vault", "a user or a password"),
            ("https://vault?token=hunter2", "a query"),
            ("https://vault/v1/", "ends with `/v1`"),
            ("http://vault:8200", "is not encrypted"),
        ] {
            let error = Address::parse(text, false).unwrap_err();
            assert!(error.contains(why) && !error.contains("hunter2"), "{text}: {error}");
        }
        assert!(Address::parse("http://vault:8200", true).is_ok());
    }

    #[test]
    fn tokens_follow_redirects_to_private_places_only() {
        let go = |from: &str, to: &str, plain| {
            let address = Address::parse("https://a", plain).unwrap();
            redirect(&address, &from.parse().unwrap(), Some(to)).map(|to| to.to_string())
        };
        assert_eq!(go("https://a/v1/x", "https://b/v1/x", false).unwrap(), "https://b/v1/x");
        assert_eq!(go("https://a/v1/x", "/v1/y", false).unwrap(), "https://a/v1/y");
        assert_eq!(go("http://[::1]/v1/x", "https://b/", false).unwrap(), "https://b/");
        assert!(go("https://a/v1/x", "http://127.0.0.1/v1/x", false).is_err());
        assert!(go("https://a/v1/x", "http://127.0.0.1/v1/x", true).is_err());
        assert!(go("http://[::1]/v1/x", "http://b/v1/x", false).is_err());
        assert!(go("http://[::1]/v1/x", "http://b/v1/x", true).is_ok());
        assert!(go("https://a/v1/x", "ftp://b/", true).is_err());
        let address = Address::parse("https://a", true).unwrap();
        assert!(redirect(&address, &"https://a/".parse().unwrap(), None).is_err());
    }
}
