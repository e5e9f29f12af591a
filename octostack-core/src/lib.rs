//! Core of OctoStack: what every other crate stands on, and nothing that only one of them needs.
//!
//! Without features this crate is a few small things that depend on neither a runtime nor a
//! serialiser:
//!
//! | module | answers |
//! |---|---|
//! | [`inspect`] | What runs in this process, how is it doing, and what may be changed? |
//! | [`dynamic`] | What is the current value of a setting that can change while we run? |
//! | [`clock`] | What time is it? (as an argument, so that tests decide) |
//! | [`identity`] | Who is this process? |
//! | [`requests`] | Which requests are in flight? |
//! | [`duration`], [`time`] | How do people write durations and points in time? |
//!
//! ```
//! use octostack_core::Dynamic;
//!
//! let limit = Dynamic::new(10);
//! let mut reader = limit.reader();
//! assert_eq!(*reader.get(), 10);
//!
//! limit.store(20); // a reload
//! assert_eq!(*reader.get(), 20);
//! ```
#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(feature = "admin")]
pub mod admin;
#[cfg(feature = "bindings")]
pub mod binding;
pub mod clock;
#[cfg(feature = "config")]
pub mod config;
pub mod duration;
pub mod dynamic;
#[cfg(any(
    feature = "checks-grpc",
    feature = "checks-http",
    feature = "config",
    feature = "follow",
    feature = "secrets-live"
))]
mod file;
#[cfg(feature = "follow")]
pub mod follow;
#[cfg(feature = "health")]
pub mod health;
#[cfg(any(feature = "config-http", feature = "vault"))]
mod https;
pub mod identity;
pub mod inspect;
#[cfg(feature = "lifecycle")]
pub mod lifecycle;
#[cfg(any(feature = "checks-http", feature = "config-http", feature = "vault"))]
mod redirect;
pub mod requests;
#[cfg(feature = "secrets")]
pub mod secret;
#[cfg(feature = "server")]
pub mod server;
#[doc(hidden)]
pub mod sync;
#[cfg(feature = "testing")]
pub mod testing;
pub mod time;
#[cfg(any(
    feature = "checks-grpc",
    feature = "checks-http",
    feature = "checks-postgresql",
    feature = "checks-redis",
    feature = "config-http",
    feature = "vault"
))]
mod trust;

pub use clock::{Clock, SystemClock};
pub use dynamic::{Dynamic, Reader};
pub use identity::Identity;
pub use inspect::{Inspect, Registry};
#[cfg(feature = "secrets")]
pub use secret::Secret;
