use crate::inspect::Problem;
use crate::secret::Secret;
use schemars::JsonSchema;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use std::borrow::Cow;
use std::net::{Ipv4Addr, SocketAddr};

/// Where the admin port listens and who may use it: the config section `admin`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct AdminConfig {
    /// Address of the admin port. On loopback reading needs no token; on any other address
    /// everything but probes and metrics does. Port 0 binds any free port.
    #[serde(deserialize_with = "address")]
    #[schemars(extend("x-restart-required" = true))]
    pub addr: SocketAddr,
    /// Token that may read and change.
    pub token: Option<Secret<String>>,
    /// Token that may read only.
    pub read_token: Option<Secret<String>>,
}

impl Default for AdminConfig {
    fn default() -> Self {
        Self { addr: (Ipv4Addr::LOCALHOST, 8081).into(), token: None, read_token: None }
    }
}

impl AdminConfig {
    /// The defaults: `127.0.0.1:8081`, no tokens.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the address.
    pub fn with_addr(mut self, addr: SocketAddr) -> Self {
        self.addr = addr;
        self
    }

    /// Sets the token that may read and change.
    pub fn with_token(mut self, token: impl Into<Secret<String>>) -> Self {
        self.token = Some(token.into());
        self
    }

    /// Sets the token that may read only.
    pub fn with_read_token(mut self, token: impl Into<Secret<String>>) -> Self {
        self.read_token = Some(token.into());
        self
    }

    /// Says everything that is wrong with these settings.
    ///
    /// # Errors
    /// Tokens that nobody could send, and two that are the same.
    pub fn validate(&self) -> Result<(), Vec<Problem>> {
        let mut problems = Vec::new();
        for (key, token) in [("token", &self.token), ("read_token", &self.read_token)] {
            if token.as_ref().is_some_and(|t| !sendable(t)) {
                let what = "must be 1 or more visible ASCII characters without spaces: it travels \
                            in a header";
                problems.push(Problem::new(key, what));
            }
        }
        if self.token.is_some() && self.token == self.read_token {
            let what = "is the same as token, so it could change things; choose another";
            problems.push(Problem::new("read_token", what));
        }
        if problems.is_empty() { Ok(()) } else { Err(problems) }
    }

    /// The tokens alone.
    pub fn tokens(&self) -> Tokens {
        Tokens { write: self.token.clone(), read: self.read_token.clone() }
    }
}

/// The parser's own message does not say how to write one.
fn address<'de, D: Deserializer<'de>>(from: D) -> Result<SocketAddr, D::Error> {
    let text = <Cow<'de, str>>::deserialize(from)?;
    text.trim().parse().map_err(|_| {
        let what = "is no address; write it as `127.0.0.1:8081` or `[::1]:8081`";
        D::Error::custom(format!("`{text}` {what}"))
    })
}

fn sendable(token: &Secret<String>) -> bool {
    let token = token.expose();
    !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic())
}

/// The tokens of the admin port, which may change while it runs.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Tokens {
    /// May read and change.
    pub write: Option<Secret<String>>,
    /// May read only.
    pub read: Option<Secret<String>>,
}

impl Tokens {
    /// These two.
    pub fn new(write: Option<Secret<String>>, read: Option<Secret<String>>) -> Self {
        Self { write, read }
    }
}

#[cfg(test)]
mod tests {
    use super::AdminConfig;

    #[test]
    fn reads_a_section_and_refuses_unknown_keys() {
        let json = r#"{"addr": "[::1]:0", "token": "w"}"#;
        let config: AdminConfig = serde_json::from_str(json).unwrap();
        assert!(config.addr.ip().is_loopback());
        assert!(config.token.as_ref().is_some_and(|t| t.matches("w")));
        assert!(config.validate().is_ok());
        assert!(!serde_json::to_string(&config).unwrap().contains("\"w\""));
        let error = serde_json::from_str::<AdminConfig>(r#"{"addr": ":8081"}"#).unwrap_err();
        assert!(error.to_string().contains("`:8081` is no address; write it as"));
        assert!(serde_json::from_str::<AdminConfig>(r#"{"adress": "[::1]:0"}"#).is_err());
    }

    #[test]
    fn refuses_tokens_that_cannot_work() {
        let config = AdminConfig::new().with_token(String::new()).with_read_token("a b".to_owned());
        let problems = config.validate().unwrap_err();
        let keys: Vec<_> = problems.iter().map(|p| p.key.as_str()).collect();
        assert_eq!(keys, ["token", "read_token"]);

        let same =
            AdminConfig::new().with_token("one".to_owned()).with_read_token("one".to_owned());
        assert_eq!(same.validate().unwrap_err().len(), 1);
    }
}
