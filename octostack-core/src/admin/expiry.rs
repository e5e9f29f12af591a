use crate::inspect::{Event, Registry};
use crate::{Clock, SystemClock};
use std::convert::Infallible;
use std::sync::Arc;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

/// Ends overrides when their time is up.
pub(super) struct Expiry {
    /// Told of each override, since a new one may be the next to end.
    changed: Arc<Notify>,
}

impl Expiry {
    pub(super) fn new(registry: &Registry) -> Self {
        let changed = Arc::new(Notify::new());
        // Weak: observers stay for the life of the registry, which may be that of the process.
        let watcher = Arc::downgrade(&changed);
        registry.observe(move |event: &Event| {
            if event.kind == "override_set"
                && let Some(changed) = watcher.upgrade()
            {
                changed.notify_one();
            }
        });
        Self { changed }
    }

    pub(super) async fn run(&self, registry: &Registry) -> Infallible {
        loop {
            let next = registry.end_expired(SystemClock.now());
            let changed = self.changed.notified();
            match next {
                Some(next) => tokio::select! {
                    () = sleep_until(Instant::from_std(next)) => {}
                    () = changed => {}
                },
                None => changed.await,
            }
        }
    }
}
