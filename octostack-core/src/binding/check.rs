//! Whether the service behind a binding can be reached.

use super::{Endpoint, Summary};
use crate::health::{CheckKind, Health};
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

/// Adds a shared health check called `name` that [reaches](reach) for what `look` says each time,
/// and shows it in `registry`, as kind `binding`. `None` is what is not attached: nothing is wrong
/// with it.
pub fn register<F>(name: impl Into<String>, health: &Health, registry: &Registry, look: F)
where
    F: Fn() -> Option<Summary> + Send + Sync + 'static,
{
    let name = name.into();
    let shown = Arc::new(Shown { name: name.clone(), look });
    registry.register(&shown);
    // The check keeps it alive.
    health.check(name, CheckKind::Shared, move || {
        let endpoints = (shown.look)().map(|summary| summary.endpoints);
        async move { reach(&endpoints.unwrap_or_default()).await }
    });
}

/// A binding as operators see it.
struct Shown<F> {
    name: String,
    look: F,
}

impl<F> Inspect for Shown<F>
where
    F: Fn() -> Option<Summary> + Send + Sync,
{
    fn name(&self) -> &str {
        &self.name
    }

    fn kind(&self) -> &'static str {
        "binding"
    }

    fn status(&self) -> Value {
        let Some(summary) = (self.look)() else {
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
