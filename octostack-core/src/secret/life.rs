//! When a secret is renewed, replaced, or no longer valid. Pure: time and chance are arguments.
//!
//! A lease is renewed at about two thirds of its time, as Vault's own agents do, so that a third is
//! left for failures. A renewal that gives less than was asked for has met a limit: the next one
//! would give less still, so a new secret is fetched instead, while the old one is still valid.

use super::provider::{Lease, ProviderErrorKind};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::time::{Duration, Instant};

/// After the first failure.
const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// After many.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// The least time between two attempts, however little is left.
const SHORTEST_PAUSE: Duration = Duration::from_millis(100);

/// What becomes of a secret whose lease could not be renewed or replaced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnError {
    /// Nobody gets it any more, whatever the reason.
    Drop,
    /// It is used until its time is over.
    Retain,
    /// It is used until its time is over, unless the provider says that the lease is gone.
    #[default]
    RetainOnIoError,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Task {
    /// Make the lease last for this long.
    Renew(Duration),
    /// Fetch it again.
    Fetch,
}

/// The life of one fetched secret, and what has been tried for it since.
#[derive(Clone, Debug)]
pub(super) struct Life {
    /// What was granted at first, and is asked for again. Zero without a lease.
    asked: Duration,
    /// From when on nobody may use it. `None`: for ever.
    expires: Option<Instant>,
    /// What comes next. `None`: nothing.
    next: Option<(Instant, Task)>,
    /// Attempts in a row that failed.
    failures: u32,
    on_error: OnError,
    /// Nobody may use it, though its provider lets it go on for a while.
    given_up: bool,
}

impl Life {
    /// That of a secret that has just been fetched.
    pub(super) fn new(
        now: Instant,
        lease: Option<&Lease>,
        look_again: Option<Duration>,
        on_error: OnError,
        chance: f64,
    ) -> Self {
        let asked = lease.map_or(Duration::ZERO, |lease| lease.ttl);
        let mut life = Self {
            asked,
            expires: lease.and_then(|lease| now.checked_add(lease.ttl)),
            next: None,
            failures: 0,
            on_error,
            given_up: false,
        };
        life.next = match lease {
            Some(lease) => {
                let renewable = lease.renewable && lease.id.is_some();
                life.within(now, lease.ttl, renewable, chance)
            }
            None => look_again
                .and_then(|after| at(now, spread(after, chance).max(SHORTEST_PAUSE), Task::Fetch)),
        };
        life
    }

    /// What comes at about two thirds of `ttl`.
    fn within(
        &self,
        now: Instant,
        ttl: Duration,
        renewable: bool,
        chance: f64,
    ) -> Option<(Instant, Task)> {
        // A time for ever is no reason for work.
        self.expires?;
        let task = if renewable { Task::Renew(self.asked) } else { Task::Fetch };
        // What lasts for nothing is no reason to ask without a pause.
        at(now, spread(ttl.mul_f64(2.0 / 3.0), chance).max(SHORTEST_PAUSE), task)
    }

    /// What is to be done, and when.
    pub(super) const fn next(&self) -> Option<(Instant, Task)> {
        self.next
    }

    /// From when on nobody may use it.
    pub(super) const fn expires(&self) -> Option<Instant> {
        self.expires
    }

    /// Whether it is over for us before it is over at its provider, so that it is to be revoked.
    pub(super) const fn given_up(&self) -> bool {
        self.given_up
    }

    /// Attempts in a row that failed.
    pub(super) const fn failures(&self) -> u32 {
        self.failures
    }

    /// It lasts for `ttl` from now on.
    pub(super) fn renewed(&mut self, now: Instant, ttl: Duration, renewable: bool, chance: f64) {
        self.failures = 0;
        self.expires = now.checked_add(ttl);
        // What is lost to rounding on the way is no limit.
        let capped = ttl < self.asked.mul_f64(0.9);
        self.next = self.within(now, ttl, renewable && !capped, chance);
    }

