//! The operator's port: probes, metrics, status pages, and changes while the service runs.
//!
//! It listens apart from the service, by default on loopback, and answers to the end of the drain,
//! when the service's own port has closed already. What it shows comes from the inspection
//! [`Registry`]: a policy, a check or a config source that is registered there needs no code here.
//!
//! | path | answers |
//! |---|---|
//! | `/livez` `/readyz` `/startupz` | `ok`, or 503 |
//! | `/statusz` | who this is, phase, generations, what is abnormal, the last 50 events |
//! | `/requestz` | the requests in flight: route, age, trace id; `?min_age=5s`, `?limit=50` |
//! | `/policyz`, `/policyz/{name}` | the policies; `PUT` changes one for a time, `DELETE` ends that |
//! | `/` | the pages there are |
//!
//! Other crates add theirs with [`AdminBuilder::page`], [`AdminBuilder::status_page`] and, for what
//! can be changed, [`AdminBuilder::override_page`]. Who may see and do what is in one table,
//! [`Access`]; in short: on loopback reading is free for whoever calls it by a loopback name,
//! elsewhere it takes a token, and changes take the write token, save on loopback in development.
//!
//! A change looks like this:
//!
//! ```text
//! curl -X PUT localhost:8081/policyz/inventory.breaker -H 'content-type: application/json' \
//!      -d '{"mode": "forced_open", "ttl": "10m"}'
//! ```
//!
//! It lasts for its `ttl` (1 h if not said, at most 24 h), then ends by itself. Refusals are
//! `application/problem+json` and list every problem at once. `x-actor: your name` puts a name to
//! the change; it is recorded as what it is, a claim.
//!
//! [`Admin`] is a Tower service, so tests need no socket:
//!
//! ```
//! use http::{Request, StatusCode};
//! use http_body_util::Full;
//! use octostack_core::admin::Admin;
//! use octostack_core::health::Health;
//! use octostack_core::lifecycle::{Lifecycle, LifecycleConfig};
//! use octostack_core::{Identity, Registry};
//! use tower_service::Service;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let registry = Registry::new();
//! let lifecycle = Lifecycle::new(LifecycleConfig::default(), &registry);
//! let health = Health::new(&registry);
//! let identity = Identity::new("orders", "1.0.0");
//! let mut admin = Admin::builder(&identity, &registry, &lifecycle, &health)
//!     .status_page("/queuez", "what waits", || 3_u64.into())
//!     .build()
//!     .map_err(|problems| problems[0].clone())?;
//!
//! let request = Request::get("/queuez")
//!     .header("host", "localhost:8081")
//!     .body(Full::<bytes::Bytes>::default())?;
//! let response = admin.call(request).await?;
//! assert_eq!(response.status(), StatusCode::OK);
//! # Ok(())
//! # }
//! ```
mod access;
mod action;
mod builder;
mod change;
mod config;
mod expiry;
mod json;
mod listener;
mod override_page;
mod page;
mod policyz;
mod probes;
mod requestz;
mod service;
mod statusz;
mod wish;

pub use access::Access;
pub use action::Declined;
pub use builder::AdminBuilder;
pub use config::{AdminConfig, Tokens};
pub use listener::AdminListener;

use crate::health::{Health, Probes};
use crate::lifecycle::Lifecycle;
use crate::{Dynamic, Identity, Registry};
use access::Setting;
use expiry::Expiry;
use page::Page;
use std::convert::Infallible;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

/// The admin pages as a Tower service; see the [module docs](self). Clones are cheap.
#[derive(Clone)]
pub struct Admin {
    shared: Arc<Shared>,
}

struct Shared {
    identity: Identity,
    registry: Registry,
    probes: Probes,
    addr: SocketAddr,
    setting: Setting,
    tokens: Dynamic<Tokens>,
    pages: Vec<Page>,
    generations: Vec<(String, Box<dyn Fn() -> u64 + Send + Sync>)>,
    started: Instant,
    started_at: SystemTime,
    expiry: Expiry,
}

impl Admin {
    /// Starts to describe the admin pages of a service.
    pub fn builder(
        identity: &Identity,
        registry: &Registry,
        lifecycle: &Lifecycle,
        health: &Health,
    ) -> AdminBuilder {
        let requests = lifecycle.requests().clone();
        let about = "requests in flight, the oldest first; ?min_age=5s, ?limit=50";
        AdminBuilder::new(identity, registry, Probes::new(lifecycle, health)).query_page(
            "/requestz",
            about,
            move |parts| requestz::page(&requests, parts),
        )
    }

    /// Where it is to listen.
    pub fn addr(&self) -> SocketAddr {
        self.shared.addr
    }

    /// The probes, for the public port.
    pub fn probes(&self) -> &Probes {
        &self.shared.probes
    }

    /// Ends overrides when their time is up, for as long as the future is polled.
    ///
    /// [`AdminListener::serve`] does this; call it only where the pages are served otherwise.
    pub async fn overrides_on_time(&self) -> Infallible {
        self.shared.expiry.run(&self.shared.registry).await
    }
}

impl fmt::Debug for Admin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pages = self.shared.pages.iter().map(|page| &page.path);
        f.debug_struct("Admin")
            .field("addr", &self.shared.addr)
            .field("pages", &pages.collect::<Vec<_>>())
            .finish_non_exhaustive()
    }
}
