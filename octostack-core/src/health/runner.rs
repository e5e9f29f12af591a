//! What is behind a [`Health`](super::Health): the sum of the checks, and the loop of each.
use super::check::Check;
use super::pulse::Pulse;
use super::standing::Standing;
use super::state::Change;
use crate::inspect::{Event, Registry};
use crate::sync::lock;
use crate::{Clock, SystemClock};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// What the clones of a [`Health`](super::Health) share.
pub(super) struct Shared {
    pub(super) registry: Registry,
    /// What `fresh_until` counts from.
    origin: Instant,
    pub(super) checks: Mutex<Vec<Arc<Check>>>,
    /// Names of checks by the name of their group.
    pub(super) groups: Mutex<BTreeMap<String, Vec<String>>>,
    standing: AtomicU8,
    /// Milliseconds after `origin` at which the first result gets stale; until then `standing` is
    /// true without a look at the checks.
    fresh_until: AtomicU64,
    pub(super) changed: Notify,
    pub(super) added: Notify,
    pub(super) running: tokio::sync::Mutex<()>,
    pub(super) pulse: Pulse,
}

impl Shared {
    pub(super) fn new(registry: &Registry) -> Self {
        Self {
            registry: registry.clone(),
            origin: SystemClock.now(),
            checks: Mutex::default(),
            groups: Mutex::default(),
            standing: AtomicU8::new(Standing::Good as u8),
            fresh_until: AtomicU64::new(u64::MAX),
            changed: Notify::new(),
            added: Notify::new(),
            running: tokio::sync::Mutex::default(),
            pulse: Pulse::default(),
        }
    }

    pub(super) fn standing(&self, now: Instant) -> Standing {
        if self.millis(now) < self.fresh_until.load(Ordering::Acquire) {
            Standing::from_u8(self.standing.load(Ordering::Acquire))
        } else {
            self.settle(now)
        }
    }

    /// Sums the checks up, after those that got stale have been failed.
    pub(super) fn settle(&self, now: Instant) -> Standing {
        let mut changes = Vec::new();
        let mut standing = Standing::Good;
        let mut fresh_until = u64::MAX;
        // Held to the end: an older sum must not overwrite a newer one.
        let checks = lock(&self.checks);
        for check in checks.iter() {
            let mut state = lock(&check.state);
            let change = state.age(&check.schedule, now);
            changes.extend(change.map(|change| (check.clone(), change)));
            standing = standing.max(Standing::of(check.kind, state.status));
            let until = state.fresh_until(&check.schedule);
            // One more, since `millis` rounds down: when it is reached, the result is stale indeed.
            let until = until.map_or(u64::MAX, |at| self.millis(at).saturating_add(1));
            fresh_until = fresh_until.min(until);
        }
        self.standing.store(standing as u8, Ordering::Release);
        self.fresh_until.store(fresh_until, Ordering::Release);
        drop(checks);
        self.announce(changes);
        standing
    }

    /// Waits until a result has got stale, and draws the consequences.
    pub(super) async fn stale(&self) {
        loop {
            let until = self.fresh_until.load(Ordering::Acquire);
            let left = until.saturating_sub(self.millis(SystemClock.now()));
            if left == 0 {
                self.settle(SystemClock.now());
                return;
            }
            // Looks again now and then, since results move the moment.
            let nap = Duration::from_millis(left).min(Duration::from_secs(5));
            tokio::time::sleep(nap).await;
        }
    }

    fn announce(&self, changes: impl IntoIterator<Item = (Arc<Check>, Change)>) {
        for (check, Change { from, to }) in changes {
            let reason = lock(&check.state).reason.clone();
            let message = match &reason {
                Some(reason) => format!("{}: {reason}", to.as_str()),
                None => to.as_str().to_owned(),
            };
            let event = Event::new("health_check", check.name.as_str(), message)
                .with("check_kind", check.kind.as_str())
                .with("from", from.as_str())
                .with("to", to.as_str())
                .with("reason", reason);
            self.registry.emit(event);
            self.changed.notify_waiters();
        }
    }

    fn millis(&self, at: Instant) -> u64 {
        let since = at.saturating_duration_since(self.origin).as_millis();
        u64::try_from(since).unwrap_or(u64::MAX)
    }
}

/// Runs one check, again and again.
pub(super) async fn repeat(shared: Arc<Shared>, check: Arc<Check>) {
    loop {
        let result = check.attempt().await;
        let now = SystemClock.now();
        let change = lock(&check.state).record(result, &check.schedule, now);
        shared.settle(now);
        shared.announce(change.map(|change| (check.clone(), change)));
        tokio::time::sleep(check.schedule.pause(fastrand::f64())).await;
    }
}
