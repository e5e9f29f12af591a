//! The providers of Vault, as the settings have them at the moment.

use super::config::{SecretsConfig, in_vault};
use crate::inspect::Problem;
use crate::secret::provider::SecretProvider;
use crate::secret::vault::{Connected, VaultProvider};
use crate::sync::lock;
use std::sync::{Arc, Mutex};

/// The providers of Vault, if one was named.
pub(super) struct Vaults(Mutex<Vec<Arc<VaultProvider>>>);

impl Vaults {
    pub(super) fn new(config: &SecretsConfig) -> Result<Self, Vec<Problem>> {
        config.vaults().map(|vaults| Self(Mutex::new(vaults)))
    }

    fn all(&self) -> Vec<Arc<VaultProvider>> {
        lock(&self.0).clone()
    }

    pub(super) fn providers(&self) -> impl Iterator<Item = Arc<dyn SecretProvider>> {
        self.all().into_iter().map(|vault| vault as Arc<dyn SecretProvider>)
    }

    pub(super) fn connected(&self) -> Vec<Connected> {
        self.all().iter().map(|vault| vault.connected()).collect()
    }

    /// Takes other settings. Gives what is new, if there was none before.
    ///
    /// Settings without a Vault leave it as it is: what it gave may be in use, and is to be revoked.
    pub(super) fn follow(
        &self,
        config: &SecretsConfig,
    ) -> Result<Vec<Arc<dyn SecretProvider>>, Vec<Problem>> {
        let all = self.all();
        if all.is_empty() {
            *lock(&self.0) = config.vaults()?;
            return Ok(self.providers().collect());
        }
        if config.vault.address.is_some() {
            for vault in &all {
                vault.reconfigure(config.vault.clone()).map_err(in_vault)?;
            }
        }
        Ok(Vec::new())
    }

    /// Undoes what settings said that were refused, to what was `connected`.
    pub(super) fn go_back(&self, config: &SecretsConfig, connected: &[Connected]) {
        let all = self.all();
        if connected.is_empty() && !all.is_empty() {
            // It came with them. What was wrong in the meantime is not known to anybody.
            let _ = self.follow(config);
        }
        for (vault, connected) in all.iter().zip(connected) {
            vault.go_back(connected);
        }
    }
}
