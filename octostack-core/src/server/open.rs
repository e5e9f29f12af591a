use super::socket::Whose;
#[cfg(unix)]
use super::unix;
use super::{BindError, Limits, Server, ServerConfig, Socket};
use crate::inspect::Registry;
use std::io;
#[cfg(unix)]
use std::path::Path;
use tokio::net::{TcpListener, TcpSocket, lookup_host};

/// How many connections may wait to be accepted. The system lowers it to its own limit
/// (`net.core.somaxconn`, 4096 on Linux).
pub(super) const BACKLOG: u32 = 1024;

/// As `TcpListener::bind`, whose backlog is too short for a burst of clients.
async fn listen(address: &str) -> io::Result<TcpListener> {
    let mut error = io::Error::new(io::ErrorKind::InvalidInput, "it resolves to no address");
    for addr in lookup_host(address).await? {
        let socket = if addr.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        // A restart finds connections of the process before it that are not over for the system.
        #[cfg(unix)]
        socket.set_reuseaddr(true)?;
        match socket.bind(addr).and_then(|()| socket.listen(BACKLOG)) {
            Ok(listener) => return Ok(listener),
            Err(why) => error = why,
        }
    }
    Err(error)
}

/// The ways to open one, or to be given one that is open.
impl Server {
    /// Listens where `config` says.
    ///
    /// # Errors
    /// [`BindError`] when the address is in use, is none of this host's, or is not permitted.
    pub async fn bind(config: &ServerConfig) -> Result<Self, BindError> {
        Self::bind_to(&config.address(), "server.host and server.port (HOST, PORT)", config).await
    }

    /// Listens on `address` (`host:port`), with the limits of `config`. An error names `setting`
    /// as the place where the address can be changed.
    ///
    /// # Errors
    /// As [`bind`](Self::bind).
    pub async fn bind_to(
        address: &str,
        setting: &str,
        config: &ServerConfig,
    ) -> Result<Self, BindError> {
        let error = |source| BindError::new(address, setting, source);
        let socket = listen(address).await.map_err(error)?;
        Self::new(Socket::Tcp(socket, Whose::Ours), config).map_err(error)
    }

    /// Listens on a Unix socket at `path`, which its owner and group may connect to: mode 0660.
    ///
    /// A socket that is there already, and that nobody listens on, is taken away: it is what is
    /// left of a process that was killed. The file is removed when the server ends, before it
    /// accepts what waits, so that nobody connects for nothing.
    ///
    /// ```
    /// use octostack_core::server::{Server, ServerConfig};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let path = std::env::temp_dir().join(format!("octostack-doc-{}.sock", std::process::id()));
    /// let server = Server::bind_unix(&path, &ServerConfig::default()).await?;
    /// assert!(path.exists());
    /// drop(server);
    /// assert!(!path.exists());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`BindError`] when another process listens there, something other than a socket is there,
    /// or the directory is not there or not to be written to.
    #[cfg(unix)]
    pub async fn bind_unix(
        path: impl AsRef<Path>,
        config: &ServerConfig,
    ) -> Result<Self, BindError> {
        Self::bind_unix_as(path, 0o660, "the path", config).await
    }

    /// The same with other mode bits: to connect, one must be permitted to write. Until they are
    /// set nobody can connect. An error names `setting` as the place where the path can be changed.
    ///
    /// # Errors
    /// As [`bind_unix`](Self::bind_unix).
    #[cfg(unix)]
    pub async fn bind_unix_as(
        path: impl AsRef<Path>,
        mode: u32,
        setting: &str,
        config: &ServerConfig,
    ) -> Result<Self, BindError> {
        let path = path.as_ref();
        let (socket, place) = unix::bind(path, mode, setting).await?;
        let error = |source| BindError::unix(path, setting, source);
        Self::new(Socket::Unix(socket, Some(place)), config).map_err(error)
    }

    /// Serves a socket that somebody else has opened, such as a service manager.
    ///
    /// # Errors
    /// When the system does not let it be used without blocking.
    ///
    /// # Panics
    /// Outside of a tokio runtime with its I/O driver enabled.
    pub fn from_listener(socket: std::net::TcpListener, config: &ServerConfig) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        Self::new(Socket::Tcp(TcpListener::from_std(socket)?, Whose::Others), config)
    }

    /// The same for a Unix socket. Its file is that of whoever has opened it, and stays.
    ///
    /// # Errors
    /// When the system does not let it be used without blocking.
    ///
    /// # Panics
    /// Outside of a tokio runtime with its I/O driver enabled.
    #[cfg(unix)]
    pub fn from_unix_listener(
        socket: std::os::unix::net::UnixListener,
        config: &ServerConfig,
    ) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        Self::new(Socket::Unix(tokio::net::UnixListener::from_std(socket)?, None), config)
    }

    fn new(socket: Socket, config: &ServerConfig) -> io::Result<Self> {
        Ok(Self {
            addr: socket.address()?,
            #[cfg(feature = "tls")]
            tls: None,
            socket,
            limits: Limits::new(config),
            name: "public".into(),
            registry: Registry::global().clone(),
            tell_peer: false,
            mark: None,
            turn: None,
        })
    }
}
