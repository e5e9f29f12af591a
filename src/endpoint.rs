use octostack_core::inspect::Problem;
#[cfg(feature = "tonic")]
use octostack_resilience::Outbound;
use octostack_resilience::{
    BulkheadConfig, ChaosConfig, CircuitBreakerConfig, OutboundConfig, RateLimitConfig,
    RetryConfig, TimeoutConfig,
};
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::time::Duration;

/// Where a dependency listens, and the policies on the way to it: a field of your settings.
///
/// The policies are those of the standard outbound stack, outermost first. Each has the name of the
/// dependency and its own, such as `inventory.breaker`:
///
/// | policy | key | does |
/// |---|---|---|
/// | `rate_limit` | `rate_limit` | bounds the calls in a time |
/// | `deadline` | `deadline` | ends the call, with all its attempts |
/// | `retry` | `retry` | repeats what failed and may be repeated |
/// | `breaker` | `breaker` | stops calling what is down |
/// | `bulkhead` | `bulkhead` | bounds the calls in flight |
/// | `timeout` | `timeout` | ends one attempt |
/// | `chaos` | `chaos` | breaks things on purpose, if `chaos.enabled` |
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, remote = "Self")]
#[non_exhaustive]
pub struct Endpoint {
    /// Address, such as `http://inventory:50051`.
    pub url: Option<String>,
    /// How long opening a connection may take.
    #[serde(with = "octostack_core::duration")]
    #[schemars(schema_with = "octostack_core::duration::schema")]
    pub connect_timeout: Duration,
    /// How many calls may begin in a time. No limit by default.
    pub rate_limit: RateLimitConfig,
    /// How long a call may take with all its attempts.
    #[serde(with = "octostack_core::duration")]
    #[schemars(schema_with = "octostack_core::duration::schema")]
    pub deadline: Duration,
    /// How long one attempt may take. At most the deadline.
    #[serde(with = "octostack_core::duration")]
    #[schemars(schema_with = "octostack_core::duration::schema")]
    pub timeout: Duration,
    /// Repeats what failed.
    pub retry: RetryConfig,
    /// Stops calling what is down.
    pub breaker: CircuitBreakerConfig,
    /// Bounds the calls in flight.
    pub bulkhead: BulkheadConfig,
    /// Breaks things on purpose.
    pub chaos: ChaosConfig,
}

/// The defaults of the stack: see [`OutboundConfig`].
impl Default for Endpoint {
    fn default() -> Self {
        let OutboundConfig { rate_limit, deadline, retry, breaker, bulkhead, timeout, chaos } =
            OutboundConfig::default();
        Self {
            url: None,
            connect_timeout: Duration::from_secs(5),
            rate_limit,
            deadline: deadline.timeout,
            timeout: timeout.timeout,
            retry,
            breaker,
            bulkhead,
            chaos,
        }
    }
}

impl Endpoint {
    /// Checks the values, and how they go together.
    ///
    /// # Errors
    /// Everything that is wrong; keys are relative to the endpoint.
    pub fn validate(&self) -> Result<(), Vec<Problem>> {
        let mut problems = self.own_problems();
        problems.extend(named_here(self.policies().validate().err().unwrap_or_default()));
        if problems.is_empty() { Ok(()) } else { Err(problems) }
    }
}

impl Endpoint {
    /// What is wrong beside the policies.
    fn own_problems(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        if let Some(message) = self.url.as_deref().and_then(wrong_address) {
            problems.push(Problem::new("url", message));
        }
        if !self.chaos.tenant.is_empty() {
            let message = "a channel cannot tell the tenant of a call; use chaos.header";
            problems.push(Problem::new("chaos.tenant", message));
        }
        problems
    }

    /// What is wrong with these settings for policies that run already.
    #[cfg(feature = "tonic")]
    pub(crate) fn check(&self, running: &Outbound, chaos_enabled: bool) -> Vec<Problem> {
        let mut problems = self.own_problems();
        if let Err(error) = running.check_with_chaos(&self.policies(), chaos_enabled) {
            problems.extend(named_here(error.problems));
        }
        problems
    }

