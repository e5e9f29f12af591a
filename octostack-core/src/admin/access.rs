//! Who may do what: a pure function of what a request says and how the port is set up.
//!
//! The port is made for people at a terminal and for collectors, not for browsers; but a browser on
//! the same machine can reach loopback too, so every rule here also keeps out what a web page could
//! make a browser do: a name that is re-bound to 127.0.0.1 fails the `Host` check, a form or script
//! of another origin fails the checks of `Origin`, `Sec-Fetch-Site` and content type.
use super::Tokens;
use crate::secret::Secret;
use http::request::Parts;
use http::uri::Authority;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use std::net::{Ipv4Addr, Ipv6Addr};

/// Who may read a page. Changes have rules of their own, whatever the page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Anybody: probes, which say nothing but well or not.
    Anyone,
    /// Anybody who reaches an address that is not loopback; on loopback, whoever calls it by a
    /// loopback name. For metrics, whose collectors seldom carry tokens.
    Collectors,
    /// Whoever calls loopback by a loopback name; on other addresses whoever has a token.
    Operators,
}

/// How the port is set up.
#[derive(Clone, Copy, Debug)]
pub(super) struct Setting {
    /// The port is bound to a loopback address.
    pub(super) loopback: bool,
    /// The environment is `development`.
    pub(super) development: bool,
}

/// What a request says that matters here.
#[derive(Clone, Debug)]
pub(super) struct Facts<'a> {
    reads: bool,
    /// What it calls this server; `None` for nothing, or for several things.
    host: Option<Authority>,
    bearer: Option<&'a str>,
    origins: Vec<&'a [u8]>,
    fetch_site: Vec<&'a [u8]>,
    has_body: bool,
    is_json: bool,
}

/// The token that a request came with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Token {
    Read,
    Write,
}

impl Token {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
        }
    }
}

/// Why not, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) status: StatusCode,
    pub(super) detail: &'static str,
}

static SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

impl<'a> Facts<'a> {
    pub(super) fn of(parts: &'a Parts, has_body: bool) -> Self {
        let all = |name: &HeaderName| -> Vec<&'a [u8]> {
            let values = parts.headers.get_all(name).iter();
            values.map(HeaderValue::as_bytes).collect()
        };
        Self {
            reads: matches!(parts.method, Method::GET | Method::HEAD),
            host: host(parts),
            bearer: bearer(&parts.headers),
            origins: all(&header::ORIGIN),
            fetch_site: all(&SEC_FETCH_SITE),
            has_body,
            is_json: is_json(&parts.headers),
        }
    }

    fn foreign_origin(&self) -> bool {
        let own = |origin: &[u8]| {
            let origin = std::str::from_utf8(origin).ok();
            let rest = origin.and_then(|o| o.split_once("://")).map(|(_, rest)| rest);
            let theirs = rest.and_then(|rest| rest.parse::<Authority>().ok());
            theirs.is_some() && theirs == self.host
        };
        !self.origins.iter().all(|origin| own(origin))
    }

    fn foreign_site(&self) -> bool {
        let own = |site: &[u8]| site == b"none" || site == b"same-origin";
        !self.fetch_site.iter().all(|site| own(site))
    }
}

/// Whether the request may go on, and with which token it came.
pub(super) fn decide(
    facts: &Facts<'_>,
    access: Access,
    setting: Setting,
    tokens: &Tokens,
) -> Result<Option<Token>, Refusal> {
    if facts.reads && access == Access::Anyone {
        return Ok(None);
    }
    if setting.loopback && !facts.host.as_ref().is_some_and(is_loopback_name) {
        return forbid("this port is on loopback: call it as localhost, 127.0.0.1 or [::1]");
    }
    let token = known(facts.bearer, tokens);
    if !facts.reads {
        return may_change(facts, setting, tokens, token);
    }
    let open = setting.loopback || access == Access::Collectors;
    match token {
        None if open => Ok(None),
        None if tokens.read.is_none() && tokens.write.is_none() => forbid(
            "this port is not on loopback and has no token: set ADMIN_TOKEN or ADMIN_READ_TOKEN, \
             or bind it to 127.0.0.1",
        ),
        None => unauthorized("send `Authorization: Bearer` with the read or the write token"),
        token => Ok(token),
    }
}

