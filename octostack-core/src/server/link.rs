use super::activity::{Activity, Protocol};
use super::limits::Limits;
use super::socket::PeerId;
#[cfg(feature = "tls")]
use super::tls;
use super::{Address, Mark, ServerConfig};
use crate::SystemClock;
use crate::clock::Clock;
use crate::dynamic::Versioned;
use crate::inspect::{Inspect, Metric, Registry, Sink, Value};
use crate::lifecycle::Stop;
use crate::requests::WithConnection;
use crate::sync::lock;
use std::borrow::Cow;
use std::convert::Infallible;
use std::ops::Deref;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, mpsc};

/// What all connections of a listener share: limits and counts.
#[derive(Debug)]
pub(super) struct Listener {
    pub(super) name: Cow<'static, str>,
    pub(super) addr: Address,
    #[cfg(feature = "tls")]
    pub(super) tls: Option<Arc<tls::State>>,
    pub(super) limits: Limits,
    pub(super) registry: Registry,
    pub(super) tell_peer: bool,
    pub(super) mark: Option<Mark>,
    /// How long a connection may go on in a crowd, if that is bounded.
    pub(super) turn: Option<Duration>,
    pub(super) connections: AtomicUsize,
    pub(super) in_flight: Apart,
    pub(super) accepted: AtomicU64,
    pub(super) accept_errors: AtomicU64,
    /// Requests whose service gave an error instead of a response.
    pub(super) service_errors: AtomicU64,
    /// Whether the last attempt to accept failed.
    pub(super) failing: AtomicBool,
    pub(super) cut_connections: AtomicUsize,
    pub(super) cut_requests: AtomicUsize,
    /// Connections in hands other than ours, such as that of a WebSocket.
    pub(super) handed_over: AtomicUsize,
    /// Those of them that were cut, and still are in those hands.
    pub(super) cut_and_held: AtomicUsize,
}

/// A count on cache lines of its own: each request writes to it and reads what is beside it, in all
/// threads at once. Lines are fetched in pairs, of 64 bytes on x86.
#[derive(Debug)]
#[repr(align(128))]
pub(super) struct Apart(AtomicUsize);

impl From<usize> for Apart {
    fn from(count: usize) -> Self {
        Self(count.into())
    }
}

impl Deref for Apart {
    type Target = AtomicUsize;

    fn deref(&self) -> &AtomicUsize {
        &self.0
    }
}

impl Listener {
    /// Whether connections that need not stay are to end, so that others find a place.
    pub(super) fn is_crowded(&self) -> bool {
        self.limits.slots().are_crowded()
    }
}

static CONNECTIONS: Metric =
    Metric::gauge("octostack_server_connections", "Open connections of a listener.");

static ACCEPT_ERRORS: Metric = Metric::counter(
    "octostack_server_accept_errors_total",
    "Failed attempts of a listener to accept a connection.",
);

impl Inspect for Listener {
    fn name(&self) -> &str {
        &self.name
    }

    fn kind(&self) -> &'static str {
        "listener"
    }

    fn status(&self) -> Value {
        let status = [
            ("addr", self.addr.to_string().into()),
            ("connections", self.connections.load(Relaxed).into()),
            ("max_connections", self.limits.now().max_connections.into()),
            ("upgraded", self.handed_over.load(Relaxed).into()),
            ("requests_in_flight", self.in_flight.load(Relaxed).into()),
            ("accepted", self.accepted.load(Relaxed).into()),
            ("accept_errors", self.accept_errors.load(Relaxed).into()),
            ("service_errors", Value::from(self.service_errors.load(Relaxed))),
        ];
        #[cfg(feature = "tls")]
        let status = status.into_iter().chain(self.tls.iter().map(|tls| ("tls", tls.status())));
        Value::map(status)
    }

    fn collect(&self, sink: &mut dyn Sink) {
        let labels = [("listener", &*self.name)];
        sink.sample(&CONNECTIONS, &labels, self.connections.load(Relaxed) as f64);
        sink.sample(&ACCEPT_ERRORS, &labels, self.accept_errors.load(Relaxed) as f64);
        #[cfg(feature = "tls")]
        if let Some(tls) = &self.tls {
            tls.collect(&labels, sink);
        }
    }

    fn abnormal(&self) -> Option<String> {
        let max = self.limits.now().max_connections;
        let connections = self.connections.load(Relaxed);
        if self.failing.load(Relaxed) {
            Some("cannot accept connections".into())
        } else if connections >= max {
            Some(format!("at its limit of {max} connections; more wait"))
        } else if self.is_crowded() {
            Some(format!("{connections} of {max} connections; each ends with its next answer"))
        } else {
            #[cfg(feature = "tls")]
            return self.tls.as_ref().and_then(|tls| tls.abnormal(std::time::SystemTime::now()));
            #[cfg(not(feature = "tls"))]
            None
        }
    }
}

