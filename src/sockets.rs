//! Sockets that a service manager has opened and passed on (`LISTEN_FDS`, `sd_listen_fds(3)`).
//!
//! It keeps them open while the service restarts: clients wait in the backlog, and none is refused.
use listenfd::ListenFd;
use std::io;
use std::net::TcpListener;

/// Name of the socket of the admin port (`FileDescriptorName=` of the unit).
const ADMIN: &str = "admin";

/// The sockets for the two ports of a service.
#[derive(Debug, Default)]
pub(crate) struct Sockets {
    pub(crate) public: Option<TcpListener>,
    pub(crate) admin: Option<TcpListener>,
}

/// Where the sockets for the two ports are among those that were passed on, and which are for
/// nothing.
#[derive(Debug, Default, PartialEq, Eq)]
struct Places {
    public: Option<usize>,
    admin: Option<usize>,
    unused: Vec<usize>,
}

impl Sockets {
    /// Those of this process.
    ///
    /// # Errors
    /// If one is no TCP socket.
    pub(crate) fn from_env() -> io::Result<Self> {
        let mut passed = ListenFd::from_env();
        let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
        let places = Places::of(passed.len(), &names);
        if !places.unused.is_empty() {
            let many = places.unused.len();
            tracing::warn!("{many} sockets more than the service has ports were passed on");
        }
        let mut take =
            |place: Option<usize>| place.map_or(Ok(None), |place| passed.take_tcp_listener(place));
        Ok(Self { public: take(places.public)?, admin: take(places.admin)? })
    }
}

impl Places {
    /// The one that is named `admin` is the admin port's, and without names the second; the first
    /// of the others is the public port's.
    fn of(count: usize, names: &str) -> Self {
        let names: Vec<_> = names.split(':').collect();
        let ours = (0..count).find(|place| names.get(*place) == Some(&ADMIN));
        let public = (0..count).find(|place| Some(*place) != ours);
        let unnamed = names.iter().all(|name| name.is_empty() || *name == "unknown");
        let admin = ours.or_else(|| (unnamed && count > 1).then_some(1));
        let used = |place: &usize| Some(*place) == public || Some(*place) == admin;
        Self { public, admin, unused: (0..count).filter(|place| !used(place)).collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::Places;

    #[test]
    fn names_say_which_port_a_socket_is_for() {
        let places = |count, names| {
            let Places { public, admin, unused } = Places::of(count, names);
            (public, admin, unused)
        };
        assert_eq!(places(0, ""), (None, None, vec![]));
        assert_eq!(places(1, ""), (Some(0), None, vec![]));
        assert_eq!(places(2, ""), (Some(0), Some(1), vec![]));
        assert_eq!(places(2, "unknown:unknown"), (Some(0), Some(1), vec![]));
        assert_eq!(places(2, "admin:http"), (Some(1), Some(0), vec![]));
        assert_eq!(places(1, "admin"), (None, Some(0), vec![]));
        assert_eq!(places(1, "orders.socket"), (Some(0), None, vec![]));
        assert_eq!(places(3, "http:debug:admin"), (Some(0), Some(2), vec![1]));
        assert_eq!(places(2, "http:debug"), (Some(0), None, vec![1]));
    }
}
