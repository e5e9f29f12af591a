//! Ready-made checks of what most services stand on.
//!
//! | check | feature | passes when |
//! |---|---|---|
//! | [`tcp`] | `checks` | a connection is accepted |
//! | [`disk`] (Unix) | `checks` | there is room, and with [`writable`](Disk::writable) a file can be written |
//! | [`http`](http()) | `checks-http` | a `GET` is answered with an expected status |
//! | [`grpc`](grpc()) | `checks-grpc` | `grpc.health.v1` answers `SERVING` |
//! | [`redis`](redis()) | `checks-redis` | login and `PING` succeed |
//! | [`postgresql`](postgresql()) | `checks-postgresql` | login and `SELECT 1` succeed |
//!
//! Each fits [`Health::check`](super::Health::check). Each run opens a connection of its own and
//! closes it as the protocol has it, so that the server writes no line about a client that went
//! away. A check of a pool would tell whether there is a connection left in it, which the service
//! notices anyway.
//!
//! Addresses that may change are given as a closure, with `…_live`: it is asked at each run, so the
//! check follows a reload of the settings and a password that rotates. Reasons name hosts, never a
//! password, also where a server repeats it.
//!
//! Over TLS they believe whom the system trusts, or those whom they are told to believe. What the
//! system trusts is read once by each check, and again after a connection has failed; files are read
//! at each run, since they may be replaced.
//!
//! The schedule limits a run; a run that is given up closes its connection.
//!
//! ```
//! use octostack_core::Registry;
//! use octostack_core::health::{CheckKind, Health, checks};
//!
//! # fn build() -> Result<(), octostack_core::inspect::Problem> {
//! let health = Health::new(&Registry::new());
//! health.check("mail", CheckKind::Shared, checks::tcp("mail.internal:25")?);
//! # Ok(())
//! # }
//! # build().unwrap();
//! ```
#[cfg(any(
    feature = "checks-grpc",
    feature = "checks-http",
    feature = "checks-postgresql",
    feature = "checks-redis"
))]
mod authorities;
#[cfg(any(
    feature = "checks-grpc",
    feature = "checks-http",
    feature = "checks-postgresql",
    feature = "checks-redis"
))]
mod connect;
#[cfg(unix)]
mod disk;
#[cfg(feature = "checks-grpc")]
mod grpc;
#[cfg(test)]
mod hostile;
#[cfg(any(feature = "checks-postgresql", feature = "checks-redis"))]
mod hosts;
#[cfg(feature = "checks-http")]
mod http;
#[cfg(feature = "checks-postgresql")]
mod postgresql;
#[cfg(feature = "checks-redis")]
mod redis;
mod tcp;
#[cfg(test)]
mod tests;

#[cfg(unix)]
pub use disk::{Disk, disk};
#[cfg(feature = "checks-grpc")]
pub use grpc::{Grpc, grpc, grpc_live};
#[cfg(feature = "checks-http")]
pub use http::{Http, http, http_live};
#[cfg(feature = "checks-postgresql")]
pub use postgresql::{PostgresqlCheck, postgresql, postgresql_live};
#[cfg(feature = "checks-redis")]
pub use redis::{RedisCheck, redis, redis_live};
pub use tcp::{Tcp, tcp, tcp_live};

#[cfg(all(
    feature = "bindings-check",
    any(feature = "checks-postgresql", feature = "checks-redis")
))]
pub(crate) use authorities::System;

use std::fmt;
use std::sync::Arc;

/// Where a check goes: always the same, or asked anew for each run.
struct Target<T>(Arc<dyn Fn() -> Result<T, String> + Send + Sync>);

impl<T: Send + Sync + 'static> Target<T> {
    fn fixed(to: T) -> Self
    where
        T: Clone,
    {
        Self(Arc::new(move || Ok(to.clone())))
    }

    fn live(to: impl Fn() -> Result<T, String> + Send + Sync + 'static) -> Self {
        Self(Arc::new(to))
    }

    fn now(&self) -> Result<T, String> {
        (self.0)()
    }
}

impl<T> Clone for Target<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

/// It may hold a password.
impl<T> fmt::Debug for Target<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Target")
    }
}

/// `text` without `secret`: some servers repeat what they were told, or the beginning of it.
#[cfg(any(feature = "checks-postgresql", feature = "checks-redis"))]
fn without(text: &str, secret: Option<&crate::Secret<String>>) -> String {
    let Some(secret) = secret.map(crate::Secret::expose).filter(|secret| !secret.is_empty()) else {
        return text.to_owned();
    };
    let text = text.replace(secret.as_str(), crate::secret::REDACTED);
    let parts = (4..secret.len()).rev().filter_map(|end| secret.get(..end));
    for part in parts {
        // A few letters are a part of it where the text was cut, and else may be a word of its own.
        if part.len() >= 12 && text.contains(part) {
            return text.replace(part, crate::secret::REDACTED);
        }
        if let Some(before) = text.strip_suffix(part) {
            return format!("{before}{}", crate::secret::REDACTED);
        }
    }
    text
}
