//! The section `secrets`.

use crate::inspect::Problem;
use crate::secret::OnError;
use crate::secret::audit::AuditConfig;
#[cfg(feature = "vault")]
use crate::secret::vault::{VaultConfig, VaultProvider};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
#[cfg(feature = "vault")]
use std::sync::Arc;
use std::time::Duration;

/// How secrets are kept fresh: the config section `secrets`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct SecretsConfig {
    /// What becomes of a secret whose lease could not be renewed or replaced.
    #[schemars(extend("x-restart-required" = true))]
    pub on_error: OnError,
    /// How long the first fetch of a secret is tried while its provider does not answer.
    #[serde(with = "crate::duration")]
    #[schemars(schema_with = "crate::duration::schema")]
    #[schemars(extend("x-restart-required" = true))]
    pub start_timeout: Duration,
    /// How long a secret of the settings stays valid at its provider after another one has taken
    /// its place: copies of it may be in use.
    #[serde(with = "crate::duration")]
    #[schemars(schema_with = "crate::duration::schema")]
    pub drain: Duration,
    /// The record of all accesses.
    #[schemars(extend("x-restart-required" = true))]
    pub audit: AuditConfig,
    /// Vault or OpenBao.
    #[cfg(feature = "vault")]
    pub vault: VaultConfig,
}

impl Default for SecretsConfig {
    fn default() -> Self {
        Self {
            on_error: OnError::default(),
            start_timeout: Duration::from_secs(10),
            drain: DRAIN,
            audit: AuditConfig::default(),
            #[cfg(feature = "vault")]
            vault: VaultConfig::default(),
        }
    }
}

/// How long an old secret of the settings stays valid unless told otherwise.
const DRAIN: Duration = Duration::from_secs(60);

/// The most that one request to a provider may take.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Longer is a slip of the unit: the service would seem to hang.
const LONGEST_START: Duration = Duration::from_secs(10 * 60);

impl SecretsConfig {
    /// Says everything that is wrong with these settings.
    ///
    /// # Errors
    /// Keys are relative to the section.
    pub fn validate(&self) -> Result<(), Vec<Problem>> {
        let mut problems = Vec::new();
        if self.start_timeout > LONGEST_START {
            let shown = crate::duration::format(self.start_timeout);
            problems
                .push(Problem::new("start_timeout", format!("{shown} is too long: at most 10m")));
        }
        problems.extend(self.audit.validate().map_err(in_audit).err().into_iter().flatten());
        #[cfg(feature = "vault")]
        problems.extend(self.vault.validate().map_err(in_vault).err().into_iter().flatten());
        if problems.is_empty() { Ok(()) } else { Err(problems) }
    }

    /// The most that one request to a provider may take. Vault has a limit of its own, and says more
    /// when that is over.
    #[cfg(feature = "vault")]
    pub(super) fn timeout(&self) -> Duration {
        TIMEOUT.max(self.vault.timeout + Duration::from_secs(1))
    }

    #[cfg(not(feature = "vault"))]
    #[allow(clippy::unused_self, reason = "with other features it is used")]
    pub(super) const fn timeout(&self) -> Duration {
        TIMEOUT
    }

    /// The providers of Vault, if one is named.
    #[cfg(feature = "vault")]
    pub(super) fn vaults(&self) -> Result<Vec<Arc<VaultProvider>>, Vec<Problem>> {
        if self.vault.address.is_none() {
            return Ok(Vec::new());
        }
        let provider = || VaultProvider::new(self.vault.clone()).map_err(in_vault);
        Ok(vec![Arc::new(provider()?), Arc::new(provider()?.with_scheme("bao"))])
    }
}

/// Problems of the part `audit`, by keys of the whole section.
fn in_audit(problems: Vec<Problem>) -> Vec<Problem> {
    let within = |it: Problem| Problem::new(format!("audit.{}", it.key), it.message);
    problems.into_iter().map(within).collect()
}

/// Problems of the part `vault`, by keys of the whole section.
#[cfg(feature = "vault")]
pub(super) fn in_vault(problems: Vec<Problem>) -> Vec<Problem> {
    let within = |it: Problem| Problem::new(format!("vault.{}", it.key), it.message);
    problems.into_iter().map(within).collect()
}
