//! What runs in this process, how it is doing, and what may be changed.
//!
//! Policies, health checks, config and whatever else has a state worth seeing implement
//! [`Inspect`] and enter a [`Registry`]. They push nothing: `/metrics`, `/policyz` and `/statusz`
//! ask them when someone asks. So an item on a hot path writes its own counters and nothing else.
//!
//! * [`Registry`] holds weak references. An item that is dropped is gone; an item never has to
//!   unregister. There is a process-wide [`Registry::global`]; every builder takes another.
//! * [`Inspect`] is what an item tells: name, kind, status, samples.
//! * [`Control`] is what an operator may change of it while it runs: its [`Mode`] and settings, as
//!   an [override](overrides) that ends by itself.
//! * [`Event`]s are what happens rarely: a transition, a reload, an override. The registry keeps
//!   the last 50 and hands them to observers.
//! * [`Value`] carries statuses and settings between items and whoever prints or parses them,
//!   so that neither side needs a serialiser.
//!
//! ```
//! use std::sync::Arc;
//! use std::sync::atomic::{AtomicU64, Ordering};
//! use octostack_core::inspect::{Inspect, Metric, Registry, Sink, Value};
//!
//! struct Cache { hits: AtomicU64 }
//!
//! static HITS: Metric = Metric::counter("cache_hits_total", "Lookups that found an entry.");
//!
//! impl Inspect for Cache {
//!     fn name(&self) -> &str { "products" }
//!     fn kind(&self) -> &'static str { "cache" }
//!     fn status(&self) -> Value {
//!         Value::map([("hits", self.hits.load(Ordering::Relaxed).into())])
//!     }
//!     fn collect(&self, sink: &mut dyn Sink) {
//!         sink.sample(&HITS, &[("cache", self.name())], self.hits.load(Ordering::Relaxed) as f64);
//!     }
//! }
//!
//! let registry = Registry::new();
//! let cache = Arc::new(Cache { hits: AtomicU64::new(3) });
//! registry.register(&cache);
//! assert_eq!(registry.items()[0].status().to_string(), r#"{"hits": 3}"#);
//!
//! drop(cache);
//! assert!(registry.items().is_empty());
//! ```
mod changes;
mod control;
mod event;
mod metric;
pub mod overrides;
mod registry;
mod value;

pub use control::{Control, Mode, Patch, Problem};
pub use event::{Event, Observer};
pub use metric::{Metric, MetricKind, Sink};
pub use registry::Registry;
pub use value::Value;

/// Something with a state that an operator wants to see.
///
/// Methods are called while others use the item, from the thread that serves the admin port: they
/// must not wait for anything.
pub trait Inspect: Send + Sync {
    /// The name that the user gave it, such as `inventory.breaker`. Several items may share one:
    /// their samples are added up and a change applies to all.
    fn name(&self) -> &str;

    /// What it is, in `snake_case`, such as `circuit_breaker`. A constant of the type.
    fn kind(&self) -> &'static str;

    /// Everything worth knowing about it now. Never a secret.
    fn status(&self) -> Value;

    /// Hands its current numbers to `sink`. Label values must come from the program, never from a
    /// client.
    fn collect(&self, sink: &mut dyn Sink);

    /// Why an operator should look at it, if there is a reason: `open since 12 s`.
    fn abnormal(&self) -> Option<String> {
        None
    }

    /// What may be changed while it runs; `None` for items that are only read.
    ///
    /// As what it is changed says [`Control::target_kind`]: it is listed on the page of that kind,
    /// which is `/policyz` unless it says otherwise.
    fn control(&self) -> Option<&dyn Control> {
        None
    }
}
