use super::KeyExtractor;
use super::forwarded;
use super::network::{Network, masked};
use http::Request;
use std::net::IpAddr;
use std::sync::Arc;

/// The key of a request is the address of who sent it.
///
/// `peer` says whom the connection is with. If that is one of the
/// [trusted proxies](Self::trusted_proxies), of which there are none by default, `Forwarded`
/// ([RFC 7239](https://www.rfc-editor.org/rfc/rfc7239)) or `X-Forwarded-For` says who sent it the
/// request. Where both are there and disagree, one is the client's and neither is believed. It is
/// read from the right, past all addresses that are trusted, to the first that is not.
/// Everything left of that was written by somebody unknown and is not read. An entry that is no
/// address ends the reading: then the last address that was known counts, which at worst is that of
/// the proxy.
///
/// A whole IPv6 network of 64 bits is usually one customer's, who has as many addresses in it as
/// they like: so by default these share a limit ([`ipv6_prefix`](Self::ipv6_prefix)). IPv4 within
/// IPv6 is IPv4.
///
/// ```
/// use http::Request;
/// use octostack_resilience::rate_limit::keyed::{ClientIp, KeyExtractor};
/// use std::net::IpAddr;
///
/// /// Whom the connection is with: your server puts it into the extensions.
/// #[derive(Clone, Copy)]
/// struct Peer(IpAddr);
///
/// let peer = |request: &Request<()>| request.extensions().get().map(|Peer(address)| *address);
/// let by_client = ClientIp::new(peer).trusted_proxies(["10.0.0.0/8".parse()?]);
///
/// let mut request = Request::new(());
/// request.headers_mut().insert("x-forwarded-for", "1.1.1.1, 203.0.113.9".parse()?);
/// request.extensions_mut().insert(Peer([10, 0, 0, 1].into()));
/// assert_eq!(by_client.key(&request), Some([203, 0, 113, 9].into()));
///
/// // Whoever is no proxy of ours can say what they like.
/// request.extensions_mut().insert(Peer([203, 0, 113, 9].into()));
/// assert_eq!(by_client.key(&request), Some([203, 0, 113, 9].into()));
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct ClientIp<F> {
    peer: F,
    trusted: Arc<[Network]>,
    ipv6_prefix: u8,
}

impl<F> ClientIp<F> {
    /// The prefix of IPv6 addresses that share a limit unless told otherwise: what one customer
    /// gets at least ([RFC 6177](https://www.rfc-editor.org/rfc/rfc6177)).
    pub const IPV6_PREFIX: u8 = 64;

    /// By the address that `peer` finds in a request. `None` is a request without a key.
    pub fn new(peer: F) -> Self {
        Self { peer, trusted: Arc::new([]), ipv6_prefix: Self::IPV6_PREFIX }
    }

    /// Whose headers are believed: the proxies in front, and nobody else who can reach the service.
    pub fn trusted_proxies(mut self, networks: impl IntoIterator<Item = Network>) -> Self {
        self.trusted = networks.into_iter().collect();
        self
    }

    /// How many leading bits of an IPv6 address make a client: 1 to 128, what lies outside is
    /// brought to the nearer; 64 unless told otherwise.
    pub fn ipv6_prefix(mut self, bits: u8) -> Self {
        self.ipv6_prefix = bits.clamp(1, 128);
        self
    }
}

impl<F, B> KeyExtractor<Request<B>> for ClientIp<F>
where
    F: Fn(&Request<B>) -> Option<IpAddr>,
{
    type Key = IpAddr;

    fn key(&self, request: &Request<B>) -> Option<IpAddr> {
        let peer = (self.peer)(request)?.to_canonical();
        let client = if self.trusted.is_empty() {
            peer
        } else {
            forwarded::client(request.headers(), peer, &self.trusted)
        };
        Some(match client {
            IpAddr::V4(_) => client,
            IpAddr::V6(_) => masked(client, self.ipv6_prefix),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{ClientIp, KeyExtractor};
    use http::Request;
    use std::net::IpAddr;

    fn key(peer: &str, prefix: u8) -> String {
        let peer: IpAddr = peer.parse().unwrap();
        let by = ClientIp::new(move |_: &Request<()>| Some(peer)).ipv6_prefix(prefix);
        by.key(&Request::new(())).unwrap().to_string()
    }

    #[test]
    fn ipv6_is_told_apart_by_prefix_and_ipv4_whole() {
        assert_eq!(key("2001:db8:1:2:3:4:5:6", 64), "2001:db8:1:2::");
        assert_eq!(key("2001:db8:1:2:3:4:5:6", 48), "2001:db8:1::");
        assert_eq!(key("2001:db8:1:2:3:4:5:6", 128), "2001:db8:1:2:3:4:5:6");
        assert_eq!(key("2001:db8::1", 0), key("3fff::1", 1));
        assert_eq!(key("203.0.113.9", 1), "203.0.113.9");
        assert_eq!(key("::ffff:203.0.113.9", 1), "203.0.113.9");
    }

    #[test]
    fn without_an_address_there_is_no_key() {
        let by = ClientIp::new(|_: &Request<()>| None);
        assert_eq!(by.key(&Request::new(())), None);
    }
}