/// A connection's place among those of its listener, until the socket is closed.
#[derive(Debug)]
pub(super) struct Slot {
    link: Arc<Link>,
    place: Option<OwnedSemaphorePermit>,
    /// The listener waits until all of these are gone.
    _alive: mpsc::Sender<Infallible>,
}

impl Slot {
    pub(super) fn new(
        link: Arc<Link>,
        place: Option<OwnedSemaphorePermit>,
        alive: mpsc::Sender<Infallible>,
    ) -> Self {
        link.listener.connections.fetch_add(1, Relaxed);
        link.listener.limits.slots().come();
        link.listener.accepted.fetch_add(1, Relaxed);
        Self { link, place, _alive: alive }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.link.closed();
        let listener = &self.link.listener;
        listener.connections.fetch_sub(1, Relaxed);
        listener.limits.slots().gone();
        if let Some(place) = self.place.take() {
            listener.limits.slots().leave(place);
        }
    }
}

/// What the parts of one connection tell each other: its socket, its task, its requests.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) listener: Arc<Listener>,
    /// The limits of the time when it was accepted.
    pub(super) config: Arc<Versioned<ServerConfig>>,
    pub(super) peer: PeerId,
    /// Here for its requests, so that none of them counts a reference that all connections share.
    pub(super) stop: Stop,
    /// Whether another protocol than HTTP is spoken on it from now on.
    handed_over: AtomicBool,
    /// Whether it is counted as cut.
    counted: AtomicBool,
    /// What lives as long as the socket.
    kept: Mutex<Option<WithConnection>>,
    /// A mutex, since several fields change together. Only the requests of an HTTP/2 connection
    /// can meet here; it costs a request on HTTP/1 less than 100 ns of the 10 us that hyper and
    /// the system take.
    activity: Mutex<Activity>,
}

impl Link {
    pub(super) fn new(
        listener: Arc<Listener>,
        config: Arc<Versioned<ServerConfig>>,
        peer: PeerId,
        stop: Stop,
    ) -> Self {
        Self {
            listener,
            config,
            peer,
            stop,
            handed_over: AtomicBool::new(false),
            counted: AtomicBool::new(false),
            kept: Mutex::default(),
            activity: Mutex::new(Activity::new(SystemClock.now())),
        }
    }

    pub(super) fn ask<T>(&self, question: impl FnOnce(&Activity) -> T) -> T {
        question(&lock(&self.activity))
    }

    pub(super) fn read(&self, bytes: &[u8]) {
        lock(&self.activity).read(bytes, &SystemClock);
    }

    #[cfg(feature = "tls")]
    pub(super) fn decrypted(&self, bytes: &[u8]) {
        lock(&self.activity).decrypted(bytes);
    }

    pub(super) fn found_nothing(&self) {
        lock(&self.activity).found_nothing();
    }

    pub(super) fn wrote(&self, ready: bool) {
        let mut activity = lock(&self.activity);
        if ready {
            activity.wrote();
        } else {
            activity.blocked(&SystemClock);
        }
    }

    #[cfg(feature = "tls")]
    pub(super) fn handshake_begins(&self) {
        lock(&self.activity).handshake_begins();
    }

    #[cfg(feature = "tls")]
    pub(super) fn handshake_ended(&self, agreed: Protocol) {
        lock(&self.activity).handshake_ended(agreed, &SystemClock);
    }

