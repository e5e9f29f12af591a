//! URLs of backing services: user and password, several hosts, a path, options.
//!
//! RFC 3986, but with commas between hosts. Everything is decoded when it comes in and encoded when
//! it goes out, so that a password may hold anything. No error repeats any part of the URL.

use crate::secret::{REDACTED, Secret};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use std::fmt;
use std::net::Ipv6Addr;

/// All but the unreserved characters of RFC 3986, section 2.3.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A host, and the port if it is known.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Endpoint {
    /// A name or an address; an IPv6 address without brackets.
    pub host: String,
    /// The port: the one that was given, else that of the scheme.
    pub port: Option<u16>,
}

/// `db:5432`, and `[::1]:5432`.
impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]", self.host)?;
        } else {
            f.write_str(&self.host)?;
        }
        match self.port {
            Some(port) => write!(f, ":{port}"),
            None => Ok(()),
        }
    }
}

/// A URL in parts, decoded.
#[derive(Clone, PartialEq, Eq, Default)]
pub(super) struct Url {
    pub(super) scheme: String,
    pub(super) username: Option<String>,
    pub(super) password: Option<Secret<String>>,
    pub(super) endpoints: Vec<Endpoint>,
    /// What stands between slashes. A slash in one of them is not one between two.
    pub(super) segments: Vec<String>,
    pub(super) options: Vec<(String, String)>,
}

/// Reads a URL. The error fits after the name of a key.
pub(super) fn parse(text: &str) -> Result<Url, String> {
    if text.contains(|c: char| c.is_whitespace() || c.is_control()) {
        return Err(
            "a space, newline or control character stands in it; write a space as %20".into()
        );
    }
    let (scheme, rest) =
        text.split_once("://").ok_or("it does not begin with a scheme and `://`")?;
    let letters = |c: char| c.is_ascii_alphanumeric() || "+.-".contains(c);
    if !scheme.starts_with(|c: char| c.is_ascii_alphabetic()) || !scheme.chars().all(letters) {
        return Err("its scheme may hold letters, digits, `+`, `.` and `-`".into());
    }
    if rest.contains('#') {
        return Err("a `#` stands in it; write it as %23".into());
    }
    let (before, query) = rest.split_once('?').map_or((rest, None), |(a, b)| (a, Some(b)));
    let (authority, path) = before.split_once('/').map_or((before, None), |(a, b)| (a, Some(b)));
    let (user, hosts) = match authority.rsplit_once('@') {
        Some((user, hosts)) => (Some(user), hosts),
        None => (None, authority),
    };
    if user.is_none() && is_cut_password(path, query) {
        return Err(
            "an `@` after the host is written %40; if it ends a user name and password, a \
                    `/` or `?` in them is written %2F or %3F"
                .into(),
        );
    }
    let mut url = Url { scheme: scheme.to_ascii_lowercase(), ..Url::default() };
    if let Some(user) = user {
        if user.contains('@') {
            return Err("an `@` in a user name or password is written %40".into());
        }
        let (name, password) = user.split_once(':').map_or((user, None), |(a, b)| (a, Some(b)));
        url.username = Some(decode(name)?).filter(|name| !name.is_empty());
        url.password = password.map(decode).transpose()?.map(Secret::new);
    }
    if !hosts.is_empty() {
        url.endpoints = hosts.split(',').map(endpoint).collect::<Result<_, _>>()?;
    }
    if let Some(path) = path {
        url.segments = path.split('/').map(decode).collect::<Result<_, _>>()?;
    }
    for option in query.into_iter().flat_map(|query| query.split('&')) {
        if option.is_empty() {
            continue;
        }
        let (name, value) = option.split_once('=').unwrap_or((option, ""));
        url.options.push((decode(name)?, decode(value)?));
    }
    Ok(url)
}

/// Whether what stands behind the host may be the end of a password, as in `user:12/34@host` and
/// `user:12?34@host`. It would be shown.
fn is_cut_password(path: Option<&str>, query: Option<&str>) -> bool {
    // An `@` in the value of an option is usual.
    let name = query.map(|query| query.split_once('=').map_or(query, |(name, _)| name));
    [path, name].into_iter().flatten().any(|text| text.contains('@'))
}

