use super::address::Address;
use crate::inspect::Problem;
use crate::secret::Secret;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::time::Duration;

/// Where Vault or OpenBao is and who asks: the config section `secrets.vault`.
///
/// Nothing is asked of a Vault without an [`address`](Self::address).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct VaultConfig {
    /// Address of the server, such as `https://vault.internal:8200`.
    pub address: Option<String>,
    /// Namespace of all references, such as `team/orders` (Vault Enterprise, OpenBao).
    pub namespace: Option<String>,
    /// PEM file of the certificates to trust, and no others. When absent: those that the system
    /// trusts.
    pub ca_file: Option<PathBuf>,
    /// Allows `http` to other hosts than this one: whoever is on the way can read every secret.
    pub allow_plain: bool,
    /// How to log in.
    pub auth: VaultAuth,
    /// Where the auth method is mounted. When absent: its own name, such as `approle`.
    pub auth_mount: Option<String>,
    /// Auth `token`: the token.
    pub token: Option<Secret<String>>,
    /// Auth `token`: a file with the token, such as the sink of an agent. Read at each login.
    pub token_file: Option<PathBuf>,
    /// Auth `approle`: the id of the role.
    pub role_id: Option<String>,
    /// Auth `approle`: the secret of the role, unless it needs none.
    pub secret_id: Option<Secret<String>>,
    /// Auth `approle`: a file with the secret of the role. Read at each login.
    pub secret_id_file: Option<PathBuf>,
    /// Auth `kubernetes`: the name of the role.
    pub role: Option<String>,
    /// Auth `kubernetes`: the token of the service account. Read at each login.
    pub jwt_file: PathBuf,
    /// What a mount is taken for where the server does not say it.
    pub kv_version: KvVersion,
    /// Which paths renew and revoke leases.
    pub lease_paths: LeasePaths,
    /// How long a request may take, with its redirects and its answer.
    #[serde(with = "crate::duration")]
    #[schemars(schema_with = "crate::duration::schema")]
    pub timeout: Duration,
    /// How often to look at secrets that have no lease.
    #[serde(with = "crate::duration")]
    #[schemars(schema_with = "crate::duration::schema")]
    pub poll_interval: Duration,
    /// The most that an answer may be long, in bytes.
    pub max_response_bytes: u32,
}

/// How to log in to Vault.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
#[non_exhaustive]
pub enum VaultAuth {
    /// With a token that somebody else has made.
    #[default]
    Token,
    /// With the id and the secret of a role.
    AppRole,
    /// With the service account of a pod.
    Kubernetes,
}

/// What a mount is taken for where Vault does not say it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
#[non_exhaustive]
pub enum KvVersion {
    /// As the answer looks.
    #[default]
    Auto,
    /// Paths are read as they are.
    V1,
    /// The first part of a path is a mount of KV version 2.
    V2,
}

/// Which paths renew and revoke leases.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
#[non_exhaustive]
pub enum LeasePaths {
    /// The current ones, or the legacy ones where the server does not know those.
    #[default]
    Auto,
    /// `sys/leases/renew` and `sys/leases/revoke`.
    Current,
    /// `sys/renew` and `sys/revoke`, with the id of the lease in the path.
    Legacy,
}

impl VaultAuth {
    /// Its name in config, and where it is mounted unless told otherwise.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Token => "token",
            Self::AppRole => "approle",
            Self::Kubernetes => "kubernetes",
        }
    }
}

/// Credentials may be made in a database before they are answered. Vault's own client waits 60 s.
const TIMEOUT: Duration = Duration::from_secs(30);

/// What Vault Agent waits between two looks at secrets without a lease.
const POLL_INTERVAL: Duration = Duration::from_secs(5 * 60);

/// A secret of KV version 2 is at most 1 MiB by default, as the server stores it.
const MAX_RESPONSE_BYTES: u32 = 2 * 1024 * 1024;

/// Where Kubernetes puts the token of a service account.
const JWT_FILE: &str = "/var/run/secrets/kubernetes.io/serviceaccount/token";

/// Longer is a slip of the unit.
const LONGEST: Duration = Duration::from_secs(10 * 60);

impl Default for VaultConfig {
    fn default() -> Self {
        Self {
            address: None,
            namespace: None,
            ca_file: None,
            allow_plain: false,
            auth: VaultAuth::default(),
            auth_mount: None,
            token: None,
            token_file: None,
            role_id: None,
            secret_id: None,
            secret_id_file: None,
            role: None,
            jwt_file: JWT_FILE.into(),
            kv_version: KvVersion::default(),
            lease_paths: LeasePaths::default(),
            timeout: TIMEOUT,
            poll_interval: POLL_INTERVAL,
            max_response_bytes: MAX_RESPONSE_BYTES,
        }
    }
}

