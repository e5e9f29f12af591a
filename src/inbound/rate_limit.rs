//! `inbound.rate_limit`: how many requests may come in a time, in all or from each client.
use axum::body::Body;
use http::Request;
use octostack_core::inspect::Problem;
use octostack_core::server::Peer;
use octostack_resilience::rate_limit::keyed::{
    ClientIp, KeyedRateLimitBuilder, Network, NetworkError,
};
use octostack_resilience::{KeyedRateLimit, KeyedRateLimitConfig, RateLimitConfig};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

const NAME: &str = "inbound.rate_limit";

/// How many requests may come in a time: section `server.inbound.rate_limit` of the config.
///
/// Off until it has a `limit`, which an operator can also set while the service runs. What is over
/// it is answered with 429, `Retry-After` and a problem document.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct InboundRateLimit {
    /// Whose requests share a limit: `service`, all that reach this instance; `client`, those from
    /// one address. Behind a proxy all have the proxy's address, unless it is one of
    /// `trusted_proxies`.
    #[schemars(extend("x-restart-required" = true))]
    pub per: LimitPer,
    /// How many requests may come in each `period`. 0 is no limit. At most one a microsecond.
    pub limit: u32,
    /// The time that `limit` is for. 1 ms to 24 h.
    #[serde(with = "octostack_core::duration")]
    #[schemars(schema_with = "octostack_core::duration::schema")]
    pub period: Duration,
    /// How many requests may come at once after a rest. 0 is as many as `limit`.
    pub burst: u32,
    /// With `per = "client"`: how many clients are remembered at once. 1 to 10,000,000. To
    /// make it much smaller needs a restart.
    pub max_keys: u32,
    /// With `per = "client"`: addresses or networks (`10.0.0.0/8`) of the proxies in front, whose
    /// `Forwarded` or `X-Forwarded-For` says who asks. Nobody else's is read. `unix` stands for
    /// all that connect to a Unix socket, who have no address: without it they are one client.
    #[schemars(extend("x-restart-required" = true))]
    pub trusted_proxies: Vec<String>,
    /// With `per = "client"`: how many leading bits of an IPv6 address make a client. 1 to 128.
    #[schemars(extend("x-restart-required" = true))]
    pub ipv6_prefix: u8,
}

/// Whose requests share a limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum LimitPer {
    /// All that reach this instance.
    #[default]
    Service,
    /// Those that come from one IP address. Each request then carries a
    /// [`Peer`], which costs a few allocations.
    Client,
}

/// The defaults are those of the policy: no limit.
impl Default for InboundRateLimit {
    fn default() -> Self {
        let KeyedRateLimitConfig { limit, period, burst, max_keys } =
            KeyedRateLimitConfig::default();
        Self {
            per: LimitPer::default(),
            limit,
            period,
            burst,
            max_keys,
            trusted_proxies: Vec::new(),
            ipv6_prefix: ClientIp::<()>::IPV6_PREFIX,
        }
    }
}

impl InboundRateLimit {
    /// Checks the values, and how they go together.
    ///
    /// # Errors
    /// Everything that is wrong; keys are relative to the section.
    pub fn validate(&self) -> Result<(), Vec<Problem>> {
        let mut problems = self.per_client().validate().err().unwrap_or_default();
        for (at, proxy) in self.trusted_proxies.iter().enumerate() {
            if let Err(error) = network(proxy) {
                let key = format!("trusted_proxies[{at}]");
                problems.push(Problem { key, message: error.to_string() });
            }
        }
        if !(1..=128).contains(&self.ipv6_prefix) {
            let message = format!("{} is out of range: 1 to 128", self.ipv6_prefix);
            problems.push(Problem { key: "ipv6_prefix".to_owned(), message });
        }
        if problems.is_empty() { Ok(()) } else { Err(problems) }
    }

    /// The limit for all together, if that is what it is for.
    pub(super) const fn for_all(&self) -> RateLimitConfig {
        let Self { limit, period, burst, .. } = *self;
        RateLimitConfig { limit, period, burst }
    }

    /// The limit for each client, and how clients are told apart, if that is what it is for.
    ///
    /// # Errors
    /// A proxy that is no address, which `validate` reports with its place.
    pub(super) fn by_client(
        &self,
    ) -> Result<Option<(KeyedRateLimitBuilder, ByClient)>, NetworkError> {
        if self.per == LimitPer::Service {
            return Ok(None);
        }
        let proxies: Result<Vec<Network>, _> =
            self.trusted_proxies.iter().map(|proxy| network(proxy)).collect();
        let peer: fn(&Request<Body>) -> Option<IpAddr> = peer;
        let client = ClientIp::new(peer).trusted_proxies(proxies?).ipv6_prefix(self.ipv6_prefix);
        let limit = KeyedRateLimit::builder(NAME).per("client").settings(self.per_client());
        Ok(Some((limit, client)))
    }

    /// The limit for each client, if that is what it is for.
    pub(super) const fn per_client(&self) -> KeyedRateLimitConfig {
        let Self { limit, period, burst, max_keys, .. } = *self;
        KeyedRateLimitConfig { limit, period, burst, max_keys }
    }
}

/// How requests are told apart with `per = "client"`.
pub(super) type ByClient = ClientIp<fn(&Request<Body>) -> Option<IpAddr>>;

/// Stands for all peers on Unix sockets: no connection comes from the address that is none.
const UNIX: IpAddr = IpAddr::V6(Ipv6Addr::UNSPECIFIED);

/// A proxy as the settings name it.
fn network(proxy: &str) -> Result<Network, NetworkError> {
    if proxy == "unix" { UNIX.to_string().parse() } else { proxy.parse() }
}

