//! The one place where a secret is kept fresh, and what those who use it see of that.

use super::driver::until;
use super::error::SecretError;
use super::version::{Known, Version};
use super::{Core, SecretRef};
use crate::secret::life::{Life, OnError, Task};
use crate::secret::provider::{LeaseId, ProviderError, ProviderErrorKind};
use crate::sync::lock;
use crate::{Clock, SystemClock};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};
use std::time::{Instant, SystemTime};
use tokio::sync::{Notify, oneshot, watch};

/// What each handle holds; the secret is given up when the last one has gone.
pub(super) struct Alive {
    pub(super) cell: Arc<Cell>,
    _used: oneshot::Sender<()>,
}

impl Alive {
    pub(super) fn new(cell: Cell) -> (Arc<Self>, oneshot::Receiver<()>) {
        let (used, ended) = oneshot::channel();
        (Arc::new(Self { cell: Arc::new(cell), _used: used }), ended)
    }
}

/// A secret, and what has become of it so far.
pub(super) struct Cell {
    pub(super) source: SecretRef,
    state: Mutex<State>,
    /// Number of the newest version; by the channel for who waits, by the other for who looks.
    numbers: watch::Sender<u64>,
    pub(super) newest: Arc<AtomicU64>,
    /// How many attempts to fetch it have ended, and how the last one did.
    attempts: watch::Sender<Attempts>,
    /// Calls who fetches it.
    called: Notify,
}

type Attempts = (u64, Option<ProviderError>);

/// Held for a moment each time, never while a provider works.
pub(super) struct State {
    pub(super) held: Option<Held>,
    pub(super) life: Life,
    /// When it was last fetched or renewed.
    pub(super) refreshed_at: Option<SystemTime>,
    pub(super) failing: Option<Failing>,
    pub(super) counts: BTreeMap<&'static str, u64>,
    pub(super) consumers: BTreeSet<Arc<str>>,
    /// Old versions that somebody holds still.
    pub(super) retired: usize,
    /// The last version has ended without another one in its place.
    pub(super) expired: bool,
    /// Somebody wants it fetched now.
    wanted: bool,
}

/// The current version, and by what it is looked after.
pub(super) struct Held {
    pub(super) version: Arc<Version>,
    pub(super) known: Known,
    pub(super) lease: Option<LeaseId>,
    pub(super) dropped: oneshot::Receiver<()>,
}

pub(super) struct Failing {
    pub(super) since: SystemTime,
    pub(super) error: ProviderError,
}

impl Cell {
    pub(super) fn new(source: SecretRef, now: Instant) -> Self {
        let mut life = Life::new(now, None, None, OnError::Retain, 0.0);
        life.fetch_now(now);
        let state = State {
            held: None,
            life,
            refreshed_at: None,
            failing: None,
            counts: BTreeMap::new(),
            consumers: BTreeSet::new(),
            retired: 0,
            expired: false,
            wanted: false,
        };
        Self {
            source,
            state: Mutex::new(state),
            numbers: watch::Sender::new(0),
            newest: Arc::default(),
            attempts: watch::Sender::new((0, None)),
            called: Notify::new(),
        }
    }

    pub(super) fn with<T>(&self, look: impl FnOnce(&mut State) -> T) -> T {
        look(&mut lock(&self.state))
    }

    /// The version of now, valid or not.
    pub(super) fn current(&self) -> Option<Arc<Version>> {
        self.with(|state| state.held.as_ref().map(|held| held.version.clone()))
    }

    /// Whether the version of now is of this lease.
    pub(super) fn is_of(&self, lease: &LeaseId) -> bool {
        self.with(|state| {
            state.held.as_ref().is_some_and(|held| held.lease.as_ref() == Some(lease))
        })
    }

    pub(super) fn numbers(&self) -> watch::Receiver<u64> {
        self.numbers.subscribe()
    }

    pub(super) fn number(&self) -> u64 {
        *self.numbers.borrow()
    }

    /// Tells that there is a version of this number.
    pub(super) fn publish(&self, number: u64) {
        self.newest.store(number, std::sync::atomic::Ordering::Release);
        self.numbers.send_replace(number);
    }

    pub(super) fn used_by(&self, consumer: &Arc<str>) {
        self.with(|state| state.consumers.insert(consumer.clone()));
    }