impl VaultConfig {
    /// The defaults for a server at `address`, such as `https://vault.internal:8200`.
    pub fn new(address: impl Into<String>) -> Self {
        Self { address: Some(address.into()), ..Self::default() }
    }

    /// Asks with this token.
    pub fn with_token(mut self, token: impl Into<Secret<String>>) -> Self {
        self.auth = VaultAuth::Token;
        self.token = Some(token.into());
        self
    }

    /// Logs in with the id and the secret of a role.
    pub fn with_approle(mut self, role: impl Into<String>, secret: Secret<String>) -> Self {
        self.auth = VaultAuth::AppRole;
        (self.role_id, self.secret_id) = (Some(role.into()), Some(secret));
        self
    }

    /// Logs in with the service account of the pod.
    pub fn with_kubernetes(mut self, role: impl Into<String>) -> Self {
        self.auth = VaultAuth::Kubernetes;
        self.role = Some(role.into());
        self
    }

    /// Where the auth method is mounted.
    pub fn auth_mount(&self) -> &str {
        self.auth_mount.as_deref().unwrap_or(self.auth.as_str())
    }

    /// Says everything that is wrong with these settings.
    ///
    /// # Errors
    /// Keys are relative to the section.
    pub fn validate(&self) -> Result<(), Vec<Problem>> {
        let mut problems = Vec::new();
        match self.address.as_deref().map(|address| Address::parse(address, self.allow_plain)) {
            Some(Err(what)) => problems.push(Problem::new("address", what)),
            Some(Ok(_)) => self.validate_auth(&mut problems),
            None => {}
        }
        let header = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic());
        if self.namespace.as_deref().is_some_and(|namespace| !header(namespace)) {
            let what = "must be visible ASCII characters without spaces: it travels in a header";
            problems.push(Problem::new("namespace", what));
        }
        if self.auth_mount().split('/').any(|part| matches!(part, "" | "." | "..")) {
            let what = "is no path such as `approle` or `team/approle`, without a slash around it";
            problems.push(Problem::new("auth_mount", what));
        }
        for (key, value) in [("timeout", self.timeout), ("poll_interval", self.poll_interval)] {
            if value.is_zero() {
                problems.push(Problem::new(key, "must be longer than 0s"));
            }
        }
        if self.timeout > LONGEST {
            let shown = crate::duration::format(self.timeout);
            problems.push(Problem::new("timeout", format!("{shown} is too long: at most 10m")));
        }
        if self.max_response_bytes < 1024 {
            let what = "must be 1024 or more: an answer does not fit into less";
            problems.push(Problem::new("max_response_bytes", what));
        }
        if problems.is_empty() { Ok(()) } else { Err(problems) }
    }

    /// What the method needs and does not have, and what belongs to another method.
    fn validate_auth(&self, problems: &mut Vec<Problem>) {
        use VaultAuth::{AppRole, Kubernetes, Token};
        let given = [
            ("token", Token, self.token.is_some()),
            ("token_file", Token, self.token_file.is_some()),
            ("role_id", AppRole, self.role_id.is_some()),
            ("secret_id", AppRole, self.secret_id.is_some()),
            ("secret_id_file", AppRole, self.secret_id_file.is_some()),
            ("role", Kubernetes, self.role.is_some()),
        ];
        for (key, auth, given) in given {
            // A token may be there for the tools of the operator.
            if given && auth != self.auth && auth != Token {
                let (theirs, ours) = (auth.as_str(), self.auth.as_str());
                let what = format!("belongs to auth `{theirs}`, and auth is `{ours}`");
                problems.push(Problem::new(key, what));
            }
        }
        for (key, file, both) in [
            ("token", "token_file", self.token.is_some() && self.token_file.is_some()),
            (
                "secret_id",
                "secret_id_file",
                self.secret_id.is_some() && self.secret_id_file.is_some(),
            ),
        ] {
            if both {
                problems.push(Problem::new(key, format!("is given, and {file} too; keep one")));
            }
        }
        let missing = match self.auth {
            Token if self.token.is_none() && self.token_file.is_none() => {
                Some(("token", "is missing: give it or token_file, or choose another auth"))
            }
            AppRole if self.role_id.is_none() => Some(("role_id", "is missing: auth is `approle`")),
            Kubernetes if self.role.is_none() => Some(("role", "is missing: auth is `kubernetes`")),
            _ => None,
        };
        problems.extend(missing.map(|(key, what)| Problem::new(key, what)));
        let sendable = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic());
        if self.token.as_ref().is_some_and(|token| !sendable(token.expose())) {
            let what = "must be 1 or more visible ASCII characters without spaces: it travels in a \
                        header";
            problems.push(Problem::new("token", what));
        }
    }
}
