//! Whether the service behind a binding can be reached.

use super::{Binding, Endpoint};
use crate::health::{CheckKind, Health};
#[cfg(any(feature = "checks-postgresql", feature = "checks-redis"))]
use crate::health::{Examine as _, checks};
use crate::inspect::{Inspect, Registry, Sink, Value};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// How long one address may take to answer: less than the 2 s of a health check, so that it can say
/// which did not.
const LIMIT: Duration = Duration::from_millis(1_500);

/// Opens a TCP connection to each of `endpoints` at once. One that answers is enough.
///
/// An address without a port is not tried. If there are only such, that is no failure: nobody knows.
///
/// Dropping the future ends all attempts.
///
/// # Errors
/// Which address failed in which way, if none answered.
pub async fn reach(endpoints: &[Endpoint]) -> Result<(), String> {
    let mut attempts = JoinSet::new();
    for endpoint in endpoints {
        let Some(port) = endpoint.port else { continue };
        let (host, shown) = (endpoint.host.clone(), endpoint.to_string());
        attempts.spawn(async move {
            let connect = TcpStream::connect((host, port));
            match tokio::time::timeout(LIMIT, connect).await {
                Ok(Ok(_)) => Ok(()),
                Ok(Err(error)) => Err(format!("{shown}: {error}")),
                Err(_) => {
                    Err(format!("{shown}: no answer within {}", crate::duration::format(LIMIT)))
                }
            }
        });
    }
    let mut failed = Vec::new();
    while let Some(attempt) = attempts.join_next().await {
        match attempt.unwrap_or_else(|error| Err(error.to_string())) {
            Ok(()) => return Ok(()),
            Err(why) => failed.push(why),
        }
    }
    failed.sort_unstable(); // they fail in any order
    if failed.is_empty() { Ok(()) } else { Err(failed.join("; ")) }
}

/// Whether the service behind `binding` works, as far as there is a way to ask.
///
/// Redis with feature `checks-redis` and PostgreSQL with `checks-postgresql` are logged in to and
/// asked; of all others [a connection is opened](reach()). Without these features, or where the type
/// of the service is another, an address that answers is all that is known.
///
/// # Errors
/// Why not, for operators. No password.
pub async fn ask<K>(binding: &Binding<K>) -> Result<(), String> {
    Asking::default().ask(binding).await
}

/// What the runs of one check have in common.
#[derive(Clone, Default)]
struct Asking {
    #[cfg(any(feature = "checks-postgresql", feature = "checks-redis"))]
    system: checks::System,
}

impl Asking {
    async fn ask<K>(&self, binding: &Binding<K>) -> Result<(), String> {
        match binding.kind() {
            #[cfg(feature = "checks-redis")]
            "redis" | "valkey" => {
                checks::redis(binding.as_kind()).knowing(&self.system).examine().await
            }
            #[cfg(feature = "checks-postgresql")]
            "postgresql" => {
                checks::postgresql(binding.as_kind()).knowing(&self.system).examine().await
            }
            _ => reach(binding.endpoints()).await,
        }
    }
}

/// Adds a shared health check called `name` that [asks](ask()) for what `look` says each time, and
/// shows it in `registry`, as kind `binding`. `None` is what is not attached: nothing is wrong with
/// it.
pub fn register<K, F>(name: impl Into<String>, health: &Health, registry: &Registry, look: F)
where
    K: 'static,
    F: Fn() -> Option<Binding<K>> + Send + Sync + 'static,
{
    let name = name.into();
    let shown = Arc::new(Shown { name: name.clone(), look });
    registry.register(&shown);
    let asking = Asking::default();
    // The check keeps it alive.
    health.check(name, CheckKind::Shared, move || {
        let (binding, asking) = ((shown.look)(), asking.clone());
        async move {
            match &binding {
                Some(binding) => asking.ask(binding).await,
                None => Ok(()),
            }
        }
    });
}

/// A binding as operators see it.
struct Shown<F> {
    name: String,
    look: F,
}

impl<K, F> Inspect for Shown<F>
where
    F: Fn() -> Option<Binding<K>> + Send + Sync,
{
    fn name(&self) -> &str {
        &self.name
    }

    fn kind(&self) -> &'static str {
        "binding"
    }

    fn status(&self) -> Value {
        let Some(summary) = (self.look)().map(|binding| binding.summary()) else {
            return Value::map([("attached", false.into())]);
        };
        let endpoints = summary.endpoints.iter().map(|endpoint| endpoint.to_string().into());
        let from = match &summary.name {
            Some(name) => format!("binding {name}"),
            None => "settings".to_owned(),
        };
        Value::map([
            ("attached", Value::from(true)),
            ("type", summary.kind.into()),
            ("provider", summary.provider.into()),
            ("from", from.into()),
            ("endpoints", Value::List(endpoints.collect())),
            ("url", summary.url.into()),
        ])
    }

    fn collect(&self, _: &mut dyn Sink) {}
}
