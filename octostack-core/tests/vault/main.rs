//! The client of Vault, over real sockets, against a server that does what it is told.
#![cfg(feature = "vault")]
#![allow(clippy::unwrap_used, reason = "in a helper too, it fails the test that called it")]

mod faults;
mod kv;
mod leases;
mod lives;
mod logins;
mod script;
mod tls;

use octostack_core::secret::provider::{Fetched, ProviderError, SecretProvider};
use octostack_core::secret::vault::{VaultConfig, VaultProvider};
use octostack_core::secret::{Secret, SecretRef};
use script::{ROOT, Script};
use std::path::PathBuf;
use std::time::Duration;

const MILLIS: fn(u64) -> Duration = Duration::from_millis;
const SECONDS: fn(u64) -> Duration = Duration::from_secs;

fn secret(text: &str) -> Secret<String> {
    Secret::new(text.to_owned())
}

fn reference(text: &str) -> SecretRef {
    text.parse().unwrap()
}

/// Asks as root.
fn root(script: &Script) -> VaultConfig {
    VaultConfig::new(script.url()).with_token(secret(ROOT))
}

fn provider(config: VaultConfig) -> VaultProvider {
    VaultProvider::new(config).unwrap()
}

async fn fetch(vault: &VaultProvider, from: &str) -> Result<Fetched, ProviderError> {
    let reference = reference(from);
    vault.check(&reference).unwrap();
    vault.fetch(&reference).await
}

/// The text that a reference stands for.
async fn text(vault: &VaultProvider, from: &str) -> Result<String, String> {
    let fetched = fetch(vault, from).await.map_err(|error| error.to_string())?;
    let text = fetched.payload.select(reference(from).field())?;
    Ok(text.expose().clone())
}

fn dir(name: &str) -> PathBuf {
    let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("vault-{name}"));
    let _ = std::fs::remove_dir_all(&dir);
    std::fs::create_dir_all(&dir).unwrap();
    dir
}
