use crate::inspect::Problem;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Where the service listens, and what it bears from clients: section `server` of the config.
///
/// All but `host` and `port` can change while it serves, for new connections: see
/// [`Limits`](super::Limits).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ServerConfig {
    /// Address or name to listen on. When absent: 0.0.0.0 in a container, else 127.0.0.1.
    #[schemars(extend("x-restart-required" = true))]
    pub host: Option<String>,
    /// Port to listen on; 0 takes any free one.
    #[schemars(extend("x-restart-required" = true))]
    pub port: u16,
    /// How long a new connection may say nothing.
    #[serde(with = "crate::duration")]
    #[schemars(schema_with = "crate::duration::schema")]
    pub first_byte_timeout: Duration,
    /// How long a TLS handshake may take from the first byte to the last of either side.
    #[cfg(feature = "tls")]
    #[serde(with = "crate::duration")]
    #[schemars(schema_with = "crate::duration::schema")]
    pub handshake_timeout: Duration,
    /// How long the head of an HTTP/1 request may take from its first byte to its last.
    #[serde(with = "crate::duration")]
    #[schemars(schema_with = "crate::duration::schema")]
    pub header_read_timeout: Duration,
    /// How long a connection may stay open without a request. Set it above that of the load
    /// balancer in front, so that never both want to use and to close a connection.
    #[serde(with = "crate::duration")]
    #[schemars(schema_with = "crate::duration::schema")]
    pub idle_timeout: Duration,
    /// How long a client may take nothing of an answer that waits for it; on HTTP/2 of all of them,
    /// while no other request is being worked on.
    #[serde(with = "crate::duration")]
    #[schemars(schema_with = "crate::duration::schema")]
    pub send_timeout: Duration,
    /// Largest head of a request, in bytes; above it the answer is 431. 8192 to 1048576.
    pub max_header_bytes: u32,
    /// Most header fields of a request; above it the answer is 431. 1 to 10000.
    pub max_header_count: usize,
    /// Largest body of a request, in bytes; above it the answer is 413. 0 is no limit.
    pub max_body_bytes: u64,
    /// Most connections at once of one listener; more wait in the backlog of the system. From 15 of
    /// 16 on, those that are open end with their next answer. 1 to 1000000; keep it below the
    /// number of files that the process may open.
    pub max_connections: usize,
    /// Most requests at once on one HTTP/2 connection. 1 to 100000.
    pub max_concurrent_streams: u32,
    /// Most requests of one HTTP/2 connection that its client has withdrawn before the server got
    /// to look at them; above it the connection ends with GOAWAY, `ENHANCE_YOUR_CALM`. 1 to 10000.
    pub max_pending_reset_streams: usize,
    /// Most requests of one HTTP/2 connection that the server itself had to withdraw for errors of
    /// the client; above it the connection ends likewise. 1 to 10000.
    pub max_error_reset_streams: usize,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            host: None,
            port: 8080,
            first_byte_timeout: Duration::from_secs(10),
            #[cfg(feature = "tls")]
            handshake_timeout: Duration::from_secs(10),
            header_read_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(75),
            send_timeout: Duration::from_secs(60),
            max_header_bytes: 16 * 1024,
            max_header_count: 100,
            max_body_bytes: 2 * 1024 * 1024,
            max_connections: 10_000,
            max_concurrent_streams: 200,
            max_pending_reset_streams: 20,
            max_error_reset_streams: 200,
        }
    }
}

/// hyper reads a head into a buffer of 8 KiB at least. Above 1 MiB it is no head.
const MAX_HEADER_BYTES: usize = 1024 * 1024;

const SHORTEST: Duration = Duration::from_millis(1);
/// Longer is a slip of the unit.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

impl ServerConfig {
    /// `host:port` in force.
    pub fn address(&self) -> String {
        let host = match &self.host {
            Some(host) => host.as_str(),
            None if in_container() => "0.0.0.0",
            None => "127.0.0.1",
        };
        if host.contains(':') && !host.starts_with('[') {
            format!("[{host}]:{}", self.port)
        } else {
            format!("{host}:{}", self.port)
        }
    }

