//! `inbound.rate_limit`: how many requests may come in a time, in all or from each client.
use crate::Registry;
use axum::body::Body;
use http::Request;
use octostack_core::inspect::Problem;
use octostack_core::server::Peer;
use octostack_resilience::rate_limit::{self, keyed};
use octostack_resilience::{
    KeyedRateLimit, KeyedRateLimitConfig, RateLimit, RateLimitConfig, SettingsError,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::net::IpAddr;
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
    /// one address. Behind a proxy all have the proxy's address, so there it is `service`.
    pub per: LimitPer,
    /// How many requests may come in each `period`. 0 is no limit. At most one a microsecond.
    pub limit: u32,
    /// The time that `limit` is for. 1 ms to 24 h.
    #[serde(with = "octostack_core::duration")]
    #[schemars(schema_with = "octostack_core::duration::schema")]
    pub period: Duration,
    /// How many requests may come at once after a rest. 0 is as many as `limit`.
    pub burst: u32,
    /// With `per = "client"`: how many clients are remembered at once. 1 to 10,000,000.
    pub max_keys: u32,
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
        Self { per: LimitPer::default(), limit, period, burst, max_keys }
    }
}

impl InboundRateLimit {
    /// Checks the values, and how they go together.
    ///
    /// # Errors
    /// Everything that is wrong; keys are relative to the section.
    pub fn validate(&self) -> Result<(), Vec<Problem>> {
        self.per_client().validate()
    }

    fn per_client(&self) -> KeyedRateLimitConfig {
        let Self { limit, period, burst, max_keys, .. } = *self;
        KeyedRateLimitConfig { limit, period, burst, max_keys }
    }

    /// Makes the policy.
    pub(super) fn build(&self, registry: &Registry) -> Result<Limiter, SettingsError> {
        Ok(match self.per {
            LimitPer::Service => {
                let Self { limit, period, burst, .. } = *self;
                let settings = RateLimitConfig { limit, period, burst };
                let builder = RateLimit::builder(NAME).settings(settings);
                Limiter::Service(builder.registry(registry).build()?.leak())
            }
            LimitPer::Client => {
                let builder = KeyedRateLimit::builder(NAME).settings(self.per_client());
                Limiter::Client(builder.registry(registry).build()?.leak())
            }
        })
    }
}

/// The policy; it lives as long as the process.
#[derive(Clone, Copy, Debug)]
pub(super) enum Limiter {
    Service(RateLimit<&'static rate_limit::Shared>),
    Client(KeyedRateLimit<&'static keyed::Shared>),
}

/// The address that a request came from, in one form for each: IPv4 also where it is written in
/// IPv6.
pub(super) fn client(request: &Request<Body>) -> Option<IpAddr> {
    let Peer(peer) = request.extensions().get()?;
    Some(peer.ip().to_canonical())
}

#[cfg(test)]
mod tests {
    use super::{InboundRateLimit, LimitPer, Peer, client};
    use axum::body::Body;
    use http::Request;
    use octostack_resilience::RateLimitConfig;

    #[test]
    fn an_address_is_one_client_in_either_form() {
        let of = |peer: &str| {
            let mut request = Request::new(Body::empty());
            request.extensions_mut().insert(Peer(peer.parse().unwrap()));
            client(&request).map(|address| address.to_string())
        };
        assert_eq!(of("10.0.0.1:50212").as_deref(), Some("10.0.0.1"));
        assert_eq!(of("[::ffff:10.0.0.1]:50213").as_deref(), Some("10.0.0.1"));
        assert_eq!(of("[2001:db8::1]:9").as_deref(), Some("2001:db8::1"));
        assert_eq!(client(&Request::new(Body::empty())), None);
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
