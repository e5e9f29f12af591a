//! The admin pages as their users see them: over real sockets in `sockets`, without in the others.
#![cfg(feature = "admin")]
#![allow(clippy::unwrap_used, reason = "in a helper too, it fails the test that called it")]

mod actions;
mod changes;
mod overrides;
mod pages;
mod probes;
mod sockets;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use octostack_core::admin::{Admin, AdminBuilder, AdminConfig};
use octostack_core::health::Health;
use octostack_core::inspect::{Control, Inspect, Mode, Patch, Problem, Registry, Sink, Value};
use octostack_core::lifecycle::{Lifecycle, LifecycleConfig};
use octostack_core::{Identity, SystemClock};
use serde_json::Value as Json;
use std::sync::{Arc, Mutex};
use tower_service::Service;

/// A policy with one setting: `limit`, a whole number above 0.
struct Limiter {
    name: &'static str,
    patch: Mutex<Option<Patch>>,
}

impl Inspect for Limiter {
    fn name(&self) -> &str {
        self.name
    }

    fn kind(&self) -> &'static str {
        "limiter"
    }

    fn status(&self) -> Value {
        let patch = self.patch.lock().unwrap().clone().unwrap_or_default();
        let limit = patch.settings.first().map_or(10_u64.into(), |s| s.1.clone());
        Value::map([
            ("mode", Value::from(patch.mode.unwrap_or_default().as_str())),
            ("settings", Value::map([("limit", limit)])),
        ])
    }

    fn collect(&self, _: &mut dyn Sink) {}

    fn abnormal(&self) -> Option<String> {
        let mode = self.patch.lock().unwrap().as_ref()?.mode?;
        (mode == Mode::ForcedOpen).then(|| "forced open".to_owned())
    }

    fn control(&self) -> Option<&dyn Control> {
        Some(self)
    }
}

impl Control for Limiter {
    fn check(&self, patch: &Patch) -> Result<(), Vec<Problem>> {
        let wrong = patch.settings.iter().filter_map(|(key, value)| match value {
            Value::Integer(1..) if key == "limit" => None,
            _ if key == "limit" => Some(Problem::new("settings.limit", "must be above 0")),
            _ => Some(Problem::new(format!("settings.{key}"), "no such setting")),
        });
        let problems: Vec<_> = wrong.collect();
        problems.is_empty().then_some(()).ok_or(problems)
    }

    fn set_override(&self, patch: Option<&Patch>) -> Result<(), Vec<Problem>> {
        patch.map_or(Ok(()), |patch| self.check(patch))?;
        *self.patch.lock().unwrap() = patch.cloned();
        Ok(())
    }
}

/// A service with one policy, `inventory.limit`.
struct Setup {
    registry: Registry,
    lifecycle: Lifecycle,
    health: Health,
    limiter: Arc<Limiter>,
}

impl Setup {
    fn new() -> Self {
        let registry = Registry::new();
        let lifecycle = Lifecycle::new(LifecycleConfig::default(), &registry);
        let health = Health::new(&registry);
        let limiter = limiter(&registry, "inventory.limit");
        Self { registry, lifecycle, health, limiter }
    }

    fn builder(&self) -> AdminBuilder {
        let identity = Identity::new("orders", "1.4.2").with_owner("team-shop");
        Admin::builder(&identity, &self.registry, &self.lifecycle, &self.health)
    }

    fn admin(&self) -> Admin {
        self.builder().build().unwrap()
    }

    /// With the tokens `w` and `r`, on an address that is not loopback.
    fn exposed(&self) -> Admin {
        let config = AdminConfig::new()
            .with_addr("0.0.0.0:8081".parse().unwrap())
            .with_token("w".to_owned())
            .with_read_token("r".to_owned());
        self.builder().config(config).build().unwrap()
    }

    fn mode(&self) -> Option<Mode> {
        self.limiter.patch.lock().unwrap().as_ref()?.mode
    }
}

fn limiter(registry: &Registry, name: &'static str) -> Arc<Limiter> {
    let limiter = Arc::new(Limiter { name, patch: Mutex::default() });
    registry.register(&limiter);
    limiter
}

/// What came back.
struct Answer {
    status: u16,
    head: http::response::Parts,
    text: String,
}

impl Answer {
    fn json(&self) -> Json {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("no JSON: {}", self.text))
    }

    fn header(&self, name: &str) -> &str {
        let value = self.head.headers.get(name);
        value.map_or("", |value| value.to_str().unwrap())
    }
}

/// Sends `"PUT /policyz/a"` with headers such as `("x-actor", "eve")`; `Host` is localhost.
async fn ask(admin: &Admin, line: &str, headers: &[(&str, &str)], body: &str) -> Answer {
    let (method, path) = line.split_once(' ').unwrap();
    let mut request = Request::builder().method(method).uri(path);
    if !headers.iter().any(|(name, _)| *name == "host") {
        request = request.header("host", "localhost:8081");
    }
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let body = Full::<Bytes>::from(body.to_owned());
    let response: Response<Full<Bytes>> =
        admin.clone().call(request.body(body).unwrap()).await.unwrap();
    let (head, body) = response.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    Answer { status: head.status.as_u16(), head, text: String::from_utf8(body.to_vec()).unwrap() }
}

async fn get(admin: &Admin, path: &str) -> Answer {
    ask(admin, &format!("GET {path}"), &[], "").await
}

const JSON: (&str, &str) = ("content-type", "application/json");

async fn put(admin: &Admin, name: &str, body: &str) -> Answer {
    ask(admin, &format!("PUT /policyz/{name}"), &[JSON], body).await
}
