//! The server over real sockets.
#![cfg(feature = "server")]

mod drain;
#[cfg(unix)]
mod files;
mod limits;
mod load;
mod protocol;
mod support;