/// The address that a request came from.
fn peer(request: &Request<Body>) -> Option<IpAddr> {
    if let Some(Peer(peer)) = request.extensions().get() {
        return Some(peer.ip());
    }
    #[cfg(unix)]
    if request.extensions().get::<octostack_core::server::UnixPeer>().is_some() {
        return Some(UNIX);
    }
    None
}

#[cfg(test)]
mod tests {
    use super::{InboundRateLimit, LimitPer, Peer};
    use axum::body::Body;
    use http::Request;
    use octostack_resilience::RateLimitConfig;
    use octostack_resilience::rate_limit::keyed::KeyExtractor;

    #[test]
    fn an_address_is_one_client_in_either_form() {
        let config = InboundRateLimit { per: LimitPer::Client, ..InboundRateLimit::default() };
        let (_, by) = config.by_client().unwrap().unwrap();
        let of = |peer: &str| {
            let mut request = Request::new(Body::empty());
            request.extensions_mut().insert(Peer(peer.parse().unwrap()));
            by.key(&request).map(|address| address.to_string())
        };
        assert_eq!(of("10.0.0.1:50212").as_deref(), Some("10.0.0.1"));
        assert_eq!(of("[::ffff:10.0.0.1]:50213").as_deref(), Some("10.0.0.1"));
        assert_eq!(of("[2001:db8::1]:9").as_deref(), Some("2001:db8::"), "a network of 64 bits");
        assert_eq!(by.key(&Request::new(Body::empty())), None);
    }

    #[test]
    fn a_proxy_is_believed_only_if_it_is_named() {
        let of = |proxies: &[&str]| {
            let trusted_proxies = proxies.iter().map(ToString::to_string).collect();
            let per = LimitPer::Client;
            let settings = InboundRateLimit { per, trusted_proxies, ..InboundRateLimit::default() };
            let mut request = Request::new(Body::empty());
            request.headers_mut().insert("x-forwarded-for", "203.0.113.9".parse().unwrap());
            request.extensions_mut().insert(Peer("10.0.0.1:4711".parse().unwrap()));
            settings.by_client().unwrap().unwrap().1.key(&request).unwrap().to_string()
        };
        assert_eq!(of(&[]), "10.0.0.1");
        assert_eq!(of(&["10.0.0.2"]), "10.0.0.1");
        assert_eq!(of(&["10.0.0.0/8"]), "203.0.113.9");
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn who_comes_over_a_unix_socket_is_one_client_unless_it_is_a_proxy() {
        use octostack_core::lifecycle::{Step, Stopper};
        use octostack_core::server::{Server, ServerConfig};
        use tokio::io::{AsyncReadExt, AsyncWriteExt};

        let path = std::env::temp_dir().join(format!("octostack-{}-peer.sock", std::process::id()));
        for (proxies, client) in [(&[][..], "::"), (&["unix"][..], "203.0.113.9")] {
            let trusted_proxies = proxies.iter().map(ToString::to_string).collect();
            let per = LimitPer::Client;
            let settings = InboundRateLimit { per, trusted_proxies, ..InboundRateLimit::default() };
            assert_eq!(settings.validate(), Ok(()));
            let (_, by) = settings.by_client().unwrap().unwrap();
            let router = axum::Router::new().fallback(async move |request: Request<Body>| {
                by.key(&request).map(|key| key.to_string()).unwrap_or_default()
            });
            let server = Server::bind_unix(&path, &ServerConfig::default()).await.unwrap();
            let server = server.with_registry(&crate::Registry::new()).with_peer_addr();
            let stopper = Stopper::new();
            let service = tower::ServiceExt::<Request<_>>::map_request(
                router,
                |request: Request<octostack_core::server::RequestBody>| request.map(Body::new),
            );
            let grace = std::time::Duration::ZERO;
            let serving = tokio::spawn(server.serve_until(service, stopper.stop(), grace));
            let mut socket = tokio::net::UnixStream::connect(&path).await.unwrap();
            let head = b"GET / HTTP/1.1\r\nhost: a\r\nx-forwarded-for: 203.0.113.9\r\n\
                         connection: close\r\n\r\n";
            socket.write_all(head).await.unwrap();
            let mut answer = String::new();
            socket.read_to_string(&mut answer).await.unwrap();
            assert!(answer.ends_with(&format!("\r\n{client}")), "{answer}");
            stopper.advance(Step::Drain);
            serving.await.unwrap();
        }
    }

    #[test]
    fn says_which_proxy_is_none() {
        let settings = InboundRateLimit {
            trusted_proxies: vec!["10.0.0.0/8".into(), "10.1.0.0/8".into()],
            ipv6_prefix: 0,
            ..InboundRateLimit::default()
        };
        let problems = settings.validate().unwrap_err();
        let problems: Vec<_> = problems.iter().map(ToString::to_string).collect();
        assert_eq!(
            problems,
            [
                "trusted_proxies[1]: `10.1.0.0/8` has bits set after its prefix; the network is \
                 10.0.0.0/8",
                "ipv6_prefix: 0 is out of range: 1 to 128",
            ]
        );
    }

    #[test]
    fn is_off_by_default_and_reads_what_it_writes() {
        let default = InboundRateLimit::default();
        let RateLimitConfig { limit, period, burst } = RateLimitConfig::default();
        assert_eq!((default.limit, default.period, default.burst), (limit, period, burst));
        assert_eq!((default.limit, default.per), (0, LimitPer::Service));
        assert_eq!(default.validate(), Ok(()));
        let text = serde_json::to_string(&default).unwrap();
        assert_eq!(serde_json::from_str::<InboundRateLimit>(&text).unwrap(), default);
    }
}
