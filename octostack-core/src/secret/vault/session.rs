//! Being logged in: one login at a time, for all who ask.

use super::answer::Terms;
use super::life::{Life, pause};
use crate::clock::{Clock, SystemClock};
use crate::inspect::Value;
use crate::secret::Secret;
use crate::secret::provider::{ProviderError, ProviderErrorKind};
use crate::sync::lock;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};
use tokio::sync::{Mutex as Gate, MutexGuard, watch};

/// How soon after a login was doubted in vain the next may be. It is doubled each time, since each
/// costs a login and what the login of before was given.
const DOUBT: Duration = Duration::from_secs(30);

/// A token, and how long it lives.
pub(super) struct Login {
    pub(super) token: Secret<String>,
    /// Whether we have logged in for it. It is then ours to end.
    pub(super) ours: bool,
    /// Whether it was allowed to ask about itself.
    pub(super) looked: bool,
    life: Mutex<Life>,
}

impl Login {
    pub(super) fn new(token: Secret<String>, ours: bool, terms: Terms) -> Self {
        let life = Life::new(terms, SystemClock.now(), fastrand::f64());
        Self { token, ours, looked: false, life: Mutex::new(life) }
    }

    /// Reads or changes its life.
    pub(super) fn life<T>(&self, with: impl FnOnce(&mut Life) -> T) -> T {
        with(&mut lock(&self.life))
    }

    pub(super) fn is_over(&self) -> bool {
        self.life(|life| life.is_over(SystemClock.now()))
    }

    /// How long it still lives; `None`: for ever, as far as is known.
    pub(super) fn left(&self) -> Option<Duration> {
        self.life(|life| life.left(SystemClock.now()))
    }

    /// When it ends, for people.
    pub(super) fn ends(&self) -> Option<String> {
        let ends = SystemTime::now().checked_add(self.left()?)?;
        Some(crate::time::rfc3339(ends))
    }

    pub(super) fn status(&self) -> Value {
        Value::map([
            ("ends", self.ends().map_or(Value::Null, Value::from)),
            ("renewable", self.life(|life| life.lasts()).into()),
        ])
    }
}

/// Who we are at the moment.
pub(super) struct Session {
    current: watch::Sender<Option<Arc<Login>>>,
    /// Held by who logs in.
    gate: Gate<Tries>,
    /// How often in a row a login was doubted in vain, and when it was last.
    doubted: Mutex<(u32, Option<Instant>)>,
    /// What is wrong with the login, for operators.
    trouble: Mutex<Option<String>>,
}

/// Logins that have failed. Servers lock out who fails too often.
#[derive(Default)]
pub(super) struct Tries {
    failures: u32,
    not_before: Option<Instant>,
    /// With what, and why.
    last: Option<(Secret<String>, ProviderError)>,
}

impl Tries {
    /// Whether `credential` may be tried now.
    ///
    /// # Errors
    /// Why the last try has failed, while it is too early for another one. A credential that was
    /// refused does not hold up a new one.
    pub(super) fn check(
        &self,
        credential: &Secret<String>,
        now: Instant,
    ) -> Result<(), ProviderError> {
        let (Some((tried, error)), Some(not_before)) = (&self.last, self.not_before) else {
            return Ok(());
        };
        let renewed = error.kind() != ProviderErrorKind::Unavailable && tried != credential;
        if renewed || now >= not_before {
            return Ok(());
        }
        Err(error.clone().with_retry_after(not_before - now))
    }

    pub(super) fn failed(
        &mut self,
        credential: Secret<String>,
        error: &ProviderError,
        now: Instant,
        chance: f64,
    ) {
        self.failures = self.failures.saturating_add(1);
        self.not_before = Some(now + pause(self.failures, error.retry_after(), chance));
        self.last = Some((credential, error.clone()));
    }
}

impl Session {
    /// Begins with a login of before, if there is one.
    pub(super) fn new(current: Option<Arc<Login>>) -> Self {
        Self {
            current: watch::Sender::new(current),
            gate: Gate::default(),
            doubted: Mutex::default(),
            trouble: Mutex::default(),
        }
    }

    pub(super) fn current(&self) -> Option<Arc<Login>> {
        self.current.borrow().clone()
    }

    /// Tells of each login.
    pub(super) fn follow(&self) -> watch::Receiver<Option<Arc<Login>>> {
        self.current.subscribe()
    }

    /// Waits for its turn to log in.
    pub(super) async fn gate(&self) -> MutexGuard<'_, Tries> {
        self.gate.lock().await
    }

    pub(super) fn enter(&self, login: &Arc<Login>, tries: &mut Tries) {
        *tries = Tries::default();
        *lock(&self.trouble) = None;
        self.current.send_replace(Some(Arc::clone(login)));
    }

    /// Nobody is logged in any more.
    pub(super) fn leave(&self) -> Option<Arc<Login>> {
        self.current.send_replace(None)
    }

    /// Whether it is time to doubt the login again.
    pub(super) fn doubt(&self) -> bool {
        let now = SystemClock.now();
        let (times, last) = &mut *lock(&self.doubted);
        let wait = DOUBT.saturating_mul(1 << times.saturating_sub(1).min(8));
        if last.is_some_and(|last| now.saturating_duration_since(last) < wait) {
            return false;
        }
        (*times, *last) = (times.saturating_add(1), Some(now));
        true
    }

    /// The doubt was right: a new login was the cure.
    pub(super) fn cured(&self) {
        *lock(&self.doubted) = (0, None);
    }

    pub(super) fn set_trouble(&self, what: impl Into<String>) {
        *lock(&self.trouble) = Some(what.into());
    }

    pub(super) fn trouble(&self) -> Option<String> {
        lock(&self.trouble).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::{DOUBT, Session, Tries};
    use crate::clock::{Clock, SystemClock};
    use crate::secret::Secret;
    use crate::secret::provider::ProviderError;
    use std::time::Duration;

    #[test]
    fn a_refused_credential_waits_and_a_new_one_does_not() {
        let (old, new) = (Secret::new("old".to_owned()), Secret::new("new".to_owned()));
        let now = SystemClock.now();
        let mut tries = Tries::default();
        assert!(tries.check(&old, now).is_ok());
        tries.failed(old.clone(), &ProviderError::refused("no"), now, 1.0);
        let error = tries.check(&old, now).unwrap_err();
        assert_eq!(error.retry_after(), Some(Duration::from_secs(1)));
        assert!(tries.check(&new, now).is_ok());
        assert!(tries.check(&old, now + Duration::from_secs(1)).is_ok());
        tries.failed(old.clone(), &ProviderError::refused("no"), now, 1.0);
        assert!(tries.check(&old, now + Duration::from_secs(1)).is_err(), "it doubles");

        tries.failed(old, &ProviderError::unavailable("down"), now, 1.0);
        assert!(tries.check(&new, now).is_err(), "a server that is down is left alone");
    }
    #[tokio::test(start_paused = true)]
    async fn doubts_in_vain_become_seldom() {
        let session = Session::new(None);
        assert!(session.doubt() && !session.doubt());
        tokio::time::advance(DOUBT).await;
        assert!(session.doubt());
        tokio::time::advance(DOUBT).await;
        assert!(!session.doubt(), "now it takes twice as long");
        tokio::time::advance(DOUBT).await;
        assert!(session.doubt());
        session.cured();
        assert!(session.doubt());
    }
}
