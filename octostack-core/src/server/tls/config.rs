use crate::inspect::Problem;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// The certificate of a listener, and whether its clients must have one: section `server.tls` of
/// the config. TLS is on when there is a `cert`.
///
/// What the files hold is followed while the service runs; where they are needs a restart.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct TlsConfig {
    /// File with the certificate in PEM, followed by those between it and its authority. In a
    /// config file the path is relative to that file, in the environment to the working directory.
    pub cert: Option<PathBuf>,
    /// File with the private key in PEM. When absent, the file of `cert` has it too.
    pub key: Option<PathBuf>,
    /// File with the certificates, in PEM, of the authorities that clients' certificates are to
    /// come from.
    pub client_ca: Option<PathBuf>,
    /// Whether a client needs a certificate of `client_ca`: `none`, it is not asked for one;
    /// `optional`, one that it has is checked; `required`, without one there is no connection.
    pub client_auth: ClientAuth,
}

/// Whether clients of a listener need a certificate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum ClientAuth {
    /// They are not asked for one.
    #[default]
    None,
    /// One that they have is checked; without one they are let in as well.
    Optional,
    /// Without one they are not let in.
    Required,
}

impl ClientAuth {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Optional => "optional",
            Self::Required => "required",
        }
    }
}

impl TlsConfig {
    /// Whether TLS is on.
    pub const fn is_enabled(&self) -> bool {
        self.cert.is_some()
    }

    /// Checks how the values go together. The files are not read.
    ///
    /// # Errors
    /// Everything that is wrong; keys are relative to the section.
    pub fn validate(&self) -> Result<(), Vec<Problem>> {
        let mut problems = Vec::new();
        let files = [("cert", &self.cert), ("key", &self.key), ("client_ca", &self.client_ca)];
        for (key, file) in files {
            match file {
                Some(path) if path.as_os_str().is_empty() => {
                    problems.push(Problem::new(key, "is empty; leave it out for no file"));
                }
                Some(_) if self.cert.is_none() => {
                    let message = "has no use without `cert`, the file of the certificate";
                    problems.push(Problem::new(key, message));
                }
                _ => {}
            }
        }
        if let Some(problem) = self.client_problem() {
            problems.push(problem);
        }
        if problems.is_empty() { Ok(()) } else { Err(problems) }
    }

    /// A switch that says less than it seems to must not look like a lock.
    fn client_problem(&self) -> Option<Problem> {
        match (self.client_auth, &self.client_ca) {
            (ClientAuth::None, Some(_)) => {
                let message = "is `none`, so that nobody is asked for a certificate of \
                               `client_ca`; set `required` or `optional`, or leave `client_ca` out";
                Some(Problem::new("client_auth", message))
            }
            (ClientAuth::Optional | ClientAuth::Required, None) => {
                let message = format!(
                    "is `{}`, and no `client_ca` says whose certificates are good",
                    self.client_auth.as_str()
                );
                Some(Problem::new("client_auth", message))
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{ClientAuth, TlsConfig};

    #[test]
    fn a_lock_that_locks_nothing_is_refused() {
        let problems = |change: fn(&mut TlsConfig)| {
            let mut config = TlsConfig { cert: Some("a.pem".into()), ..TlsConfig::default() };
            change(&mut config);
            let problems = config.validate().err().unwrap_or_default();
            problems.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(problems(|_| {}), Vec::<String>::new());
        let required = problems(|config| config.client_auth = ClientAuth::Required);
        let no_authority =
            "client_auth: is `required`, and no `client_ca` says whose certificates are good";
        assert_eq!(required, [no_authority]);
        let unasked = problems(|config| config.client_ca = Some("ca.pem".into()));
        assert!(unasked[0].starts_with("client_auth: is `none`"), "{unasked:?}");
        let alone = problems(|config| {
            config.cert = None;
            config.key = Some("".into());
            config.client_ca = Some("ca.pem".into());
            config.client_auth = ClientAuth::Required;
        });
        assert_eq!(alone[0], "key: is empty; leave it out for no file");
        assert!(alone[1].starts_with("client_ca: has no use without `cert`"), "{alone:?}");
        assert_eq!(TlsConfig::default().validate(), Ok(()), "TLS is off");
    }

    #[test]
    fn reads_what_it_writes() {
        let text = r#"{"cert": "a.pem", "client_ca": "ca.pem", "client_auth": "required"}"#;
        let config: TlsConfig = serde_json::from_str(text).unwrap();
        assert_eq!(config.client_auth, ClientAuth::Required);
        let again = serde_json::to_string(&config).unwrap();
        assert_eq!(serde_json::from_str::<TlsConfig>(&again).unwrap(), config);
    }
}
