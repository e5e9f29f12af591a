//! The server over real sockets.
#![cfg(feature = "server")]

mod drain;
mod limits;
mod load;
mod protocol;
mod support;