    /// Checks the values.
    ///
    /// # Errors
    /// Everything that is wrong; keys are relative to the section.
    pub fn validate(&self) -> Result<(), Vec<Problem>> {
        let mut problems = Vec::new();
        if self.host.as_deref().is_some_and(|host| host.trim().is_empty()) {
            let message = "is empty; leave it out for the default, or give an address";
            problems.push(Problem::new("host", message));
        }
        let timeouts = [
            ("first_byte_timeout", self.first_byte_timeout),
            #[cfg(feature = "tls")]
            ("handshake_timeout", self.handshake_timeout),
            ("header_read_timeout", self.header_read_timeout),
            ("idle_timeout", self.idle_timeout),
            ("send_timeout", self.send_timeout),
        ];
        for (key, timeout) in timeouts {
            if !(SHORTEST..=LONGEST).contains(&timeout) {
                let timeout = crate::duration::format(timeout);
                let message = format!("is {timeout}, which is out of range: 1ms to 1day");
                problems.push(Problem::new(key, message));
            }
        }
        let sizes = [
            ("max_header_bytes", self.max_header_bytes as usize, 8_192..=MAX_HEADER_BYTES),
            ("max_header_count", self.max_header_count, 1..=10_000),
            ("max_connections", self.max_connections, 1..=1_000_000),
            ("max_concurrent_streams", self.max_concurrent_streams as usize, 1..=100_000),
            ("max_pending_reset_streams", self.max_pending_reset_streams, 1..=10_000),
            ("max_error_reset_streams", self.max_error_reset_streams, 1..=10_000),
        ];
        for (key, size, range) in sizes {
            if !range.contains(&size) {
                let (least, most) = range.into_inner();
                let message = format!("is {size}, which is out of range: {least} to {most}");
                problems.push(Problem::new(key, message));
            }
        }
        if problems.is_empty() { Ok(()) } else { Err(problems) }
    }
}

/// Whether this process runs in a container, where only an address of the container is reachable.
fn in_container() -> bool {
    std::env::var_os("KUBERNETES_SERVICE_HOST").is_some()
        || ["/.dockerenv", "/run/.containerenv"]
            .iter()
            .any(|path| std::path::Path::new(path).exists())
}

#[cfg(test)]
mod tests {
    use super::ServerConfig;
    use std::time::Duration;

    #[test]
    fn addresses() {
        let address = |host: &str| {
            let config = ServerConfig { host: Some(host.into()), ..ServerConfig::default() };
            config.address()
        };
        assert_eq!(address("10.0.0.1"), "10.0.0.1:8080");
        assert_eq!(address("localhost"), "localhost:8080");
        assert_eq!(address("::1"), "[::1]:8080");
        assert_eq!(address("[::]"), "[::]:8080");
    }

    #[test]
    fn all_problems_at_once() {
        let config = ServerConfig {
            host: Some(" ".into()),
            idle_timeout: Duration::ZERO,
            max_header_bytes: 100,
            max_header_count: usize::MAX,
            max_connections: 0,
            ..ServerConfig::default()
        };
        let problems = config.validate().unwrap_err();
        let keys: Vec<_> = problems.iter().map(|problem| problem.key.as_str()).collect();
        let wrong =
            ["host", "idle_timeout", "max_header_bytes", "max_header_count", "max_connections"];
        assert_eq!(keys, wrong);
        let message = "max_connections: is 0, which is out of range: 1 to 1000000";
        assert_eq!(problems[4].to_string(), message);
        assert_eq!(ServerConfig::default().validate(), Ok(()));
    }

    #[test]
    fn reads_what_it_writes_and_knows_its_keys() {
        let default = ServerConfig::default();
        let text = serde_json::to_string(&default).unwrap();
        assert_eq!(serde_json::from_str::<ServerConfig>(&text).unwrap(), default);
        let some = r#"{"host": "::", "idle_timeout": "5m"}"#;
        let config: ServerConfig = serde_json::from_str(some).unwrap();
        assert_eq!(config.idle_timeout, Duration::from_secs(300));
        let unknown = serde_json::from_str::<ServerConfig>(r#"{"prot": 80}"#).unwrap_err();
        assert!(unknown.to_string().contains("unknown field `prot`"));
    }
}
