//! One way to listen, and one to speak, whichever kind of socket it is.
use super::Address;
use super::io::Watched;
#[cfg(unix)]
use super::unix::{Place, UnixPeer};
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
#[cfg(unix)]
use tokio::net::{UnixListener, UnixStream};

/// A socket that listens.
#[derive(Debug)]
pub(super) enum Socket {
    Tcp(TcpListener, Whose),
    /// With its place in the file system, if that is ours.
    #[cfg(unix)]
    Unix(UnixListener, Option<Place>),
}

/// Who has opened a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Whose {
    Ours,
    /// It may stay open elsewhere when it is closed here, as one that a service manager passes on.
    Others,
}

/// Who has connected.
#[derive(Clone, Copy, Debug)]
pub(super) enum PeerId {
    Tcp(SocketAddr),
    /// If the system knows.
    #[cfg(unix)]
    Unix(Option<UnixPeer>),
}

impl Socket {
    pub(super) fn address(&self) -> io::Result<Address> {
        Ok(match self {
            Self::Tcp(socket, _) => Address::Tcp(socket.local_addr()?),
            #[cfg(unix)]
            Self::Unix(socket, _) => {
                let path = socket.local_addr()?.as_pathname().map(std::path::Path::to_owned);
                Address::Unix(path.unwrap_or_default())
            }
        })
    }

    pub(super) async fn accept(&self) -> io::Result<(Stream, PeerId)> {
        match self {
            Self::Tcp(socket, _) => socket.accept().await.map(tcp),
            #[cfg(unix)]
            Self::Unix(socket, _) => socket.accept().await.map(|(stream, _)| unix(stream)),
        }
    }

    /// Lets nobody begin to connect any more, where the system can do that, and waits until those
    /// who have begun are connected.
    #[cfg(target_os = "linux")]
    pub(super) async fn turn_away(&self) {
        if let Self::Tcp(socket, Whose::Ours) = self
            && super::closing::turn_away(socket).is_ok()
        {
            tokio::time::sleep(super::closing::SETTLE).await;
        }
    }

    /// What has connected and was not accepted. Nobody can connect to a Unix socket any more.
    pub(super) fn into_backlog(self) -> io::Result<Backlog> {
        match self {
            Self::Tcp(socket, _) => socket.into_std().map(Backlog::Tcp),
            #[cfg(unix)]
            Self::Unix(socket, place) => {
                drop(place);
                socket.into_std().map(Backlog::Unix)
            }
        }
    }
}

/// The connections that wait on a socket which is about to close.
pub(super) enum Backlog {
    Tcp(std::net::TcpListener),
    #[cfg(unix)]
    Unix(std::os::unix::net::UnixListener),
}

impl Backlog {
    /// The next one; `WouldBlock` after the last.
    pub(super) fn accept(&self) -> io::Result<(Stream, PeerId)> {
        match self {
            Self::Tcp(socket) => {
                let (stream, peer) = socket.accept()?;
                stream.set_nonblocking(true)?;
                Ok(tcp((TcpStream::from_std(stream)?, peer)))
            }
            #[cfg(unix)]
            Self::Unix(socket) => {
                let (stream, _) = socket.accept()?;
                stream.set_nonblocking(true)?;
                Ok(unix(UnixStream::from_std(stream)?))
            }
        }
    }
}

fn tcp((stream, peer): (TcpStream, SocketAddr)) -> (Stream, PeerId) {
    // A response is written whole; waiting for more to send with it only delays it.
    let _ = stream.set_nodelay(true);
    (Stream::Tcp(stream), PeerId::Tcp(peer))
}

#[cfg(unix)]
fn unix(stream: UnixStream) -> (Stream, PeerId) {
    let peer = UnixPeer::of(&stream);
    (Stream::Unix(stream), PeerId::Unix(peer))
}

/// A connection as the system has it.
#[derive(Debug)]
pub(super) enum Stream {
    Tcp(TcpStream),
    #[cfg(unix)]
    Unix(UnixStream),
}

/// A connection as hyper has it.
pub(super) enum Io {
    Plain(Watched<Stream>),
    #[cfg(feature = "tls")]
    Tls(Box<tokio_rustls::server::TlsStream<Watched<Stream>>>),
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(io) => Pin::new(io).poll_read(cx, buf),
            #[cfg(unix)]
            Self::Unix(io) => Pin::new(io).poll_read(cx, buf),
        }
    }
}

impl AsyncRead for Io {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(io) => Pin::new(io).poll_read(cx, buf),
            #[cfg(feature = "tls")]
            Self::Tls(io) => {
                let before = buf.filled().len();
                let result = Pin::new(&mut *io).poll_read(cx, buf);
                // The socket only sees what is encrypted.
                io.get_ref().0.link().decrypted(&buf.filled()[before..]);
                result
            }
        }
    }
}

/// Hands writes on to whichever it is. One type for all sockets, so that hyper is
/// compiled once for a service, and not once for each kind.
macro_rules! hand_on {
    ($io:ident: $($(#[$when:meta])? $variant:ident),+) => {
        impl AsyncWrite for $io {
            fn poll_write(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                buf: &[u8],
            ) -> Poll<io::Result<usize>> {
                match self.get_mut() {
                    $($(#[$when])? Self::$variant(io) => Pin::new(io).poll_write(cx, buf),)+
                }
            }

            fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                match self.get_mut() {
                    $($(#[$when])? Self::$variant(io) => Pin::new(io).poll_flush(cx),)+
                }
            }

            fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                match self.get_mut() {
                    $($(#[$when])? Self::$variant(io) => Pin::new(io).poll_shutdown(cx),)+
                }
            }

            fn poll_write_vectored(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                bufs: &[io::IoSlice<'_>],
            ) -> Poll<io::Result<usize>> {
                match self.get_mut() {
                    $($(#[$when])? Self::$variant(io) => {
                        Pin::new(io).poll_write_vectored(cx, bufs)
                    })+
                }
            }

            fn is_write_vectored(&self) -> bool {
                match self {
                    $($(#[$when])? Self::$variant(io) => io.is_write_vectored(),)+
                }
            }
        }
    };
}

hand_on!(Stream: Tcp, #[cfg(unix)] Unix);
hand_on!(Io: Plain, #[cfg(feature = "tls")] Tls);