    /// The settings of the policies alone.
    pub fn policies(&self) -> OutboundConfig {
        let limit = |timeout| TimeoutConfig { timeout, ..TimeoutConfig::default() };
        OutboundConfig {
            rate_limit: self.rate_limit.clone(),
            deadline: limit(self.deadline),
            retry: self.retry.clone(),
            breaker: self.breaker.clone(),
            bulkhead: self.bulkhead.clone(),
            timeout: limit(self.timeout),
            chaos: self.chaos.clone(),
        }
    }
}

/// Deadline and timeout have settings of their own elsewhere, and are a plain duration here.
fn named_here(problems: Vec<Problem>) -> impl Iterator<Item = Problem> {
    problems.into_iter().map(|problem| match problem.key.as_str() {
        "deadline.timeout" => Problem::new("deadline", problem.message),
        "timeout.timeout" => Problem::new("timeout", problem.message),
        _ => problem,
    })
}

/// What is wrong with an address. The address itself is not repeated: it may hold a password.
fn wrong_address(url: &str) -> Option<&'static str> {
    const EXAMPLE: &str = "is no address such as `http://host:50051`";
    let Ok(uri) = url.parse::<http::Uri>() else { return Some(EXAMPLE) };
    let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
        return Some(EXAMPLE);
    };
    match scheme {
        // It would be shown on the page of the config, and no gRPC server reads it.
        _ if authority.as_str().contains('@') => Some("holds a user or a password; leave it out"),
        "http" if authority.host().is_empty() => Some(EXAMPLE),
        "http" if uri.path_and_query().is_some_and(|path| path.as_str() != "/") => {
            Some("has a path, which gRPC has no use for; leave it out")
        }
        "http" => None,
        "https" => Some("is https, which is not supported; use http"),
        _ => Some(EXAMPLE),
    }
}

/// Values out of range are refused here, so that they are config errors like any other.
impl<'de> Deserialize<'de> for Endpoint {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let endpoint = Self::deserialize(from)?; // the derived function
        endpoint.validate().map_err(|problems| {
            let problems: Vec<_> = problems.iter().map(ToString::to_string).collect();
            serde::de::Error::custom(problems.join("; "))
        })?;
        Ok(endpoint)
    }
}

impl Serialize for Endpoint {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        Self::serialize(self, to) // the derived function
    }
}

#[cfg(test)]
mod tests {
    use super::Endpoint;
    use std::time::Duration;

    #[test]
    fn reads_what_it_writes() {
        let endpoint = Endpoint { timeout: Duration::from_secs(1), ..Endpoint::default() };
        let text = serde_json::to_string(&endpoint).unwrap();
        assert_eq!(serde_json::from_str::<Endpoint>(&text).unwrap(), endpoint);
        assert_eq!(serde_json::from_str::<Endpoint>("{}").unwrap(), Endpoint::default());
    }

    #[test]
    fn knows_an_address_that_cannot_work() {
        let problem = |url: &str| {
            let endpoint = Endpoint { url: Some(url.into()), ..Endpoint::default() };
            endpoint.validate().err().map(|problems| problems[0].to_string())
        };
        for good in ["http://inventory:50051", "http://127.0.0.1:1", "http://[::1]:1/"] {
            assert_eq!(problem(good), None, "{good}");
        }
        for bad in ["", "inventory", "inventory:50051", "/path", "ftp://inventory", "a b"] {
            let expected = "url: is no address such as `http://host:50051`";
            assert_eq!(problem(bad).as_deref(), Some(expected), "{bad}");
        }
        assert!(problem("https://inventory").is_some_and(|p| p.contains("use http")));
        assert!(problem("http://a:hunter2@b").is_some_and(|p| p.contains("leave it out")));
        assert!(problem("http://a/?token=hunter2").is_some_and(|p| p.contains("has a path")));
    }

    #[test]
    fn refuses_what_does_not_go_together_all_at_once() {
        let text = r#"{"timeout": "1m", "breaker": {"failure_rate": 7}}"#;
        let error = serde_json::from_str::<Endpoint>(text).unwrap_err().to_string();
        assert!(error.contains("breaker.failure_rate: 7 is out of range"), "{error}");
        assert!(
            error.contains("timeout: one attempt may take longer (1m) than the whole call (30s)"),
            "{error}"
        );
    }
}
