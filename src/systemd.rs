//! A service under systemd says when it is ready, reloads, ends, and that it works.
use octostack_core::config::live::Hangups;
use octostack_core::health::Health;
use octostack_core::inspect::{Event, Registry};
use octostack_core::lifecycle::{Lifecycle, Notify};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Whoever started this process, if it wants to be told.
#[derive(Clone)]
pub(crate) struct Manager {
    notify: Option<Notify>,
    /// It was told that the service ends, and nothing may sound otherwise from then on.
    ends: Arc<AtomicBool>,
}

impl Manager {
    pub(crate) fn from_env() -> Self {
        let notify = Notify::from_env().unwrap_or_else(|error| {
            tracing::warn!("the service manager is told nothing: {error}");
            None
        });
        Self { notify, ends: Arc::default() }
    }

    /// Tells it of each phase.
    pub(crate) fn follow(&self, registry: &Registry, lifecycle: &Lifecycle) {
        let Some(notify) = self.notify.clone() else { return };
        let (lifecycle, ends) = (lifecycle.clone(), self.ends.clone());
        let told = AtomicBool::new(false);
        registry.observe(move |event: &Event| {
            if event.kind != "transition" {
                return;
            }
            let to = event.fields.iter().find(|(name, _)| *name == "to");
            match to.and_then(|(_, to)| to.as_str()) {
                Some("ready" | "degraded") if !told.swap(true, Ordering::AcqRel) => notify.ready(),
                Some("draining") => {
                    ends.store(true, Ordering::Release);
                    notify.stopping(lifecycle.config().budget());
                }
                _ => {}
            }
            notify.status(&event.message);
        });
    }

    /// SIGHUP, which is how it asks for a reload and waits until that has ended.
    pub(crate) fn around(&self, hangups: Hangups) -> Hangups {
        let Some(notify) = self.notify.clone() else { return hangups };
        let ends = self.ends.clone();
        hangups.around(move |begins| match (ends.load(Ordering::Acquire), begins) {
            (true, _) => {}
            (false, true) => notify.reloading(),
            (false, false) => notify.ready(),
        })
    }

    /// Says that the service works, for as long as it does. In a thread that the service does not
    /// use.
    pub(crate) async fn watchdog(self, health: Health) {
        let interval = self.notify.as_ref().and_then(Notify::watchdog_interval);
        let Some((notify, interval)) = self.notify.zip(interval) else {
            return std::future::pending().await;
        };
        loop {
            if !health.is_stalled() {
                notify.watchdog();
            }
            tokio::time::sleep(interval).await;
        }
    }
}
