//! A balancer that hides nothing: it asks `/readyz`, keeps connections, closes those that the
//! service closes, and never sends a request twice.
use crate::connection::{Answer, Connection, Failed};
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tonic::transport::{Channel, Endpoint};

/// How often each instance is asked whether it is ready, and how long it may take to say so.
const LOOK: Duration = Duration::from_millis(100);
const PATIENCE: Duration = Duration::from_secs(2);

pub(crate) struct Balancer {
    places: Vec<Mutex<Place>>,
    next: AtomicUsize,
    /// Changes whenever a place gets ready.
    ready: watch::Sender<()>,
}

/// Where an instance is, if there is one.
#[derive(Default)]
struct Place {
    addr: Option<SocketAddr>,
    ready: bool,
    idle: Vec<Connection>,
    /// Where calls of gRPC go.
    channel: Option<Channel>,
}

/// Why a request has no answer.
pub(crate) enum Unanswered {
    NobodyIsReady,
    /// No connection was to be had.
    Connect(io::Error),
    Failed(Failed),
}

impl Balancer {
    /// With so many places, all of them empty. It looks after them for as long as it is there.
    pub(crate) fn new(places: usize) -> Arc<Self> {
        let balancer = Arc::new(Self::with((0..places).map(|_| Place::default())));
        let looked_after = Arc::downgrade(&balancer);
        for place in 0..places {
            let looked_after = looked_after.clone();
            tokio::spawn(async move {
                let mut clock = interval(LOOK);
                clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
                while let Some(balancer) = looked_after.upgrade() {
                    balancer.look(place).await;
                    drop(balancer);
                    clock.tick().await;
                }
            });
        }
        balancer
    }

    /// A single port that is always there, whoever serves it.
    pub(crate) fn of_one(addr: SocketAddr) -> Arc<Self> {
        Arc::new(Self::with([Place { addr: Some(addr), ready: true, ..Place::default() }]))
    }

    fn with(places: impl IntoIterator<Item = Place>) -> Self {
        let places = places.into_iter().map(Mutex::new).collect();
        Self { places, next: AtomicUsize::new(0), ready: watch::Sender::new(()) }
    }

    fn place(&self, place: usize) -> MutexGuard<'_, Place> {
        self.places[place].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// There is a new instance. It gets nothing until it has said that it is ready.
    pub(crate) fn attach(&self, place: usize, addr: SocketAddr) {
        *self.place(place) = Place { addr: Some(addr), ..Place::default() };
    }

    /// Waits until an instance gets requests.
    pub(crate) async fn ready(&self, place: usize) {
        let mut changes = self.ready.subscribe();
        while !self.place(place).ready {
            changes.changed().await.expect("the sender is here");
        }
    }

    async fn look(&self, place: usize) {
        let Some(addr) = self.place(place).addr else { return };
        let asked = async { Connection::open(addr).await.ok()?.get("/readyz").await.ok() };
        let answer = timeout(PATIENCE, asked).await.unwrap_or_default();
        let ready = answer.is_some_and(|answer| answer.status == 200);
        let mut place = self.place(place);
        // Not if another one is there by now.
        if place.addr == Some(addr) && place.ready != ready {
            place.ready = ready;
            place.idle.clear();
            place.channel = None;
            self.ready.send_replace(());
        }
    }

    /// Sends a request to the next instance that is ready, once.
    pub(crate) async fn get(&self, path: &str) -> Result<Answer, Unanswered> {
        let (number, addr, idle) = self.pick().ok_or(Unanswered::NobodyIsReady)?;
        let mut connection = match idle {
            Some(idle) => idle,
            None => Connection::open(addr).await.map_err(Unanswered::Connect)?,
        };
        let answer = connection.get(path).await.map_err(Unanswered::Failed)?;
        let mut place = self.place(number);
        if !answer.closes && place.addr == Some(addr) && place.ready {
            place.idle.push(connection);
        }
        Ok(answer)
    }

    /// A channel to the next instance that is ready.
    pub(crate) fn channel(&self) -> Option<Channel> {
        let (number, addr, _) = self.pick()?;
        let mut place = self.place(number);
        // Another one may be there by now, or none that is ready: this call still goes to the first.
        let endpoint = Endpoint::from_shared(format!("http://{addr}")).expect("it is a URL");
        if place.addr != Some(addr) || !place.ready {
            return Some(endpoint.connect_lazy());
        }
        Some(place.channel.get_or_insert_with(|| endpoint.connect_lazy()).clone())
    }

    /// In turn, and with a connection that is still open if there is one.
    fn pick(&self) -> Option<(usize, SocketAddr, Option<Connection>)> {
        let first = self.next.fetch_add(1, Relaxed);
        let turns = (0..self.places.len()).map(|turn| (first + turn) % self.places.len());
        turns.into_iter().find_map(|number| {
            let mut place = self.place(number);
            let addr = place.addr.filter(|_| place.ready)?;
            let idle = std::iter::from_fn(|| place.idle.pop()).find(Connection::is_open);
            Some((number, addr, idle))
        })
    }
}