fn may_change(
    facts: &Facts<'_>,
    setting: Setting,
    tokens: &Tokens,
    token: Option<Token>,
) -> Result<Option<Token>, Refusal> {
    if facts.foreign_origin() || facts.foreign_site() {
        return forbid("changes are not accepted from web pages of another origin");
    }
    match (&tokens.write, token) {
        (Some(_), Some(Token::Read)) => return forbid("the read token may not change anything"),
        (Some(_), None) => {
            return unauthorized("send `Authorization: Bearer` with the write token");
        }
        (None, _) if tokens.read.is_some() => {
            return forbid("only a read token is configured: set ADMIN_TOKEN to allow changes");
        }
        (None, _) if !(setting.loopback && setting.development) => {
            return forbid(
                "no token is configured, so changes are accepted only on loopback in environment \
                 development: set ADMIN_TOKEN",
            );
        }
        (Some(_), Some(Token::Write)) | (None, _) => {}
    }
    if facts.has_body && !facts.is_json {
        return Err(Refusal {
            status: StatusCode::UNSUPPORTED_MEDIA_TYPE,
            detail: "send the body as `content-type: application/json`",
        });
    }
    Ok(token)
}

/// Which token this is. Compares with both, whichever it is, in constant time.
fn known(bearer: Option<&str>, tokens: &Tokens) -> Option<Token> {
    let bearer = bearer.filter(|bearer| !bearer.is_empty())?;
    let is = |token: &Option<Secret<String>>| token.as_ref().is_some_and(|t| t.matches(bearer));
    let (write, read) = (is(&tokens.write), is(&tokens.read));
    match (write, read) {
        (true, _) => Some(Token::Write),
        (false, true) => Some(Token::Read),
        (false, false) => None,
    }
}

fn forbid<T>(detail: &'static str) -> Result<T, Refusal> {
    Err(Refusal { status: StatusCode::FORBIDDEN, detail })
}

fn unauthorized<T>(detail: &'static str) -> Result<T, Refusal> {
    Err(Refusal { status: StatusCode::UNAUTHORIZED, detail })
}

/// What the request calls this server. HTTP/2 says it in the URI, HTTP/1 in a header or, to a
/// proxy, in both; whoever says two different things gets none.
fn host(parts: &Parts) -> Option<Authority> {
    let mut names = Vec::new();
    for value in parts.headers.get_all(header::HOST) {
        names.push(value.to_str().ok()?.parse::<Authority>().ok()?);
    }
    names.extend(parts.uri.authority().cloned());
    let first = names.pop()?;
    names.iter().all(|name| *name == first).then_some(first)
}

fn is_loopback_name(name: &Authority) -> bool {
    if name.as_str().contains('@') {
        return false;
    }
    let host = name.host();
    let v6 = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
    match v6 {
        Some(v6) => v6.parse::<Ipv6Addr>().is_ok_and(|ip| ip.is_loopback()),
        None => {
            host.eq_ignore_ascii_case("localhost")
                || host.parse::<Ipv4Addr>().is_ok_and(|ip| ip.is_loopback())
        }
    }
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let (value, None) = (values.next()?, values.next()) else {
        return None; // two answers to one question are no answer
    };
    let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

fn is_json(headers: &HeaderMap) -> bool {
    let mut values = headers.get_all(header::CONTENT_TYPE).iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return false;
    };
    let essence = value.to_str().unwrap_or_default().split(';').next();
    essence.is_some_and(|e| e.trim().eq_ignore_ascii_case("application/json"))
}

#[cfg(test)]
mod tests;
