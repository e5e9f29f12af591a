//! The task that leads the life of one secret.

use super::cell::{Cell, Held};
use super::notes::Note;
use super::version::Version;
use super::{Core, retire};
use crate::secret::life::{Life, Task};
use crate::secret::provider::{Answer, Fetched, ProviderError, SecretProvider};
use crate::{Clock, SystemClock};
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Poll;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;
use tokio::task::JoinSet;

/// The least time between two fetches of one secret that somebody asks for.
const REST: Duration = Duration::from_secs(1);

/// What is due.
enum Due {
    Task(Task),
    /// The time of the current version is over.
    Expired,
}

/// Keeps the secret of `cell` fresh until nobody uses it or the service ends; then gives it up.
pub(super) async fn drive(
    core: Arc<Core>,
    cell: Arc<Cell>,
    provider: Arc<dyn SecretProvider>,
    mut ended: oneshot::Receiver<()>,
) {
    let mut driver = Driver { core, cell, provider, retired: JoinSet::new(), last_fetch: None };
    let core = driver.core.clone();
    let mut closed = pin!(core.closed());
    loop {
        let due = tokio::select! {
            biased;
            () = &mut closed => break,
            _ = &mut ended => break,
            due = driver.due() => due,
        };
        // Not cut: what was granted meanwhile would be known to nobody.
        match due {
            Due::Task(Task::Fetch) => driver.fetch().await,
            Due::Task(Task::Renew(increment)) => driver.renew(increment).await,
            Due::Expired => driver.expire(),
        }
    }
    driver.give_up();
    while driver.retired.join_next().await.is_some() {}
}

struct Driver {
    core: Arc<Core>,
    cell: Arc<Cell>,
    provider: Arc<dyn SecretProvider>,
    /// Old versions, until nobody holds them.
    retired: JoinSet<()>,
    last_fetch: Option<Instant>,
}

impl Driver {
    /// Waits until something is to be done.
    async fn due(&mut self) -> Due {
        while self.retired.try_join_next().is_some() {}
        let next = self.cell.next();
        let expires = self
            .cell
            .with(|state| state.life.expires().filter(|_| !state.expired && state.held.is_some()));
        let rest = self.last_fetch.and_then(|last| last.checked_add(REST));
        tokio::select! {
            biased;
            () = until(expires) => Due::Expired,
            () = until(next.map(|(at, _)| at)) => Due::Task(next.map_or(Task::Fetch, |it| it.1)),
            () = async {
                self.cell.wanted().await;
                if let Some(rest) = rest {
                    until(Some(rest)).await;
                }
            } => Due::Task(Task::Fetch),
        }
    }

    async fn fetch(&mut self) {
        let fetch = || self.provider.fetch(&self.cell.source);
        // Not cut as early as a renewal: what it is granted then would be known to nobody.
        let fetched = within(self.core.timeout, fetch).await;
        let now = SystemClock.now();
        self.last_fetch = Some(now);
        match fetched {
            Ok(fetched) => {
                self.fetched(fetched, now);
                self.cell.attempted(None);
            }
            Err(error) => {
                self.failed("fetch", &error, |life| {
                    life.fetch_failed(now, error.kind(), error.retry_after(), fastrand::f64());
                });
                self.cell.attempted(Some(error));
            }
        }
    }

    fn fetched(&mut self, fetched: Fetched, now: Instant) {
        let Fetched { payload, version, lease, look_again } = fetched;
        let on_error = self.core.on_error;
        let life = Life::new(now, lease.as_ref(), look_again, on_error, fastrand::f64());
        let lease = lease.and_then(|lease| lease.id);
        let same = |held: &Held| {
            // Another lease is another secret, even if it looks the same.
            lease == held.lease
                && *held.version.payload() == payload
                && held.version.provider_version() == version.as_deref()
        };
        let unchanged = self.cell.with(|state| {
            let same = state.held.as_ref().is_some_and(same);
            if same {
                state.life = life.clone();
                state.expired = false;
                state.settle();
            }
            same.then(|| state.succeed("unchanged"))
        });
        if let Some(recovered) = unchanged {
            self.recovered(recovered);
            return;
        }
        let number = self.cell.number() + 1;
        let (new, known, dropped) =
            Version::new(payload, number, version.clone(), life.expires(), &self.cell.newest);
        let held = Held { version: new, known, lease, dropped };
        let note = Note::new("fetch", &self.cell.source).version(number, version.as_deref());
        self.core.notes.note(&note.lease(held.lease.as_ref()));
        let (old, recovered) = self.cell.with(|state| {
            let old = state.held.replace(held).map(|old| (old, state.life.clone()));
            state.life = life;
            state.expired = false;
            (old, state.succeed("fetched"))
        });
        self.cell.publish(number);
        if number > 1 {
            self.core.replaced.fetch_add(1, Ordering::Relaxed);
            let message = match version {
                Some(version) => format!("replaced by version {number} ({version})"),
                None => format!("replaced by version {number}"),
            };
            self.core.emit("secret_rotated", &self.cell.source, message);
        }
        self.recovered(recovered);
        if let Some((mut old, life)) = old {
            // A cache in between gives one lease twice; it is that of the new version now.
            old.lease = old.lease.filter(|lease| !self.cell.is_of(lease));
            self.retire(old, life);
        }
    }