    /// An attempt to renew it failed.
    pub(super) fn renewal_failed(
        &mut self,
        now: Instant,
        kind: ProviderErrorKind,
        retry_after: Option<Duration>,
        chance: f64,
    ) {
        self.failed(now, kind);
        let task = match kind {
            ProviderErrorKind::Unavailable => Task::Renew(self.asked),
            // It will not be renewed, so that another one is needed: at once, the first time.
            _ => Task::Fetch,
        };
        let pause = match task {
            Task::Fetch if self.failures == 1 => Duration::ZERO,
            _ => self.pause(now, retry_after, chance),
        };
        // After its time there is nothing to renew.
        let left = self.expires.is_some_and(|expires| now + pause < expires);
        self.next = at(now, pause, if left { task } else { Task::Fetch });
    }

    /// An attempt to fetch it again failed.
    pub(super) fn fetch_failed(
        &mut self,
        now: Instant,
        kind: ProviderErrorKind,
        retry_after: Option<Duration>,
        chance: f64,
    ) {
        // That there is nothing new says nothing about the one there is.
        let of_lease = match kind {
            ProviderErrorKind::Gone => ProviderErrorKind::Refused,
            kind => kind,
        };
        self.failed(now, of_lease);
        self.next = at(now, self.pause(now, retry_after, chance), Task::Fetch);
    }

    /// It is to be fetched now.
    pub(super) fn fetch_now(&mut self, now: Instant) {
        self.next = Some((now, Task::Fetch));
    }

    /// Nothing is done for it but to keep it alive: another one is in its place.
    pub(super) fn retire(&mut self) {
        self.next = self.next.filter(|(_, task)| matches!(task, Task::Renew(_)));
    }

    fn failed(&mut self, now: Instant, kind: ProviderErrorKind) {
        self.failures = self.failures.saturating_add(1);
        let drop = match self.on_error {
            OnError::Drop => true,
            OnError::RetainOnIoError => kind == ProviderErrorKind::Gone,
            OnError::Retain => false,
        };
        if drop {
            let over = self.expires.is_some_and(|expires| expires <= now);
            self.given_up |= !over && kind != ProviderErrorKind::Gone;
            self.expires = Some(self.expires.map_or(now, |expires| expires.min(now)));
        }
    }

    /// Doubled with each failure, and spread; several attempts fit into what is left.
    fn pause(&self, now: Instant, wanted: Option<Duration>, chance: f64) -> Duration {
        let doubled = doubled(self.failures);
        let left = self.expires.map(|expires| expires.saturating_duration_since(now));
        let most = left.filter(|left| !left.is_zero()).map_or(LONGEST_PAUSE, |left| left / 4);
        let most = most.min(LONGEST_PAUSE);
        let pause = shortened(doubled.min(most), chance);
        // Whoever asks to be left alone is, but not for ever and not to the end.
        pause.max(SHORTEST_PAUSE).max(wanted.unwrap_or_default().min(most))
    }
}

/// How long to wait after so many failures in a row.
#[cfg(feature = "config")]
pub(super) fn pause(failures: u32, chance: f64) -> Duration {
    shortened(doubled(failures), chance)
}

/// By up to a half, so that those who failed together do not come together.
fn shortened(pause: Duration, chance: f64) -> Duration {
    pause.mul_f64(0.5 + chance.clamp(0.0, 1.0) / 2.0)
}

fn doubled(failures: u32) -> Duration {
    let doublings = failures.saturating_sub(1).min(16);
    FIRST_PAUSE.saturating_mul(1 << doublings).min(LONGEST_PAUSE)
}

/// `task` after `pause`; never, if no clock counts that far.
fn at(now: Instant, pause: Duration, task: Task) -> Option<(Instant, Task)> {
    now.checked_add(pause).map(|at| (at, task))
}

/// `time`, give or take a tenth by `chance`: a fleet that started together does not ask together.
fn spread(time: Duration, chance: f64) -> Duration {
    const LONGEST: Duration = Duration::from_secs(30 * 24 * 60 * 60);
    time.min(LONGEST).mul_f64(0.9 + chance.clamp(0.0, 1.0) / 5.0)
}

#[cfg(test)]
#[path = "life_tests.rs"]
mod tests;
