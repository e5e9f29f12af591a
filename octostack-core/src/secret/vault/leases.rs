//! Leases and the logins that they were given to: a server ends both together.

use super::session::Login;
use crate::clock::{Clock, SystemClock};
use crate::secret::provider::{Lease, LeaseId, Renewed};
use crate::sync::lock;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Which login has which lease.
#[derive(Default)]
pub(super) struct Leases(Mutex<Vec<Held>>);

struct Held {
    id: LeaseId,
    ends: Instant,
    login: Arc<Login>,
}

impl Leases {
    /// A lease that was given to `login`, which is not told to last longer than that does.
    pub(super) fn given(&self, lease: Lease, login: &Arc<Login>) -> Lease {
        if let Some(id) = &lease.id {
            let now = SystemClock.now();
            let mut held = lock(&self.0);
            held.retain(|held| held.ends > now);
            if let Some(ends) = now.checked_add(lease.ttl) {
                held.push(Held { id: id.clone(), ends, login: Arc::clone(login) });
            }
        }
        Lease { ttl: shorter(lease.ttl, login.left()), ..lease }
    }

    /// A renewal, while `current` is logged in. What an earlier login was given ends with that one,
    /// so that it is not worth renewing again.
    pub(super) fn renewed(&self, id: &LeaseId, to: &Renewed, current: &Arc<Login>) -> Renewed {
        let now = SystemClock.now();
        let mut all = lock(&self.0);
        let Some(held) = all.iter_mut().find(|held| held.id == *id) else { return to.clone() };
        held.ends = now.checked_add(to.ttl).unwrap_or(held.ends);
        let own = Arc::ptr_eq(&held.login, current);
        Renewed { ttl: shorter(to.ttl, held.login.left()), renewable: to.renewable && own }
    }

    pub(super) fn ended(&self, id: &LeaseId) {
        lock(&self.0).retain(|held| held.id != *id);
    }

    /// The logins that still have some.
    pub(super) fn logins(&self) -> Vec<Arc<Login>> {
        let now = SystemClock.now();
        let mut logins: Vec<Arc<Login>> = Vec::new();
        for held in lock(&self.0).iter().filter(|held| held.ends > now) {
            if !logins.iter().any(|login| Arc::ptr_eq(login, &held.login)) {
                logins.push(Arc::clone(&held.login));
            }
        }
        logins
    }

    pub(super) fn count(&self) -> usize {
        let now = SystemClock.now();
        lock(&self.0).iter().filter(|held| held.ends > now).count()
    }
}

fn shorter(ttl: Duration, left: Option<Duration>) -> Duration {
    left.map_or(ttl, |left| ttl.min(left))
}

#[cfg(test)]
mod tests {
    use super::Leases;
    use crate::secret::Secret;
    use crate::secret::provider::{Lease, LeaseId, Renewed};
    use crate::secret::vault::answer::Terms;
    use crate::secret::vault::session::Login;
    use std::sync::Arc;
    use std::time::Duration;

    const HOUR: Duration = Duration::from_secs(60 * 60);

    fn login(ttl: Option<Duration>) -> Arc<Login> {
        let token = Secret::new("t".to_owned());
        Arc::new(Login::new(token, true, Terms { ttl, whole: None, renewable: true }))
    }

    #[tokio::test(start_paused = true)]
    async fn a_lease_does_not_outlive_the_login_that_it_was_given_to() {
        let (leases, first) = (Leases::default(), login(Some(HOUR / 2)));
        let id = LeaseId::new("database/creds/a/1");
        let lease = Lease { id: Some(id.clone()), ttl: HOUR, renewable: true };
        assert_eq!(leases.given(lease.clone(), &first).ttl, HOUR / 2);
        let to = Renewed { ttl: HOUR, renewable: true };
        let renewed = leases.renewed(&id, &to, &first);
        assert_eq!(renewed, Renewed { ttl: HOUR / 2, renewable: true });

        // With another login it still can be renewed, and ends all the same.
        tokio::time::advance(HOUR / 6).await;
        let renewed = leases.renewed(&id, &to, &login(Some(HOUR)));
        assert_eq!(renewed, Renewed { ttl: HOUR / 3, renewable: false });

        let root = login(None);
        assert_eq!(leases.given(lease, &root).ttl, HOUR);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_over_is_forgotten() {
        let (leases, login) = (Leases::default(), login(None));
        let lease =
            |name: &str| Lease { id: Some(LeaseId::new(name)), ttl: HOUR, renewable: false };
        leases.given(lease("a"), &login);
        assert_eq!((leases.count(), leases.logins().len()), (1, 1));
        tokio::time::advance(HOUR).await;
        assert_eq!((leases.count(), leases.logins().len()), (0, 0));
        leases.given(lease("b"), &login);
        leases.given(lease("c"), &login);
        leases.ended(&LeaseId::new("b"));
        assert_eq!(leases.count(), 1);
    }
}
