//! The server over real sockets.
#![cfg(feature = "server")]
#![allow(clippy::unwrap_used, reason = "helpers of tests may fail a test as tests do")]

mod crowd;
mod drain;
#[cfg(unix)]
mod files;
mod floods;
mod limits;
mod load;
mod protocol;
mod slow;
mod streams;
mod support;
#[cfg(feature = "tls")]
mod tls;
#[cfg(unix)]
mod unix;
