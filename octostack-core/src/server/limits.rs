use super::ServerConfig;
use super::slots::Slots;
use crate::dynamic::{Dynamic, Versioned};
use crate::inspect::Problem;
use crate::sync::lock;
use std::fmt;
use std::sync::{Arc, Mutex};

/// The limits of a [`Server`](super::Server), to be changed while it serves; from
/// [`Server::limits`](super::Server::limits).
///
/// Connections that are open keep those that they were accepted with. Clones are cheap and are the
/// same limits.
#[derive(Clone)]
pub struct Limits {
    config: Dynamic<ServerConfig>,
    slots: Arc<Slots>,
    /// Held while they change, so that two cannot mix.
    changing: Arc<Mutex<()>>,
}

impl Limits {
    pub(super) fn new(config: &ServerConfig) -> Self {
        Self {
            config: Dynamic::new(config.clone()),
            slots: Arc::new(Slots::new(config.max_connections)),
            changing: Arc::default(),
        }
    }

    /// Those for new connections.
    pub fn now(&self) -> Arc<Versioned<ServerConfig>> {
        self.config.load()
    }

    /// Sets other limits for connections that come from now on. `host` and `port` do not move a
    /// socket that is open: they are not read.
    ///
    /// With a lower `max_connections` no connection is closed at once; those that are too many end
    /// with their next answer. None is accepted until there are fewer, but for one that may be on
    /// its way.
    ///
    /// # Errors
    /// Everything that is wrong, as [`ServerConfig::validate`] tells it. Nothing has changed then.
    pub fn replace(&self, config: &ServerConfig) -> Result<(), Vec<Problem>> {
        config.validate()?;
        let _changing = lock(&self.changing);
        if self.config.load().value != *config {
            self.slots.resize(config.max_connections);
            self.config.store(config.clone());
        }
        Ok(())
    }

    pub(super) const fn config(&self) -> &Dynamic<ServerConfig> {
        &self.config
    }

    pub(super) fn slots(&self) -> &Slots {
        &self.slots
    }
}

impl fmt::Debug for Limits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Limits").field(&self.now().value).finish()
    }
}
