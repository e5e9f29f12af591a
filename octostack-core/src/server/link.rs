use super::activity::{Activity, Protocol};
use super::limits::Limits;
use super::{Mark, ServerConfig};
use crate::SystemClock;
use crate::clock::Clock;
use crate::dynamic::Versioned;
use crate::inspect::{Inspect, Metric, Registry, Sink, Value};
use crate::sync::lock;
use std::borrow::Cow;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use tokio::sync::{OwnedSemaphorePermit, mpsc};

/// What all connections of a listener share: limits and counts.
#[derive(Debug)]
pub(super) struct Listener {
    pub(super) name: Cow<'static, str>,
    pub(super) addr: SocketAddr,
    pub(super) limits: Limits,
    pub(super) registry: Registry,
    pub(super) tell_peer: bool,
    pub(super) mark: Option<Mark>,
    pub(super) connections: AtomicUsize,
    pub(super) in_flight: AtomicUsize,
    pub(super) accepted: AtomicU64,
    pub(super) accept_errors: AtomicU64,
    /// Requests whose service gave an error instead of a response.
    pub(super) service_errors: AtomicU64,
    /// Whether the last attempt to accept failed.
    pub(super) failing: AtomicBool,
    pub(super) cut_connections: AtomicUsize,
    pub(super) cut_requests: AtomicUsize,
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
        Value::map([
            ("addr", self.addr.to_string().into()),
            ("connections", self.connections.load(Relaxed).into()),
            ("max_connections", self.limits.now().max_connections.into()),
            ("requests_in_flight", self.in_flight.load(Relaxed).into()),
            ("accepted", self.accepted.load(Relaxed).into()),
            ("accept_errors", self.accept_errors.load(Relaxed).into()),
            ("service_errors", Value::from(self.service_errors.load(Relaxed))),
        ])
    }

    fn collect(&self, sink: &mut dyn Sink) {
        let labels = [("listener", &*self.name)];
        sink.sample(&CONNECTIONS, &labels, self.connections.load(Relaxed) as f64);
        sink.sample(&ACCEPT_ERRORS, &labels, self.accept_errors.load(Relaxed) as f64);
    }

    fn abnormal(&self) -> Option<String> {
        let max = self.limits.now().max_connections;
        if self.failing.load(Relaxed) {
            Some("cannot accept connections".into())
        } else if self.connections.load(Relaxed) >= max {
            Some(format!("at its limit of {max} connections; more wait"))
        } else {
            None
        }
    }
}

/// A connection's place among those of its listener, until the socket is closed.
#[derive(Debug)]
pub(super) struct Slot {
    listener: Arc<Listener>,
    place: Option<OwnedSemaphorePermit>,
    /// The listener waits until all of these are gone.
    _alive: mpsc::Sender<Infallible>,
}

impl Slot {
    pub(super) fn new(
        listener: Arc<Listener>,
        place: Option<OwnedSemaphorePermit>,
        alive: mpsc::Sender<Infallible>,
    ) -> Self {
        listener.connections.fetch_add(1, Relaxed);
        listener.accepted.fetch_add(1, Relaxed);
        Self { listener, place, _alive: alive }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.listener.connections.fetch_sub(1, Relaxed);
        if let Some(place) = self.place.take() {
            self.listener.limits.slots().leave(place);
        }
    }
}

/// What the parts of one connection tell each other: its socket, its task, its requests.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) listener: Arc<Listener>,
    /// The limits of the time when it was accepted.
    pub(super) config: Arc<Versioned<ServerConfig>>,
    pub(super) peer: SocketAddr,
    /// A mutex, since several fields change together. Only the requests of an HTTP/2 connection
    /// can meet here; it costs a request on HTTP/1 less than 100 ns of the 10 us that hyper and
    /// the system take.
    activity: Mutex<Activity>,
}

impl Link {
    pub(super) fn new(
        listener: Arc<Listener>,
        config: Arc<Versioned<ServerConfig>>,
        peer: SocketAddr,
    ) -> Self {
        Self { listener, config, peer, activity: Mutex::new(Activity::new(SystemClock.now())) }
    }

    pub(super) fn ask<T>(&self, question: impl FnOnce(&Activity) -> T) -> T {
        question(&lock(&self.activity))
    }

    pub(super) fn read(&self, bytes: &[u8]) {
        lock(&self.activity).read(bytes, &SystemClock);
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

    /// Counts the connection as cut, if something was going on on it.
    pub(super) fn cut(&self) {
        let (quiet, requests) = self.ask(|a| (a.is_quiet(), a.in_flight()));
        if !quiet {
            self.listener.cut_connections.fetch_add(1, Relaxed);
            self.listener.cut_requests.fetch_add(requests, Relaxed);
        }
    }

    pub(super) fn begin(self: &Arc<Self>) -> InFlight {
        lock(&self.activity).request_started();
        self.listener.in_flight.fetch_add(1, Relaxed);
        InFlight(Arc::clone(self))
    }
}

/// A request, from the call of the service to the end of the response body.
#[derive(Debug)]
pub(super) struct InFlight(Arc<Link>);

impl InFlight {
    pub(super) fn link(&self) -> Arc<Link> {
        Arc::clone(&self.0)
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        lock(&self.0.activity).request_ended(&SystemClock);
        self.0.listener.in_flight.fetch_sub(1, Relaxed);
    }
}
