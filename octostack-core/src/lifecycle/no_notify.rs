//! Systems on which no service manager listens: there is nobody to tell.
use std::convert::Infallible;
use std::time::Duration;

/// The socket on which a service manager listens; on this system there is none.
#[derive(Clone, Debug)]
pub enum Notify {}

/// Why the service manager cannot be told; on this system there is none.
pub type NotifyError = Infallible;

impl Notify {
    /// `None`: no manager started this process.
    ///
    /// # Errors
    /// Never.
    pub const fn from_env() -> Result<Option<Self>, NotifyError> {
        Ok(None)
    }

    /// It serves.
    pub const fn ready(&self) {
        match *self {}
    }

    /// It reads its config again.
    pub const fn reloading(&self) {
        match *self {}
    }

    /// It ends.
    pub const fn stopping(&self, _: Duration) {
        match *self {}
    }

    /// How it is.
    pub const fn status(&self, _: &str) {
        match *self {}
    }

    /// It works.
    pub const fn watchdog(&self) {
        match *self {}
    }

    /// How often that is to be said.
    pub const fn watchdog_interval(&self) -> Option<Duration> {
        match *self {}
    }
}
