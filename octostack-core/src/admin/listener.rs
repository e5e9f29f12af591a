use super::Admin;
use crate::lifecycle::{Drained, Stop};
use crate::server::{BindError, Server, ServerConfig};
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

/// People and collectors, not traffic: enough for both, and a bound for everybody else. Near it
/// nobody keeps a place for longer than an answer, so that probes always find one.
const MAX_CONNECTIONS: usize = 512;

/// How long a connection may say nothing at first. Those that never do must not keep probes waiting,
/// which are judged by how long they take: who has something to ask here says it at once.
const FIRST_BYTE: Duration = Duration::from_secs(1);

/// How long the head of a request may take.
const HEAD: Duration = Duration::from_secs(2);

/// How long a client may take nothing of its answer. Pages are short, and who has asked for one is
/// there to read it.
const SEND: Duration = Duration::from_secs(10);

/// How long anything may take once places are scarce. Kubernetes gives a probe 1 s by default, and
/// that one waits until another connection ends.
const TURN: Duration = Duration::from_millis(500);

/// At the end nobody waits for the next request of a collector.
const IDLE_GRACE: Duration = Duration::from_millis(20);

fn limits() -> ServerConfig {
    ServerConfig {
        max_connections: MAX_CONNECTIONS,
        first_byte_timeout: FIRST_BYTE,
        header_read_timeout: HEAD,
        send_timeout: SEND,
        ..ServerConfig::default()
    }
}

impl Admin {
    /// Opens the port.
    ///
    /// # Errors
    /// [`BindError`], as for any listener; it names `admin.addr`.
    pub async fn bind(&self) -> Result<AdminListener, BindError> {
        let address = self.shared.addr.to_string();
        let server = Server::bind_to(&address, "admin.addr (ADMIN_ADDR)", &limits()).await?;
        Ok(self.on(server))
    }

    /// Takes a socket that somebody else has opened, such as a service manager. Its address is to
    /// be that of the [config](super::AdminConfig), by which it is decided who may do what.
    ///
    /// # Errors
    /// When the system does not let it be used without blocking.
    ///
    /// # Panics
    /// Outside of a tokio runtime with its I/O driver enabled.
    pub fn listen_on(&self, socket: TcpListener) -> io::Result<AdminListener> {
        Ok(self.on(Server::from_listener(socket, &limits())?))
    }

    fn on(&self, server: Server) -> AdminListener {
        let server =
            server.with_name("admin").with_registry(&self.shared.registry).with_peer_addr();
        let server = server.with_turns_of(TURN);
        let addr = server.local_addr().unwrap_or(self.shared.addr);
        AdminListener { admin: self.clone(), server, addr }
    }
}

/// The open admin port; made by [`Admin::bind`].
#[derive(Debug)]
pub struct AdminListener {
    admin: Admin,
    server: Server,
    addr: SocketAddr,
}

impl AdminListener {
    /// The address that it listens on, with the port that the system chose for port 0.
    pub fn local_addr(&self) -> SocketAddr {
        self.addr
    }

    /// Serves the pages, and ends overrides on time, until `stop` ends it.
    ///
    /// Give it a [`Stopper`](crate::lifecycle::Stopper) of its own that is moved after
    /// [`Lifecycle::run`](crate::lifecycle::Lifecycle::run) has returned, so that it answers to
    /// the end.
    pub async fn serve(self, stop: Stop) -> Drained {
        let Self { admin, server, .. } = self;
        tokio::select! {
            drained = server.serve_until(admin.clone(), stop, IDLE_GRACE) => drained,
            never = admin.overrides_on_time() => match never {},
        }
    }
}
