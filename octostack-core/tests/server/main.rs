//! The server over real sockets.
#![cfg(feature = "server")]
#![allow(clippy::unwrap_used, reason = "helpers of tests may fail a test as tests do")]

mod drain;
#[cfg(unix)]
mod files;
mod limits;
mod load;
mod protocol;
mod streams;
mod support;