    async fn renew(&mut self, increment: Duration) {
        let lease = self.cell.with(|state| state.held.as_ref()?.lease.clone());
        let Some(lease) = lease else { return self.fetch().await };
        let limit = in_time(self.core.timeout, self.cell.with(|state| state.life.expires()));
        let renewed = within(limit, || self.provider.renew(&lease, increment)).await;
        let now = SystemClock.now();
        match renewed {
            Ok(renewed) => {
                let recovered = self.cell.with(|state| {
                    state.life.renewed(now, renewed.ttl, renewed.renewable, fastrand::f64());
                    state.settle();
                    state.succeed("renewed")
                });
                self.core.notes.note(&Note::new("renew", &self.cell.source).lease(Some(&lease)));
                self.recovered(recovered);
            }
            Err(error) => self.failed("renew", &error, |life| {
                life.renewal_failed(now, error.kind(), error.retry_after(), fastrand::f64());
            }),
        }
    }

    fn failed(&self, action: &'static str, error: &ProviderError, change: impl FnOnce(&mut Life)) {
        let source = &self.cell.source;
        self.core.notes.note(&Note::new(action, source).failed(error));
        let (first, held) = self.cell.with(|state| {
            change(&mut state.life);
            state.settle();
            (state.fail(error), state.held.is_some())
        });
        if first {
            let stays =
                if held { "; what there is stays in use until its time is over" } else { "" };
            let message = format!("cannot {action} it: {}{stays}", error.message());
            self.core.emit("secret_refresh_failed", source, message);
        }
    }

    fn recovered(&self, recovered: bool) {
        if recovered {
            let message = "it is fresh again".to_owned();
            self.core.emit("secret_refresh_recovered", &self.cell.source, message);
        }
    }

    /// The current version is over and there is no other.
    fn expire(&mut self) {
        let why = self.cell.why_expired();
        // Nobody is to hold on to it: what is left of it goes with its holders.
        let ended = self.cell.with(|state| {
            state.expired = true;
            state.count("expired");
            Some((state.held.take()?, state.life.clone()))
        });
        let Some((held, life)) = ended else { return };
        let note = Note::new("expire", &self.cell.source)
            .version(held.known.number, held.known.provider_version.as_deref())
            .over(&why);
        self.core.notes.note(&note);
        self.core.emit("secret_expired", &self.cell.source, why);
        if life.given_up() {
            self.retire(held, life);
        }
    }

    fn retire(&mut self, old: Held, life: Life) {
        let core = self.core.clone();
        let cell = self.cell.clone();
        let retire = retire::retire(core, cell, self.provider.clone(), old, life);
        self.retired.spawn(retire);
    }

    /// Nobody uses the current version any more.
    fn give_up(&mut self) {
        let last = self.cell.with(|state| {
            (state.failing, state.expired) = (None, false); // nobody minds any more
            Some((state.held.take()?, state.life.clone()))
        });
        if let Some((held, life)) = last {
            self.retire(held, life);
        }
    }
}

/// The answer of a provider, if it comes within `limit`. A panic of one is no answer, and no end of
/// all that is done for the secret.
pub(super) async fn within<'a, T>(
    limit: Duration,
    ask: impl FnOnce() -> Answer<'a, T>,
) -> Result<T, ProviderError> {
    let panicked = |_| ProviderError::unavailable("the provider panicked");
    let mut answer = catch_unwind(AssertUnwindSafe(ask)).map_err(panicked)?;
    let answer = poll_fn(|cx| {
        let polled = catch_unwind(AssertUnwindSafe(|| answer.as_mut().poll(cx)));
        polled.unwrap_or_else(|panic| Poll::Ready(Err(panicked(panic))))
    });
    tokio::time::timeout(limit, answer).await.unwrap_or_else(|_| {
        let limit = crate::duration::format(limit);
        Err(ProviderError::unavailable(format!("no answer within {limit}")))
    })
}

/// How long a renewal may take of what ends at `expires`: so long that there is time for another
/// one, of a provider that answers in the end.
pub(super) fn in_time(limit: Duration, expires: Option<Instant>) -> Duration {
    let left = expires.map(|expires| expires.saturating_duration_since(SystemClock.now()));
    left.map_or(limit, |left| limit.min((left / 2).max(REST)))
}

/// Waits until `at`; for ever without one.
pub(super) async fn until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}
