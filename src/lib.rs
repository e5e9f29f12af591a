//! Production building blocks for a service, put together.
//!
//! A whole service is settings, routes and one line of `main`:
//!
//! ```no_run
//! use octostack::prelude::*;
//!
//! /// Settings of the greeter: from files, environment and command line.
//! #[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
//! #[serde(default)]
//! struct Settings {
//!     /// What to say.
//!     greeting: String,
//! }
//!
//! impl Default for Settings {
//!     fn default() -> Self {
//!         Self { greeting: "hello".into() }
//!     }
//! }
//!
//! fn main() -> ExitCode {
//!     octostack::service!(owner = "team-greetings").run(greeter)
//! }
//!
//! async fn greeter(app: App<Settings>) -> Result<Router> {
//!     Ok(Router::new().route("/", get(|State(app): State<App<Settings>>| async move {
//!         app.settings().greeting.clone()
//!     })).with_state(app))
//! }
//! ```
//!
//! Around it, without a word: config from files and environment with every problem in one report,
//! JSON logs with trace ids, RED metrics, request ids, health endpoints, an admin port, limits on what clients may
//! do, a timeout and a bulkhead in front of the routes, and an end that loses no request.
//!
//! Each part is a crate of its own that works alone:
//!
//! | crate | here | has |
//! |---|---|---|
//! | octostack-core | [`core`] | config, secrets, health, lifecycle, server, admin, inspection |
//! | octostack-resilience | [`resilience`] | circuit breaker, bulkhead, retry, timeout, load shed, panic catch, fallback, chaos |
//! | octostack-telemetry | [`telemetry`] | metrics, RED layer, request ids, logs |
//! | octostack-flags | [`mod@flags`] | feature flags: declared, compiled, pinned to a request |
//!
//! # Features
//!
//! | feature | default | adds |
//! |---|---|---|
//! | `cli` | yes | [`Service::run`] reads the command line: `run`, `check`, `contract`, `admin`, `--config`, `--set` |
//! | `metrics` | yes | what [`metrics::counter!`] and its like record is on `/metrics` |
//! | `tonic` | yes | [`App::channel`]: gRPC clients in the standard outbound stack |
//! | `grpc-health` | no | [`App::grpc_health`]: the service that gRPC clients and Kubernetes probe |
//! | `checks-http`, `checks-grpc`, `checks-redis`, `checks-postgresql` | no | ready-made [health checks](core::health::checks); the last two for [`App::binding`] too |
//! | `otlp` | no | traces to a collector by OTLP over gRPC, where an endpoint is set |
//! | `ws` | no | the WebSocket of axum, and [`mod@ws`] for its end |
//! | `tls` | no | `server.tls`: listeners with certificates, of clients too |
//! | `vault` | no | references to secrets in Vault or OpenBao |
//! | `config-http` | no | `--config https://…` and `CONFIG_URL`: settings from a server, with a cache for when it is down |
#![cfg_attr(docsrs, feature(doc_cfg))]

mod admin_port;
mod admin_task;
mod app;
mod attached;
#[cfg(feature = "tonic")]
mod channel;
#[cfg(feature = "cli")]
mod cli;
#[cfg(feature = "cli")]
mod commands;
#[cfg(feature = "cli")]
mod contract;
mod endpoint;
#[cfg(feature = "cli")]
mod explain;
mod flag_file;
mod framework;
#[cfg(feature = "grpc-health")]
mod grpc_health;
#[cfg(feature = "cli")]
mod health_command;
mod inbound;
mod listeners;
mod live;
mod paths;
pub mod prelude;
mod reload;
mod remotes;
mod rules;
mod run;
mod secrets;
mod service;
mod sockets;
mod starting;
mod synthetic;
mod systemd;
mod tasks;
mod traces;
#[cfg(feature = "ws")]
pub mod ws;

#[cfg(feature = "cli")]
pub use admin_task::{AdminTask, LockAttempt, TaskLock, TasksFor};
pub use admin_task::{AdminTasks, NoTasks};
pub use app::{App, Result};
#[cfg(feature = "tonic")]
pub use channel::{Channel, ChannelFuture};
pub use endpoint::Endpoint;
#[cfg(feature = "grpc-health")]
pub use grpc_health::GrpcHealth;
pub use inbound::{InboundConfig, InboundRateLimit, LimitPer};
pub use live::Change;
pub use rules::{NoRules, Rules, RulesFor};
pub use service::Service;
pub use synthetic::{Synthetic, SyntheticRequest};