    /// What is to be done next, and when.
    pub(super) fn next(&self) -> Option<(Instant, Task)> {
        self.with(|state| state.life.next())
    }

    /// An attempt to fetch it has ended. It is the answer for all who have asked until now.
    pub(super) fn attempted(&self, error: Option<ProviderError>) {
        self.with(|state| {
            state.wanted = false;
            self.attempts.send_modify(|(count, last)| {
                *count += 1;
                *last = error;
            });
        });
    }

    /// Wants it fetched, and gives what tells of the end of that, unless there is a newer version
    /// than the one of this number by now. In one step, so that no answer comes in between.
    fn want(&self, known: Option<u64>) -> Option<watch::Receiver<Attempts>> {
        let attempts = self.with(|state| {
            if known.is_some_and(|known| known != self.number()) {
                return None;
            }
            state.wanted = true;
            Some(self.attempts.subscribe())
        })?;
        self.called.notify_one();
        Some(attempts)
    }

    /// Waits until somebody wants it fetched.
    pub(super) async fn wanted(&self) {
        while !self.with(|state| state.wanted) {
            self.called.notified().await;
        }
    }

    /// Waits for the first version, for as long as it may come within the start timeout.
    pub(super) async fn first(&self, core: &Core) -> Result<(), SecretError> {
        let limit = core.start_timeout;
        let mut attempts = self.attempts.subscribe();
        let there = || self.number() > 0;
        if there() {
            return Ok(());
        }
        // Somebody was here before, and it failed: it may be well by now.
        if attempts.borrow_and_update().0 > 0 {
            let Some(again) = self.want(Some(0)) else { return Ok(()) };
            attempts = again;
        }
        let deadline = SystemClock.now().checked_add(limit);
        loop {
            let in_time = tokio::select! {
                biased;
                changed = attempts.changed() => changed.is_ok(),
                () = core.closed() => return Err(SecretError::closed(&self.source)),
                () = until(deadline) => false,
            };
            if there() {
                return Ok(());
            }
            let error = attempts.borrow().1.clone().unwrap_or_else(|| {
                let limit = crate::duration::format(limit);
                ProviderError::unavailable(format!("no answer within {limit}"))
            });
            if !in_time || error.kind() != ProviderErrorKind::Unavailable {
                return Err(SecretError::of(&self.source, &error));
            }
        }
    }

    /// Has it fetched, and waits for what comes of it; unless there is a newer version than the one
    /// of the number `known`.
    pub(super) async fn refresh(&self, core: &Core, known: Option<u64>) -> Result<(), SecretError> {
        let Some(mut attempts) = self.want(known) else { return Ok(()) };
        tokio::select! {
            changed = attempts.changed() => {
                let error = attempts.borrow().1.clone();
                match error.filter(|_| changed.is_ok()) {
                    Some(error) => Err(SecretError::of(&self.source, &error)),
                    None => Ok(()),
                }
            }
            () = core.closed() => Err(SecretError::closed(&self.source)),
        }
    }

    /// Why there is no version that may be used.
    pub(super) fn why_expired(&self) -> String {
        let error =
            self.with(|state| state.failing.as_ref().map(|it| it.error.message().to_owned()));
        match error {
            Some(error) => format!("its time is over, and it cannot be replaced: {error}"),
            None => "its time is over, and it is being replaced".to_owned(),
        }
    }
}

impl State {
    pub(super) fn count(&mut self, result: &'static str) {
        *self.counts.entry(result).or_default() += 1;
    }

    /// Notes a failure. Whether it is the first in a row.
    pub(super) fn fail(&mut self, error: &ProviderError) -> bool {
        self.count("failed");
        let first = self.failing.is_none();
        let since = self.failing.as_ref().map_or_else(SystemTime::now, |failing| failing.since);
        self.failing = Some(Failing { since, error: error.clone() });
        first
    }

    /// Notes a success. Whether something had failed before.
    pub(super) fn succeed(&mut self, result: &'static str) -> bool {
        self.count(result);
        self.refreshed_at = Some(SystemTime::now());
        self.failing.take().is_some()
    }

    /// What is known of how long it lasts, said to those who hold the version too.
    pub(super) fn settle(&self) {
        if let Some(held) = &self.held {
            *lock(&held.known.expires) = self.life.expires();
        }
    }
}