/// Reads `host`, `host:port` or `[address]:port`.
pub(super) fn endpoint(text: &str) -> Result<Endpoint, String> {
    let (name, port) = if let Some(rest) = text.strip_prefix('[') {
        let (name, rest) = rest.split_once(']').ok_or("a `[` without its `]`")?;
        match rest.strip_prefix(':') {
            _ if rest.is_empty() => (name, None),
            Some(port) => (name, Some(port)),
            None => return Err("after `]` only `:` and a port may stand".into()),
        }
    } else {
        match text.split_once(':') {
            Some((_, rest)) if rest.contains(':') => {
                return Err("an IPv6 address stands in brackets, as in `[::1]:5432`".into());
            }
            Some((name, port)) => (name, Some(port)),
            None => (text, None),
        }
    };
    let host = host(name, text.starts_with('['))?;
    let digits = |port: &&str| port.bytes().all(|byte| byte.is_ascii_digit());
    let number = |port: &str| Some(port).filter(digits)?.parse().ok().filter(|port| *port > 0);
    let port = match port {
        None => None,
        Some(port) => Some(number(port).ok_or("a port is a number from 1 to 65535")?),
    };
    Ok(Endpoint { host, port })
}

/// A host alone: a name, an IPv4 or an IPv6 address.
pub(super) fn host(text: &str, address: bool) -> Result<String, String> {
    if address || text.contains(':') {
        let parsed: Result<Ipv6Addr, _> = text.parse();
        let parsed = parsed.map_err(|_| "what stands in brackets is no IPv6 address")?;
        return Ok(parsed.to_string());
    }
    let letters = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
    if text.is_empty() || !text.chars().all(letters) {
        return Err("a host is a name of letters, digits, `-`, `_` and `.`, or an address".into());
    }
    Ok(text.to_ascii_lowercase())
}

fn decode(text: &str) -> Result<String, String> {
    let escapes = text.split('%').skip(1);
    let is_escape =
        |rest: &str| rest.len() >= 2 && rest.bytes().take(2).all(|byte| byte.is_ascii_hexdigit());
    if !escapes.into_iter().all(is_escape) {
        return Err("a `%` without two hex digits after it; write a percent sign as %25".into());
    }
    let decoded = percent_decode_str(text).decode_utf8();
    decoded.map(std::borrow::Cow::into_owned).map_err(|_| "what is escaped is not UTF-8".into())
}

fn encode(text: &str) -> percent_encoding::PercentEncode<'_> {
    utf8_percent_encode(text, RESERVED)
}

impl Url {
    /// The path, encoded, with the slash before it; empty if there is none.
    pub(super) fn path(&self) -> String {
        self.segments
            .iter()
            .fold(String::new(), |path, segment| path + "/" + &encode(segment).to_string())
    }

    /// The whole URL with its secrets.
    pub(super) fn exposed(&self) -> String {
        self.write(|text| encode(text).to_string())
    }

    /// The URL for people to see.
    pub(super) fn redacted(&self) -> String {
        self.write(|_| REDACTED.to_owned())
    }

    fn write(&self, secret: impl Fn(&str) -> String) -> String {
        let name = self.username.as_deref();
        // Where a name comes alone over HTTP, it is a token.
        let token = self.password.is_none() && self.scheme.starts_with("http");
        let mut user = match name {
            Some(name) if token => secret(name),
            name => encode(name.unwrap_or_default()).to_string(),
        };
        if let Some(password) = &self.password {
            user = user + ":" + &secret(password.expose());
        }
        let at = if self.password.is_some() || name.is_some() { "@" } else { "" };
        let hosts: Vec<_> = self.endpoints.iter().map(ToString::to_string).collect();
        let option = |(name, value): &(String, String)| {
            let value = if is_credential(name) { secret(value) } else { encode(value).to_string() };
            format!("{}={value}", encode(name))
        };
        let options: Vec<_> = self.options.iter().map(option).collect();
        let query = if options.is_empty() { "" } else { "?" };
        let (hosts, path, options) = (hosts.join(","), self.path(), options.join("&"));
        format!("{}://{user}{at}{hosts}{path}{query}{options}", self.scheme)
    }
}

/// Whether an option of this name holds what must not be seen.
pub(super) fn is_credential(name: &str) -> bool {
    const PARTS: [&str; 9] =
        ["pass", "pwd", "secret", "token", "credential", "key", "signature", "jaas", "properties"];
    let name = name.to_ascii_lowercase();
    name == "sig" || PARTS.iter().any(|part| name.contains(part))
}
