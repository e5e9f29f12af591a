//! The addresses that proxies have written down: pure text.
//!
//! Each proxy appends the address that it got the request from. So the last entry is the word of
//! the proxy that we are connected to, and each one before it that of the one it names; all that
//! stands before the first that we do not trust may be made up.
use super::network::Network;
use http::HeaderMap;
use http::header::{FORWARDED, HeaderName};
use std::net::{IpAddr, SocketAddr};

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// Who asks, as far as that can be believed: from the right past all that is trusted. What cannot
/// be read ends the way, at the last address that was known.
///
/// `Forwarded` (RFC 7239) and `X-Forwarded-For` are both read. A proxy often writes one and hands
/// on the other as the client sent it; so where both are there they have to agree, or else only the
/// peer is known.
pub(super) fn client(headers: &HeaderMap, peer: IpAddr, trusted: &[Network]) -> IpAddr {
    if !is_trusted(peer, trusted) {
        return peer;
    }
    let named = |name: &HeaderName| {
        headers.contains_key(name).then(|| follow(headers, name, peer, trusted))
    };
    match (named(&FORWARDED), named(&X_FORWARDED_FOR)) {
        (Some(one), Some(other)) if one != other => peer,
        (Some(client), _) | (None, Some(client)) => client,
        (None, None) => peer,
    }
}

fn is_trusted(address: IpAddr, trusted: &[Network]) -> bool {
    trusted.iter().any(|network| network.contains(address))
}

/// Who asks by one of the headers.
fn follow(headers: &HeaderMap, name: &HeaderName, peer: IpAddr, trusted: &[Network]) -> IpAddr {
    let standard = *name == FORWARDED;
    let mut known = peer;
    for line in headers.get_all(name).into_iter().rev() {
        // A comma within quotes separates nothing. What it tears apart has a quote that is not
        // closed, or not opened, and ends the way.
        for entry in line.as_bytes().rsplit(|byte| *byte == b',') {
            let node = std::str::from_utf8(entry).ok();
            let node = if standard { node.and_then(node_of) } else { node };
            let Some(address) = node.and_then(address) else { return known };
            known = address;
            if !is_trusted(known, trusted) {
                return known;
            }
        }
    }
    known
}

/// The value of `for` in an element such as `for="[2001:db8::1]:4711";proto=https`, which has it
/// once.
///
/// A proxy may put into quotes what its client sends, such as a `Host` with a comma and a `for=` of
/// its own. So an element counts only if each of its values is bare, or one quoted string with no
/// quote and no backslash inside: a part of a longer one is neither.
fn node_of(element: &str) -> Option<&str> {
    let mut found = None;
    for pair in element.split(';') {
        let (name, value) = pair.trim().split_once('=')?;
        let value = match value.strip_prefix('"') {
            Some(quoted) => quoted.strip_suffix('"')?,
            None => value,
        };
        if value.contains(['"', '\\']) {
            return None;
        }
        if name.eq_ignore_ascii_case("for") && found.replace(value).is_some() {
            return None;
        }
    }
    found
}

/// An address, with a port or without, IPv6 in brackets or bare.
fn address(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    if let Ok(address) = text.parse::<IpAddr>() {
        return Some(address.to_canonical());
    }
    if let Ok(address) = text.parse::<SocketAddr>() {
        return Some(address.ip().to_canonical());
    }
    let bare = text.strip_prefix('[')?.strip_suffix(']')?;
    Some(IpAddr::V6(bare.parse().ok()?).to_canonical())
}

#[cfg(test)]
#[path = "forwarded_tests.rs"]
mod tests;
