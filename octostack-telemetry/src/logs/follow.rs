//! A filter that can change while it is in force.
use super::Filter;
use octostack_core::Dynamic;
use tracing::subscriber::{Interest, Subscriber};
use tracing::{Metadata, level_filters::LevelFilter};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::{Context, Layer};

/// The filter of the subscriber that [`init`](super::init) installed, to be changed while the
/// process runs; from [`Guard::filter`](super::Guard::filter). Clones are cheap and are the same.
///
/// ```
/// use octostack_core::Identity;
/// use octostack_telemetry::logs::{self, TelemetryConfig};
///
/// let guard = logs::init(&Identity::new("orders", "1.4.2"), &TelemetryConfig::default())?;
/// assert!(!tracing::enabled!(tracing::Level::DEBUG));
/// assert!(guard.filter().set("debug".parse()?));
/// assert!(tracing::enabled!(tracing::Level::DEBUG));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct FilterHandle {
    current: Dynamic<Filter>,
}

impl FilterHandle {
    pub(super) fn new(filter: Filter) -> Self {
        Self { current: Dynamic::new(filter) }
    }

    /// The filter in force.
    pub fn now(&self) -> Filter {
        self.current.load().value.clone()
    }

    /// Sets another filter, for all that is logged from now on, and returns whether it is another.
    /// A span that has begun stays as it was: let through or not.
    pub fn set(&self, filter: Filter) -> bool {
        let changes = self.current.load().value != filter;
        if changes {
            self.current.store(filter);
            // Each place in the code remembers whether it is let through, and is asked once more.
            tracing_core::callsite::rebuild_interest_cache();
        }
        changes
    }

    pub(super) fn layer(&self) -> FilterLayer {
        FilterLayer { current: self.current.clone() }
    }
}

/// As [`Targets`], which say yes or no for each place in the code once. So nothing is read here for
/// each event, and the lock of a shared read does not matter.
pub(super) struct FilterLayer {
    current: Dynamic<Filter>,
}

impl FilterLayer {
    fn ask<T>(&self, question: impl FnOnce(&Targets) -> T) -> T {
        question(self.current.load().targets())
    }
}

impl<S: Subscriber> Layer<S> for FilterLayer {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        self.ask(|targets| Layer::<S>::register_callsite(targets, metadata))
    }

    fn enabled(&self, metadata: &Metadata<'_>, cx: Context<'_, S>) -> bool {
        self.ask(|targets| Layer::<S>::enabled(targets, metadata, cx))
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        self.ask(Layer::<S>::max_level_hint)
    }
}
