//! A listener for any Tower service, HTTP/1.1 and HTTP/2 on one port or Unix socket, that ends
//! without loss.
//!
//! hyper does the protocols. What this module adds is what production asks of the listener around
//! them:
//!
//! * **Limits**, each with a default: silent connections, slow heads, idle connections, clients that
//!   do not read, size and number of headers, size of bodies, number of connections, of streams and
//!   of streams that are withdrawn. See [`ServerConfig`].
//! * **TLS** (feature `tls`), with a certificate that is followed and certificates of clients. See
//!   `Tls`.
//! * **An end that loses nothing.** hyper-util's `GracefulShutdown` closes idle HTTP/1 connections
//!   at once, with the request that was on its way to them. Here an answer says
//!   `Connection: close` as soon as the end is in sight; the backlog is emptied before the socket
//!   closes; an idle connection stays open for a short grace; and one that says nothing, or half a
//!   request, does not hold up the end.
//! * **Counts**: connections, requests in flight up to the end of the response body, failures to
//!   accept. See [`Inspect`](crate::Inspect).
//!
//! A response is the service's own. The server answers itself where the service was never asked
//! or could not answer: 400 and 431 for what is no request, 413 for a body above the limit, 500
//! for an error in place of a response.
//!
//! A client that closes its side before the answer has come is taken to have left: its request is
//! dropped, so that nobody works for nothing.
//!
//! Two things a client has to know. An answer with `Connection: close` is the last on its
//! connection. Requests that had arrived behind it are answered first, so that it is said on the
//! last of them; one that crosses it on its way is not answered, and is to be sent again (RFC 9112,
//! section 9.6). And a client that closes its sending half before it has its answer is
//! taken to be gone, since that is how a client that is gone looks; its request is cancelled.
//!
//! It does not catch panics (a panic ends its connection), set deadlines or shed load: these are
//! layers. A handler that holds a response open, such as a stream of events, should end it when
//! [`Shutdown`](crate::lifecycle::Shutdown) tells it to. What has not ended at
//! [`Step::CutStreams`](crate::lifecycle::Step::CutStreams) is cut: responses of type
//! `text/event-stream` and `application/grpc`, and connections that were upgraded. Those are waited
//! for like others: they are in flight until their socket is closed.
//!
//! ```
//! # use std::convert::Infallible;
//! # use std::task::{Context, Poll};
//! # use http_body_util::Full;
//! use http::{HeaderMap, Request, Response};
//! use octostack_core::Registry;
//! use octostack_core::lifecycle::{Lifecycle, LifecycleConfig, Signal, Signals};
//! use octostack_core::server::{RequestBody, Server, ServerConfig};
//!
//! #[derive(Clone)]
//! struct Hello;
//!
//! impl tower_service::Service<Request<RequestBody>> for Hello {
//!     type Response = Response<Full<bytes::Bytes>>;
//!     type Error = Infallible;
//!     type Future = std::future::Ready<Result<Self::Response, Infallible>>;
//!
//!     fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
//!         Poll::Ready(Ok(()))
//!     }
//!
//!     fn call(&mut self, _: Request<RequestBody>) -> Self::Future {
//!         std::future::ready(Ok(Response::new(Full::from("hello"))))
//!     }
//! }
//!
//! # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
//! let (kill, signals) = Signals::manual();
//! let lifecycle = Lifecycle::new(LifecycleConfig::default(), &Registry::new());
//!
//! let config = ServerConfig { port: 0, ..ServerConfig::default() };
//! let server = Server::bind(&config).await?;
//! let serving = tokio::spawn(server.serve(Hello, &lifecycle));
//! lifecycle.ready();
//!
//! kill.send(Signal::Interrupt).unwrap();
//! assert_eq!(lifecycle.run(signals).await.exit_code(), 0);
//! assert_eq!(serving.await.unwrap().cut_connections, 0);
//! # Ok::<_, octostack_core::server::BindError>(())
//! # }).unwrap();
//! ```
mod accept;
mod activity;
#[cfg(test)]
mod activity_tests;
mod address;
mod bind;
mod body;
#[cfg(target_os = "linux")]
mod closing;
mod config;
mod connection;
mod frames;
mod front;
mod io;
mod limits;
mod link;
mod open;
mod pong;
mod slots;
mod socket;
#[cfg(feature = "tls")]
mod tls;
#[cfg(unix)]
mod unix;

