//! Sockets that a service manager has opened and passed on (`LISTEN_FDS`, `sd_listen_fds(3)`).
//!
//! It keeps them open while the service restarts: clients wait in the backlog, and none is refused.
use crate::listeners::PUBLIC;
use listenfd::ListenFd;
use std::collections::BTreeMap;
use std::io;
use std::net::TcpListener;
#[cfg(unix)]
use std::os::unix::net::UnixListener;

/// Name of the socket of the admin port (`FileDescriptorName=` of the unit).
const ADMIN: &str = "admin";

/// A socket that was passed on.
#[derive(Debug)]
pub(crate) enum Passed {
    Tcp(TcpListener),
    #[cfg(unix)]
    Unix(UnixListener),
}

/// The sockets for the listeners of a service.
#[derive(Debug, Default)]
pub(crate) struct Sockets {
    pub(crate) public: Option<Passed>,
    /// Those of `server.listeners`, by name.
    pub(crate) more: BTreeMap<String, Passed>,
    pub(crate) admin: Option<TcpListener>,
}

/// Where the sockets are among those that were passed on, and which are for nothing.
#[derive(Debug, Default, PartialEq, Eq)]
struct Places {
    public: Option<usize>,
    more: Vec<(String, usize)>,
    admin: Option<usize>,
    unused: Vec<usize>,
}

impl Sockets {
    /// Those of this process, which has listeners called `listeners` beside the first.
    ///
    /// # Errors
    /// If one is no socket that listens, or that of the admin port is no TCP socket.
    pub(crate) fn from_env<'a>(listeners: impl Iterator<Item = &'a str>) -> io::Result<Self> {
        let mut passed = ListenFd::from_env();
        let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
        let places = Places::of(passed.len(), &names, listeners);
        for place in &places.unused {
            let name = names.split(':').nth(*place).filter(|name| !name.is_empty());
            let name = name.unwrap_or("without a name");
            tracing::warn!(
                "socket {place} ({name}) was passed on, and nobody answers there: no listener has \
                 this name, or a socket before it has its place"
            );
        }
        let mut sockets = Self::default();
        if let Some(place) = places.public {
            sockets.public = take(&mut passed, place)?;
        }
        for (name, place) in places.more {
            sockets.more.extend(take(&mut passed, place)?.map(|socket| (name, socket)));
        }
        if let Some(place) = places.admin {
            sockets.admin = passed.take_tcp_listener(place)?;
        }
        Ok(sockets)
    }
}

/// A socket of either kind; the error is that of the more likely one.
fn take(passed: &mut ListenFd, place: usize) -> io::Result<Option<Passed>> {
    match passed.take_tcp_listener(place) {
        Ok(socket) => Ok(socket.map(Passed::Tcp)),
        #[cfg(unix)]
        Err(error) => match passed.take_unix_listener(place) {
            Ok(socket) => Ok(socket.map(Passed::Unix)),
            Err(_) => Err(error),
        },
        #[cfg(not(unix))]
        Err(error) => Err(error),
    }
}

impl Places {
    /// The one that is named `admin` is the admin port's, and without names the second; those that
    /// are named as `listeners` are theirs; the one that is named `public`, or else the first of
    /// the others, is the public port's. A second one of a name is for nothing: what is to be
    /// reached there, perhaps only with a certificate, is not the public port.
    fn of<'a>(count: usize, names: &str, listeners: impl Iterator<Item = &'a str>) -> Self {
        let names: Vec<_> = names.split(':').collect();
        let called = |name: &str| (0..count).find(|place| names.get(*place) == Some(&name));
        let ours = called(ADMIN);
        let more: Vec<_> =
            listeners.filter_map(|name| Some((name.to_owned(), called(name)?))).collect();
        let is_more = |place: &usize| more.iter().any(|(_, used)| used == place);
        let is_free = |place: &usize| {
            let called = |name: &&str| *name == ADMIN || more.iter().any(|(used, _)| used == name);
            !names.get(*place).is_some_and(called)
        };
        let public = called(PUBLIC).or_else(|| (0..count).find(is_free));
        let unnamed = names.iter().all(|name| name.is_empty() || *name == "unknown");
        let admin = ours.or_else(|| (unnamed && count > 1).then_some(1));
        let used = |place: &usize| [public, admin].contains(&Some(*place)) || is_more(place);
        let unused = (0..count).filter(|place| !used(place)).collect();
        Self { public, more, admin, unused }
    }
}

#[cfg(test)]
mod tests {
    use super::Places;

    #[test]
    fn names_say_which_port_a_socket_is_for() {
        let places = |count, names| {
            let Places { public, more, admin, unused } =
                Places::of(count, names, ["peers"].into_iter());
            (public, more.first().map(|(_, place)| *place), admin, unused)
        };
        assert_eq!(places(0, ""), (None, None, None, vec![]));
        assert_eq!(places(1, ""), (Some(0), None, None, vec![]));
        assert_eq!(places(2, ""), (Some(0), None, Some(1), vec![]));
        assert_eq!(places(2, "unknown:unknown"), (Some(0), None, Some(1), vec![]));
        assert_eq!(places(2, "admin:http"), (Some(1), None, Some(0), vec![]));
        assert_eq!(places(1, "admin"), (None, None, Some(0), vec![]));
        assert_eq!(places(1, "orders.socket"), (Some(0), None, None, vec![]));
        assert_eq!(places(3, "http:debug:admin"), (Some(0), None, Some(2), vec![1]));
        assert_eq!(places(2, "http:debug"), (Some(0), None, None, vec![1]));
        assert_eq!(places(3, "peers:http:admin"), (Some(1), Some(0), Some(2), vec![]));
        assert_eq!(places(1, "peers"), (None, Some(0), None, vec![]));
        assert_eq!(places(2, "debug:public"), (Some(1), None, None, vec![0]));
        // On two addresses each.
        assert_eq!(places(2, "peers:peers"), (None, Some(0), None, vec![1]));
        assert_eq!(places(3, "admin:admin:http"), (Some(2), None, Some(0), vec![1]));
        assert_eq!(places(2, "public:public"), (Some(0), None, None, vec![1]));
    }
}