pub use octostack_core as core;
/// Feature flags, and the macro [`flags!`](macro@flags) that declares them.
pub use octostack_flags as flags;
pub use octostack_flags::flags;
pub use octostack_resilience as resilience;
pub use octostack_telemetry as telemetry;

pub use axum;
pub use octostack_core::binding;
pub use octostack_core::config::live::Commit;
pub use octostack_core::inspect::Problem;
pub use octostack_core::lifecycle::Shutdown;
/// Secrets: references to them, and what keeps them fresh.
pub use octostack_core::secret;
pub use octostack_core::secret::{Secret, SecretRef};
pub use octostack_core::{Identity, Registry};
/// The crate `metrics`, whose macros record what `/metrics` shows.
///
/// Libraries may name it themselves. It has to be the same version: a second one in the program
/// has a recorder of its own, which nobody installs, and what is told to it is lost without a word.
/// With `octostack::metrics::counter!` that cannot happen. Bounds of histograms are set with
/// [`Recorder::buckets`](octostack_telemetry::metrics::Recorder::buckets) of
/// `app.metrics().recorder()`.
#[cfg(feature = "metrics")]
pub use octostack_telemetry::metrics::facade as metrics;
#[cfg(feature = "tonic")]
pub use tonic;

/// A boxed error, as Tower uses it.
pub type BoxError = octostack_resilience::error::BoxError;

/// A [`Service`] with the name and version of the package in which this is written.
///
/// Further fields of its identity can follow: `service!(owner = "team-shop", runbook = "https://…")`.
/// The commit is taken from the variable `GIT_COMMIT`, `GITHUB_SHA` or `CI_COMMIT_SHA` of the build.
#[macro_export]
macro_rules! service {
    ($($field:ident = $value:expr),* $(,)?) => {{
        let identity = $crate::Identity::new(env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION"));
        let commits = [option_env!("GIT_COMMIT"), option_env!("GITHUB_SHA"), option_env!("CI_COMMIT_SHA")];
        let commit = commits.into_iter().flatten().next().unwrap_or_default();
        let service = $crate::Service::new(identity.with_commit(commit));
        let service = if cfg!(debug_assertions) {
            service.fallback_config_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/config"))
        } else {
            service
        };
        service$(.$field($value))*
    }};
}

/// The Rust code of the documents, run as doc tests.
#[cfg(doctest)]
mod book {
    #[doc = include_str!("../README.md")]
    mod readme {}
    #[doc = include_str!("../docs/configuration.md")]
    mod configuration {}
    #[doc = include_str!("../docs/bindings.md")]
    mod bindings {}
    #[doc = include_str!("../docs/reload.md")]
    mod reload {}
    #[doc = include_str!("../docs/contract.md")]
    mod contract {}
    #[doc = include_str!("../docs/secrets.md")]
    mod secrets {}
    #[doc = include_str!("../docs/flags.md")]
    mod flags {}
    #[doc = include_str!("../docs/health.md")]
    mod health {}
    #[doc = include_str!("../docs/lifecycle.md")]
    #[cfg(feature = "tonic")]
    mod lifecycle {}
    #[doc = include_str!("../docs/server.md")]
    #[cfg(feature = "tls")]
    mod server {}
    #[doc = include_str!("../docs/tasks.md")]
    #[cfg(feature = "cli")]
    mod tasks {}
    #[doc = include_str!("../docs/operating.md")]
    mod operating {}
    #[doc = include_str!("../docs/kubernetes.md")]
    mod kubernetes {}
    #[doc = include_str!("../docs/policies.md")]
    mod policies {}
    #[doc = include_str!("../docs/policies/stacks.md")]
    #[cfg(feature = "tonic")]
    mod policy_stacks {}
    #[doc = include_str!("../docs/policies/circuit-breaker.md")]
    mod policy_circuit_breaker {}
    #[doc = include_str!("../docs/policies/bulkhead.md")]
    mod policy_bulkhead {}
    #[doc = include_str!("../docs/policies/rate-limit.md")]
    mod policy_rate_limit {}
    #[doc = include_str!("../docs/policies/retry.md")]
    mod policy_retry {}
    #[doc = include_str!("../docs/policies/timeout.md")]
    mod policy_timeout {}
    #[doc = include_str!("../docs/policies/load-shed.md")]
    mod policy_load_shed {}
    #[doc = include_str!("../docs/policies/panic-catch.md")]
    mod policy_panic_catch {}
    #[doc = include_str!("../docs/policies/fallback.md")]
    mod policy_fallback {}
    #[doc = include_str!("../docs/policies/chaos.md")]
    mod policy_chaos {}
    #[doc = include_str!("../docs/telemetry.md")]
    mod telemetry {}
}
