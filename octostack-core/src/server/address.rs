use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

/// Where a [`Server`](super::Server) listens. Written `127.0.0.1:8080`, or `unix:/run/orders.sock`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Address {
    /// A TCP port, as the system gave it for port 0.
    Tcp(SocketAddr),
    /// The path of a Unix socket; empty if the socket has none, which can only be one that
    /// somebody else has opened.
    Unix(PathBuf),
}

impl Address {
    /// The TCP port, if it is one.
    pub const fn tcp(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(addr) => Some(*addr),
            Self::Unix(_) => None,
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(addr) => addr.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}
