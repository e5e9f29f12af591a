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
/// `Forwarded` (RFC 7239) if there is one, else `X-Forwarded-For`.
pub(super) fn client(headers: &HeaderMap, peer: IpAddr, trusted: &[Network]) -> IpAddr {
    let is_trusted = |address| trusted.iter().any(|network| network.contains(address));
    let mut known = peer;
    if !is_trusted(known) {
        return known;
    }
    let standard = headers.contains_key(FORWARDED);
    let name = if standard { FORWARDED } else { X_FORWARDED_FOR };
    for line in headers.get_all(name).into_iter().rev() {
        // A comma within quotes separates nothing, but no address has one: what it tears apart is
        // no address either, and ends the way.
        for entry in line.as_bytes().rsplit(|byte| *byte == b',') {
            let node = std::str::from_utf8(entry).ok();
            let node = if standard { node.and_then(node_of) } else { node };
            let Some(address) = node.and_then(address) else { return known };
            known = address;
            if !is_trusted(known) {
                return known;
            }
        }
    }
    known
}

/// The value of `for` in an element such as `for="[2001:db8::1]:4711";proto=https`, which has it
/// once.
fn node_of(element: &str) -> Option<&str> {
    let mut found = None;
    for pair in element.split(';') {
        let (name, value) = pair.trim().split_once('=')?;
        if name.eq_ignore_ascii_case("for") && found.replace(value).is_some() {
            return None;
        }
    }
    let value = found?;
    match value.strip_prefix('"') {
        Some(quoted) => quoted.strip_suffix('"'),
        None => Some(value),
    }
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