    #[cfg(feature = "tls")]
    pub(super) fn heard_nothing(&self) -> bool {
        self.ask(Activity::has_heard_nothing)
    }

    pub(super) fn lingers(&self, lingers: bool) {
        lock(&self.activity).lingering(lingers);
    }

    pub(super) fn left_body_unread(&self) {
        lock(&self.activity).left_body_unread();
    }

    /// Whether the peer may be sending something that nobody reads any more: the rest of a body, or
    /// frames about what we have sent.
    pub(super) fn has_more_to_say(&self) -> bool {
        self.ask(|a| a.unread_body() || a.protocol() == Protocol::Http2)
    }

    pub(super) fn stream_started(&self) {
        lock(&self.activity).stream_started();
    }

    pub(super) fn stream_ended(&self) {
        lock(&self.activity).stream_ended();
    }

    /// Counts the connection as cut, if something was going on on it.
    pub(super) fn cut(&self) {
        let (quiet, requests) = self.ask(|a| (a.is_quiet(), a.in_flight()));
        if !quiet {
            self.count_cut(true, requests);
        }
    }

    fn count_cut(&self, connection: bool, requests: usize) {
        if connection && !self.counted.swap(true, Relaxed) {
            self.listener.cut_connections.fetch_add(1, Relaxed);
        }
        self.listener.cut_requests.fetch_add(requests, Relaxed);
    }

    /// Counts a response as cut that would have gone on. On HTTP/1 the connection ends with it.
    pub(super) fn cut_stream(&self) {
        let alone = self.ask(|activity| activity.protocol() != Protocol::Http2);
        self.count_cut(alone, 1);
    }

    /// The connection goes over to another protocol, and `kept` lives as long as its socket.
    pub(super) fn hand_over(&self, kept: Option<WithConnection>) {
        *lock(&self.kept) = kept;
        if !self.handed_over.swap(true, Relaxed) {
            self.listener.handed_over.fetch_add(1, Relaxed);
        }
    }

    /// Whether it has gone over to another protocol.
    pub(super) fn is_handed_over(&self) -> bool {
        self.handed_over.load(Relaxed)
    }

    /// Counts a connection as cut that has gone over to another protocol.
    pub(super) fn cut_handed_over(&self) {
        if !self.counted.load(Relaxed) {
            self.listener.cut_and_held.fetch_add(1, Relaxed);
            self.count_cut(true, 1);
        }
    }

    /// The socket is closed.
    fn closed(&self) {
        drop(lock(&self.kept).take());
        if self.is_handed_over() {
            self.listener.handed_over.fetch_sub(1, Relaxed);
            if self.counted.load(Relaxed) {
                self.listener.cut_and_held.fetch_sub(1, Relaxed);
            }
        }
    }

    /// The peer has taken some of what waits.
    pub(super) fn answer_moves(&self) {
        lock(&self.activity).answer_moves(&SystemClock);
    }

    pub(super) fn begin(self: &Arc<Self>) -> InFlight {
        lock(&self.activity).request_started();
        self.listener.in_flight.fetch_add(1, Relaxed);
        InFlight { link: Arc::clone(self), waits: false }
    }
}

/// A request, from the call of the service to the end of the response body.
#[derive(Debug)]
pub(super) struct InFlight {
    link: Arc<Link>,
    /// Whether a part of its answer is there, and more is only asked for when the peer has taken it.
    waits: bool,
}

impl InFlight {
    pub(super) fn link(&self) -> Arc<Link> {
        Arc::clone(&self.link)
    }

    pub(super) fn shared(&self) -> &Link {
        &self.link
    }

    /// A part of the answer is there, and waits until the peer has room for it.
    pub(super) fn wait_for_room(&mut self) {
        self.waits = true;
        lock(&self.link.activity).answer_waits(&SystemClock);
    }

    /// The next part is asked for.
    pub(super) fn has_room(&mut self) {
        if std::mem::take(&mut self.waits) {
            lock(&self.link.activity).answer_goes_on();
        }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        lock(&self.link.activity).request_ended(self.waits, &SystemClock);
        self.link.listener.in_flight.fetch_sub(1, Relaxed);
    }
}