pub use address::Address;
pub use bind::BindError;
pub use body::RequestBody;
pub use config::ServerConfig;
pub use limits::Limits;
#[cfg(feature = "tls")]
pub use tls::{ClientAuth, PeerIdentity, Tls, TlsConfig, TlsError};
#[cfg(unix)]
pub use unix::{UnixPeer, parse_mode};

use crate::inspect::{Event, Registry};
use crate::lifecycle::{Drained, Lifecycle, Stop};
use accept::{Acceptor, Grace, Http};
use http::{HeaderMap, Request, Response};
use http_body::Body;
use socket::Socket;
use std::borrow::Cow;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tower_service::Service;

/// A service that a [`Server`] can serve; implemented by every Tower service that fits.
///
/// An error in place of a response is answered with 500.
pub trait HttpService:
    Service<
        Request<RequestBody>,
        Response = Response<Self::Body>,
        Error: Into<BoxError>,
        Future: Send + 'static,
    > + Clone
    + Send
    + 'static
{
    /// The body of its responses.
    type Body: Body<Error: Into<BoxError>> + Send + 'static;
}

impl<S, B> HttpService for S
where
    S: Service<
            Request<RequestBody>,
            Response = Response<B>,
            Error: Into<BoxError>,
            Future: Send + 'static,
        > + Clone
        + Send
        + 'static,
    B: Body<Error: Into<BoxError>> + Send + 'static,
{
    type Body = B;
}

/// Any error, as hyper and tower pass it on.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Address of the peer, in the extensions of each request of a server
/// [with peer addresses](Server::with_peer_addr) that came over TCP. Who connects to a Unix socket
/// has none, and is told by `UnixPeer`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer(pub SocketAddr);

/// A socket that listens, not yet served; see the [module docs](self).
#[derive(Debug)]
pub struct Server {
    socket: Socket,
    addr: Address,
    #[cfg(feature = "tls")]
    tls: Option<Tls>,
    limits: Limits,
    name: Cow<'static, str>,
    registry: Registry,
    tell_peer: bool,
    mark: Option<Mark>,
    turn: Option<Duration>,
}

/// Puts on an answer of the server's own what every answer carries; see [`Server::with_mark`].
pub type Mark = fn(from: &HeaderMap, to: &mut HeaderMap);

impl Server {
    /// Where it listens.
    pub fn address(&self) -> &Address {
        &self.addr
    }

