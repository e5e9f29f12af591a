//! How the secrets of the settings look to operators. Shows none.

use super::SettingsSecrets;
use crate::inspect::Value;
use crate::sync::lock;
use std::fmt;

impl SettingsSecrets {
    /// Whether all secrets are as fresh as they should be: for a health check that warns.
    ///
    /// # Errors
    /// What is not, in short. No secret.
    pub fn standing(&self) -> Result<(), String> {
        let running = lock(&self.state).running.clone();
        running.map_or(Ok(()), |running| running.secrets.standing())
    }

    /// A number that changes whenever a secret does.
    pub fn generation(&self) -> u64 {
        let running = lock(&self.state).running.clone();
        running.map_or(1, |running| running.secrets.generation())
    }

    /// Each secret by its reference, who provides them, and the record: for a page. No secret.
    pub fn status(&self) -> Value {
        let running = lock(&self.state).running.clone();
        running.map_or_else(
            || {
                let none = Value::map::<&str>([]);
                Value::map([("secrets", none.clone()), ("providers", none), ("audit", Value::Null)])
            },
            |running| running.secrets.status(),
        )
    }
}

impl fmt::Debug for SettingsSecrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SettingsSecrets").field("name", &self.name).finish_non_exhaustive()
    }
}
