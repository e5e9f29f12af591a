use super::connection::drive;
use super::front::Front;
use super::io::Watched;
use super::link::{Link, Listener, Slot};
use super::socket::{Io, PeerId, Socket, Stream};
use super::{HttpService, ServerConfig};
use crate::dynamic::{Reader, Versioned};
use crate::inspect::Event;
use crate::lifecycle::{Drained, Lifecycle, Step, Stop};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use std::convert::Infallible;
use std::io::{self, ErrorKind};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, mpsc};

/// How long connections get to notice that they are cut. They only have to be dropped; what is
/// still there then is an upgraded one, in hands other than ours.
const CUT_GRACE: Duration = Duration::from_millis(50);

/// A listener that accepts, and the service behind it.
pub(super) struct Acceptor<S> {
    pub(super) listener: Arc<Listener>,
    pub(super) service: S,
    pub(super) stop: Stop,
    pub(super) idle_grace: Grace,
    /// The limits for new connections.
    pub(super) config: Reader<ServerConfig>,
    pub(super) http: Http,
    /// Held by every connection; when the last one is gone, the receiver knows.
    pub(super) alive: mpsc::Sender<Infallible>,
}

/// How long an idle HTTP/1 connection lives on once the drain has begun.
#[derive(Clone, Debug)]
pub(super) enum Grace {
    Fixed(Duration),
    /// As that says by then.
    Of(Lifecycle),
}

impl Grace {
    fn now(&self) -> Duration {
        match self {
            Self::Fixed(grace) => *grace,
            Self::Of(lifecycle) => lifecycle.config().idle_grace,
        }
    }
}

/// hyper's part of the limits of one generation.
pub(super) struct Http {
    generation: u64,
    builder: auto::Builder<TokioExecutor>,
}

impl Http {
    pub(super) fn new(config: &Versioned<ServerConfig>) -> Self {
        Self { generation: config.generation, builder: http(config) }
    }
}

fn http(config: &ServerConfig) -> auto::Builder<TokioExecutor> {
    let mut http = auto::Builder::new(TokioExecutor::new());
    http.http1()
        .timer(TokioTimer::new())
        // Ours, in `activity`, also runs before the first byte, and not on idle connections.
        .header_read_timeout(None)
        .max_buf_size(usize::try_from(config.max_header_bytes).unwrap_or(usize::MAX));
    // hyper parses into an array on the stack as long as nobody asks for another number.
    if config.max_header_count != 100 {
        http.http1().max_headers(config.max_header_count);
    }
    http.http2()
        .timer(TokioTimer::new())
        .max_header_list_size(config.max_header_bytes)
        .max_concurrent_streams(config.max_concurrent_streams)
        .max_pending_accept_reset_streams(config.max_pending_reset_streams)
        .max_local_error_reset_streams(config.max_error_reset_streams);
    http
}

impl<S: HttpService> Acceptor<S> {
    /// Accepts until the drain begins, then empties the backlog and closes the socket.
    pub(super) async fn accept(mut self, socket: Socket) {
        let listener = Arc::clone(&self.listener);
        let mut told = pin!(self.stop.reached(Step::Drain));
        let mut pause = None;
        loop {
            let next = async {
                if let Some(pause) = pause {
                    tokio::time::sleep(pause).await;
                }
                let place = listener.limits.slots().take().await;
                (socket.accept().await, place)
            };
            let (accepted, place) = tokio::select! {
                biased;
                () = &mut told => break,
                next = next => next,
            };
            match accepted {
                Ok((stream, peer)) => {
                    pause = None;
                    self.listener.failing.store(false, Relaxed);
                    self.spawn(stream, peer, place);
                }
                Err(error) => pause = self.failed(&error, pause),
            }
        }
        #[cfg(target_os = "linux")]
        socket.turn_away().await;
        self.empty_backlog(socket).await;
    }

    /// The kernel has completed the handshake of what is in the backlog, and its request may be
    /// there too; closing the socket would reset it. So it is taken beyond the limit of
    /// connections: there are not many, and none follow. If files run out, there are more when
    /// those that are open have ended.
    async fn empty_backlog(&mut self, socket: Socket) {
        let Ok(backlog) = socket.into_backlog() else {
            return;
        };
        let mut pause = None;
        loop {
            let alone = self.listener.connections.load(Relaxed) == 0;
            match backlog.accept() {
                Ok((stream, peer)) => {
                    pause = None;
                    self.spawn(stream, peer, None);
                }
                Err(error) if is_about_one_connection(&error) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) => {
                    pause = self.failed(&error, pause);
                    let cut = self.stop.reached(Step::Cut);
                    if alone || tokio::time::timeout(pause.unwrap_or_default(), cut).await.is_ok() {
                        return;
                    }
                }
            }
        }
    }

    /// Counts a failure, and says how long to pause before the next attempt.
    fn failed(&self, error: &io::Error, last: Option<Duration>) -> Option<Duration> {
        if is_about_one_connection(error) {
            return None;
        }
        let listener = &self.listener;
        listener.accept_errors.fetch_add(1, Relaxed);
        if !listener.failing.swap(true, Relaxed) {
            let message = format!(
                "cannot accept connections: {error}; trying again. If files ran out, raise the \
                 limit of open files or lower server.max_connections"
            );
            let event = Event::new("accept_failing", listener.name.clone(), message);
            listener.registry.emit(event.with("error", error.to_string()));
        }
        Some(backoff(last))
    }

    fn spawn(&mut self, stream: Stream, peer: PeerId, place: Option<OwnedSemaphorePermit>) {
        let config = self.config.versioned();
        if config.generation != self.http.generation {
            self.http = Http::new(config);
        }
        let (listener, stop) = (Arc::clone(&self.listener), self.stop.clone());
        let link = Arc::new(Link::new(listener, Arc::clone(config), peer, stop));
        let slot = Slot::new(Arc::clone(&link), place, self.alive.clone());
        let front = Front {
            service: self.service.clone(),
            link: Arc::clone(&link),
            #[cfg(feature = "tls")]
            identity: None,
        };
        let io = Watched::new(stream, link, slot);
        let grace = self.idle_grace.clone();
        #[cfg(feature = "tls")]
        if let Some(tls) = &self.listener.tls {
            let tls = Arc::clone(tls);
            tokio::spawn(secured(tls, self.http.builder.clone(), io, front, grace));
            return;
        }
        tokio::spawn(serve(&self.http.builder, Io::Plain(io), front, grace));
    }
}

