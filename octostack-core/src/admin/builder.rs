use super::access::Setting;
use super::expiry::Expiry;
use super::page::{self, Page};
use super::{Access, Admin, AdminConfig, Shared, Tokens};
use crate::health::{Probe, Probes};
use crate::inspect::{Problem, Registry, Value};
use crate::{Clock, Dynamic, Identity, SystemClock};
use bytes::Bytes;
use http::Response;
use http::request::Parts;
use std::fmt;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

/// Describes the admin pages of a service; made by [`Admin::builder`].
///
/// Uptime counts from here, so make it early.
pub struct AdminBuilder {
    identity: Identity,
    registry: Registry,
    probes: Probes,
    config: AdminConfig,
    tokens: Option<Dynamic<Tokens>>,
    pages: Vec<Page>,
    generations: Vec<(String, Box<dyn Fn() -> u64 + Send + Sync>)>,
    started: Instant,
    started_at: SystemTime,
}

impl AdminBuilder {
    pub(super) fn new(identity: &Identity, registry: &Registry, probes: Probes) -> Self {
        Self {
            identity: identity.clone(),
            registry: registry.clone(),
            probes,
            config: AdminConfig::default(),
            tokens: None,
            pages: Vec::new(),
            generations: Vec::new(),
            started: SystemClock.now(),
            started_at: SystemTime::now(),
        }
    }

    /// Sets address and tokens; the default is `127.0.0.1:8081` without tokens.
    pub fn config(mut self, config: AdminConfig) -> Self {
        self.config = config;
        self
    }

    /// Takes the tokens from here instead of the config, so that they can change while it runs.
    pub fn tokens(mut self, tokens: Dynamic<Tokens>) -> Self {
        self.tokens = Some(tokens);
        self
    }

    /// Adds a page that is only read, with an answer of its own.
    ///
    /// `render` is called by the thread that serves the port: it must not wait for anything.
    pub fn page<F>(
        mut self,
        path: impl Into<String>,
        about: impl Into<String>,
        access: Access,
        render: F,
    ) -> Self
    where
        F: Fn(&Parts) -> Response<Bytes> + Send + Sync + 'static,
    {
        self.pages.push(Page {
            path: path.into(),
            about: about.into(),
            access,
            render: Box::new(render),
        });
        self
    }

    /// Adds a page that shows a status as JSON, for operators.
    pub fn status_page<F>(
        self,
        path: impl Into<String>,
        about: impl Into<String>,
        status: F,
    ) -> Self
    where
        F: Fn() -> Value + Send + Sync + 'static,
    {
        let render = move |_: &Parts| page::status(&status());
        self.page(path, about, Access::Operators, render)
    }

    /// Adds a generation number to `/statusz`, such as that of `config`.
    pub fn generation<F>(mut self, of: impl Into<String>, number: F) -> Self
    where
        F: Fn() -> u64 + Send + Sync + 'static,
    {
        self.generations.push((of.into(), Box::new(number)));
        self
    }

    /// Makes the service.
    ///
    /// # Errors
    /// Everything that is wrong with the config, and paths that no request could have or that are
    /// taken.
    pub fn build(self) -> Result<Admin, Vec<Problem>> {
        let mut problems = self.config.validate().err().unwrap_or_default();
        for (i, page) in self.pages.iter().enumerate() {
            let path = page.path.as_str();
            let own =
                matches!(path, "/" | "/statusz" | "/policyz") || path.starts_with("/policyz/");
            let taken = self.pages[..i].iter().any(|earlier| earlier.path == path);
            if own || taken || Probe::at(path).is_some() {
                problems.push(Problem::new(path, "there is a page of this path already"));
            }
            if !path.starts_with('/') || path.contains(['?', '#', ' ']) {
                let what = "a path starts with `/` and has neither `?`, `#` nor spaces";
                problems.push(Problem::new(path, what));
            }
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        let setting = Setting {
            loopback: self.config.addr.ip().is_loopback(),
            development: self.identity.environment == "development",
        };
        let tokens = self.tokens;
        let tokens = tokens.unwrap_or_else(|| Dynamic::new(self.config.tokens()));
        Ok(Admin {
            shared: Arc::new(Shared {
                expiry: Expiry::new(&self.registry),
                identity: self.identity,
                registry: self.registry,
                probes: self.probes,
                addr: self.config.addr,
                setting,
                tokens,
                pages: self.pages,
                generations: self.generations,
                started: self.started,
                started_at: self.started_at,
            }),
        })
    }
}

impl fmt::Debug for AdminBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AdminBuilder").field("config", &self.config).finish_non_exhaustive()
    }
}
