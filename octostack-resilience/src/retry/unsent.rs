//! Telling errors of requests that were never sent.
use std::error::Error as StdError;
use std::io;

/// Tells from an error that the request never reached the service, so that sending it again cannot
/// execute it twice. Implemented for closures `Fn(&E) -> bool`, [`BySource`] and [`Untold`].
pub trait NeverSent<E>: Clone {
    /// `true` only if that is certain.
    fn is_never_sent(&self, error: &E) -> bool;
}

/// Can never tell; the default, since it fits any error type.
#[derive(Clone, Copy, Debug, Default)]
pub struct Untold;

/// Looks for a refused connection in the error and its sources: see [`is_never_sent`].
#[derive(Clone, Copy, Debug, Default)]
pub struct BySource;

impl<E> NeverSent<E> for Untold {
    fn is_never_sent(&self, _: &E) -> bool {
        false
    }
}

impl<E: StdError + 'static> NeverSent<E> for BySource {
    fn is_never_sent(&self, error: &E) -> bool {
        is_never_sent(error)
    }
}

impl<E, F: Fn(&E) -> bool + Clone> NeverSent<E> for F {
    fn is_never_sent(&self, error: &E) -> bool {
        self(error)
    }
}

/// Whether an [`io::Error`], in `error` or in what it says is its source, comes from opening a
/// connection, before anything can have been sent.
///
/// These kinds only: `ConnectionRefused`, and `AddrInUse` and `AddrNotAvailable`, which is how a
/// host that has run out of ports says so. A host or network that cannot be reached is not among
/// them: connections that are open end so too.
///
/// ```
/// use octostack_resilience::retry::is_never_sent;
/// use std::io::{Error, ErrorKind};
///
/// assert!(is_never_sent(&Error::from(ErrorKind::ConnectionRefused)));
/// assert!(!is_never_sent(&Error::from(ErrorKind::ConnectionReset)), "perhaps it was");
/// ```
pub fn is_never_sent(error: &(dyn StdError + 'static)) -> bool {
    std::iter::successors(Some(error), |&error| error.source())
        .filter_map(|error| error.downcast_ref::<io::Error>())
        .any(is_of_connecting)
}

/// An [`io::Error`] made of another error is not a source of itself, so it is opened here.
fn is_of_connecting(error: &io::Error) -> bool {
    use io::ErrorKind::{AddrInUse, AddrNotAvailable, ConnectionRefused};
    matches!(error.kind(), ConnectionRefused | AddrInUse | AddrNotAvailable)
        || error.get_ref().is_some_and(|inner| is_never_sent(inner))
}

#[cfg(all(test, not(octostack_loom)))]
mod tests {
    use super::is_never_sent;
    use crate::Error;
    use crate::error::BoxError;
    use std::io::{self, ErrorKind};

    #[test]
    fn looks_through_sources_and_into_wrapped_errors() {
        let refused = || io::Error::from(ErrorKind::ConnectionRefused);
        assert!(is_never_sent(&refused()));
        assert!(is_never_sent(&Error::Inner(refused())));
        assert!(is_never_sent(&Error::Inner(Error::Inner(refused()))));
        assert!(is_never_sent(&io::Error::other(Error::Inner(refused()))));
        assert!(is_never_sent(&io::Error::new(ErrorKind::TimedOut, refused())));
        let boxed: BoxError = refused().into();
        assert!(is_never_sent(&*boxed));
    }

    #[test]
    fn a_port_where_nobody_listens() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        assert!(is_never_sent(&std::net::TcpStream::connect(address).unwrap_err()));
    }

    #[test]
    fn what_may_have_been_sent_is_not_told_unsent() {
        for kind in [
            ErrorKind::ConnectionReset,
            ErrorKind::ConnectionAborted,
            ErrorKind::BrokenPipe,
            ErrorKind::TimedOut,
            ErrorKind::UnexpectedEof,
            ErrorKind::HostUnreachable,
            ErrorKind::NetworkUnreachable,
            ErrorKind::Other,
        ] {
            assert!(!is_never_sent(&io::Error::from(kind)), "{kind}");
        }
        let boxed: BoxError = "connection refused".into();
        assert!(!is_never_sent(&*boxed), "words prove nothing");
    }
}