/// Serves one connection to its end.
fn serve<S: HttpService>(
    http: &auto::Builder<TokioExecutor>,
    io: Io,
    front: Front<S>,
    grace: Grace,
) -> impl Future<Output = ()> + Send + use<S> {
    let link = Arc::clone(&front.link);
    let connection = http.serve_connection_with_upgrades(TokioIo::new(io), front);
    let connection = Box::pin(connection.into_owned());
    async move {
        let mut connection = connection;
        let close = |connection: Pin<&mut _>| {
            auto::UpgradeableConnection::graceful_shutdown(connection);
        };
        drive(connection.as_mut(), close, &link, &link.stop, || grace.now()).await;
    }
}

/// The same after a handshake, which does not hold up those that come next.
#[cfg(feature = "tls")]
async fn secured<S: HttpService>(
    tls: Arc<super::tls::State>,
    http: auto::Builder<TokioExecutor>,
    io: Watched<Stream>,
    mut front: Front<S>,
    grace: Grace,
) {
    let shaking = super::tls::shake(&tls, io, &front.link, &front.link.stop, || grace.now());
    // The handshake is long, in memory too, and the connection lives on without it.
    let Some(shaken) = Box::pin(shaking).await else {
        return;
    };
    drop(tls);
    // HTTP/2 without ALPN is for connections that are not encrypted (RFC 9113, section 3.2).
    let http = if shaken.http2 { http.http2_only() } else { http.http1_only() };
    front.identity = shaken.identity;
    let io = Io::Tls(shaken.stream);
    serve(&http, io, front, grace).await;
}

/// Waits until all connections are gone, or cut.
pub(super) async fn drain(
    listener: &Listener,
    stop: &Stop,
    mut all_gone: mpsc::Receiver<Infallible>,
) -> Drained {
    let cut = tokio::select! {
        biased;
        _ = all_gone.recv() => false,
        () = stop.reached(Step::Cut) => true,
    };
    let (mut connections, mut requests) = (0, 0);
    if cut && tokio::time::timeout(CUT_GRACE, all_gone.recv()).await.is_err() {
        // In hands that do not notice, or on threads that are blocked.
        let held = listener.cut_and_held.load(Relaxed);
        connections = listener.connections.load(Relaxed).saturating_sub(held);
        let upgraded = listener.handed_over.load(Relaxed).saturating_sub(held);
        requests = listener.in_flight.load(Relaxed) + upgraded;
    }
    Drained {
        cut_connections: listener.cut_connections.load(Relaxed) + connections,
        cut_requests: listener.cut_requests.load(Relaxed) + requests,
    }
}

/// Whether the error says something about one peer and nothing about this process.
fn is_about_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::ConnectionAborted
            | ErrorKind::ConnectionReset
            | ErrorKind::ConnectionRefused
            | ErrorKind::Interrupted
    )
}

/// Out of files, most often: a connection has to end before trying again helps.
fn backoff(last: Option<Duration>) -> Duration {
    const FIRST: Duration = Duration::from_millis(10);
    const LONGEST: Duration = Duration::from_secs(1);
    last.map_or(FIRST, |last| (last * 2).min(LONGEST))
}

#[cfg(test)]
mod tests {
    use super::{backoff, is_about_one_connection};
    use std::io::{Error, ErrorKind};
    use std::time::Duration;

    #[test]
    fn backs_off_up_to_a_second() {
        let mut pause = None;
        let mut millis = Vec::new();
        for _ in 0..9 {
            pause = Some(backoff(pause));
            millis.push(pause.as_ref().map_or(0, Duration::as_millis));
        }
        assert_eq!(millis, [10, 20, 40, 80, 160, 320, 640, 1000, 1000]);
    }

    #[test]
    fn only_errors_of_this_process_slow_it_down() {
        assert!(is_about_one_connection(&ErrorKind::ConnectionAborted.into()));
        let out_of_files = Error::from_raw_os_error(24);
        assert!(!is_about_one_connection(&out_of_files));
    }
}