    /// The address that it listens on, with the port that the system chose for port 0; none for a
    /// Unix socket.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.addr.tcp()
    }

    /// Speaks TLS on it, and nothing else.
    #[cfg(feature = "tls")]
    pub fn with_tls(mut self, tls: Tls) -> Self {
        self.tls = Some(tls);
        self
    }

    /// Its limits, which can be changed while it serves.
    ///
    /// ```
    /// use octostack_core::server::{Server, ServerConfig};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let config = ServerConfig { port: 0, ..ServerConfig::default() };
    /// let server = Server::bind(&config).await?;
    /// let limits = server.limits();
    /// // … later, while it serves:
    /// let lower = ServerConfig { max_connections: 100, ..config };
    /// assert_eq!(limits.replace(&lower), Ok(()));
    /// # Ok(())
    /// # }
    /// ```
    pub fn limits(&self) -> Limits {
        self.limits.clone()
    }

    /// Sets its name in events and metrics: `public` unless told otherwise.
    pub fn with_name(mut self, name: impl Into<Cow<'static, str>>) -> Self {
        self.name = name.into();
        self
    }

    /// Lets the answers that the server gives itself carry headers that the service's answers
    /// carry, such as a request id. `mark` gets the headers of the request, or those of the answer
    /// that is replaced.
    pub fn with_mark(mut self, mark: Mark) -> Self {
        self.mark = Some(mark);
        self
    }

    /// Sets the registry that shows it: the global one unless told otherwise.
    pub fn with_registry(mut self, registry: &Registry) -> Self {
        self.registry = registry.clone();
        self
    }

    /// Puts a [`Peer`] into the extensions of each request, or a `UnixPeer` on a Unix socket. It
    /// costs a few allocations a request, so it is off by default.
    pub fn with_peer_addr(mut self) -> Self {
        self.tell_peer = true;
        self
    }

    /// Where places are scarce, cuts what still goes on on a connection after this time: a request,
    /// a head, an answer that nobody takes. For a listener on which nothing takes long, and which
    /// has to answer whatever clients do.
    #[cfg(feature = "admin")]
    pub(crate) const fn with_turns_of(mut self, time: Duration) -> Self {
        self.turn = Some(time);
        self
    }

    /// Serves until `lifecycle` ends it, and reports what had to be cut.
    ///
    /// The lifecycle knows of it from the call on, not only once the future is polled.
    pub fn serve<S: HttpService>(
        self,
        service: S,
        lifecycle: &Lifecycle,
    ) -> impl Future<Output = Drained> + Send + use<S> {
        let listening = lifecycle.listener();
        let grace = Grace::Of(lifecycle.clone());
        let serving = self.serve_with(service, listening.stop(), grace);
        async move {
            let drained = serving.await;
            listening.finish(drained);
            drained
        }
    }

    /// Serves until `stop` ends it, independent of any lifecycle; for a listener that outlives the
    /// others.
    ///
    /// [`Step::Retire`](crate::lifecycle::Step::Retire) makes HTTP/1 answers say
    /// `Connection: close`, `Drain` closes the socket and gives idle HTTP/1 connections
    /// `idle_grace`, `CutStreams` drops streams, `Cut` all that is left.
    pub fn serve_until<S: HttpService>(
        self,
        service: S,
        stop: Stop,
        idle_grace: Duration,
    ) -> impl Future<Output = Drained> + Send + use<S> {
        self.serve_with(service, stop, Grace::Fixed(idle_grace))
    }

    fn serve_with<S: HttpService>(
        self,
        service: S,
        stop: Stop,
        idle_grace: Grace,
    ) -> impl Future<Output = Drained> + Send + use<S> {
        let Self { socket, .. } = self;
        #[cfg(feature = "tls")]
        let tls = self.tls;
        let listener = Arc::new(link::Listener {
            name: self.name,
            addr: self.addr,
            #[cfg(feature = "tls")]
            tls: tls.as_ref().map(|tls| Arc::clone(&tls.state)),
            limits: self.limits,
            registry: self.registry,
            tell_peer: self.tell_peer,
            mark: self.mark,
            turn: self.turn,
            connections: 0.into(),
            in_flight: 0.into(),
            accepted: 0.into(),
            accept_errors: 0.into(),
            service_errors: 0.into(),
            failing: false.into(),
            cut_connections: 0.into(),
            cut_requests: 0.into(),
            handed_over: 0.into(),
            cut_and_held: 0.into(),
        });
        // Not only once it is polled: who serves and then says that it is ready says both in order.
        listener.registry.register(&listener);
        let event = Event::new("listening", listener.name.clone(), "listening")
            .with("listener", listener.name.to_string())
            .with("addr", listener.addr.to_string());
        listener.registry.emit(event);
        async move {
            let (alive, all_gone) = tokio::sync::mpsc::channel(1);
            let acceptor = Acceptor {
                http: Http::new(&listener.limits.now()),
                config: listener.limits.config().reader(),
                listener: Arc::clone(&listener),
                service,
                stop: stop.clone(),
                idle_grace,
                alive,
            };
            let accepting = acceptor.accept(socket);
            #[cfg(feature = "tls")]
            match tls {
                Some(tls) => tokio::select! {
                    () = accepting => {}
                    never = tls.follow(Arc::clone(&listener)) => match never {},
                },
                None => accepting.await,
            }
            #[cfg(not(feature = "tls"))]
            accepting.await;
            accept::drain(&listener, &stop, all_gone).await
        }
    }
}
