use super::access::Setting;
use super::action::{Action, Declined};
use super::expiry::Expiry;
use super::override_page::OverridePage;
use super::page::{self, Content, Page};
use super::{Access, Admin, AdminConfig, Shared, Tokens};
use crate::health::{Probe, Probes};
use crate::inspect::overrides::Actor;
use crate::inspect::{Problem, Registry, Value};
use crate::{Clock, Dynamic, Identity, SystemClock};
use bytes::Bytes;
use http::request::Parts;
use http::{Response, StatusCode};
use std::fmt;
use std::future::Future;
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
        let content = Content::Own(Box::new(render));
        self.pages.push(Page { path: path.into(), about: about.into(), access, content });
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

    /// Adds a page that shows a status as JSON to a question: `answer` gets the request, for its
    /// query. All that is wrong with that becomes 400.
    ///
    /// It is called by the thread that serves the port: it must not wait for anything.
    pub fn query_page<F>(self, path: impl Into<String>, about: impl Into<String>, answer: F) -> Self
    where
        F: Fn(&Parts) -> Result<Value, Vec<Problem>> + Send + Sync + 'static,
    {
        let render = move |parts: &Parts| match answer(parts) {
            Ok(value) => page::status(&value),
            Err(problems) => {
                let detail = format!("the query has no answer; problems: {}", problems.len());
                page::refusal(StatusCode::BAD_REQUEST, &detail, &problems)
            }
        };
        self.page(path, about, Access::Operators, render)
    }

    /// Adds something that operators can have done: `POST path`. Who may is decided as for
    /// changes on `/policyz`; a body is refused, as there is nothing to say.
    ///
    /// `act` gets who asks, and may wait: its future is a task of its own, which ends also if
    /// whoever asked has hung up. [`Declined`] becomes 409 with all its problems.
    ///
    /// ```
    /// # use octostack_core::admin::{Admin, Declined};
    /// # use octostack_core::health::Health;
    /// # use octostack_core::inspect::Value;
    /// # use octostack_core::lifecycle::{Lifecycle, LifecycleConfig};
    /// # use octostack_core::{Identity, Registry};
    /// # let registry = Registry::new();
    /// # let lifecycle = Lifecycle::new(LifecycleConfig::default(), &registry);
    /// # let health = Health::new(&registry);
    /// # let identity = Identity::new("orders", "1.0.0");
    /// let admin = Admin::builder(&identity, &registry, &lifecycle, &health)
    ///     .action("/cachez/clear", "empties the cache", |actor| async move {
    ///         println!("cleared by {actor}");
    ///         Ok(Value::map([("cleared", 17_u64.into())]))
    ///     })
    ///     .build();
    /// # assert!(admin.is_ok());
    /// ```
    pub fn action<F, Fut>(
        mut self,
        path: impl Into<String>,
        about: impl Into<String>,
        act: F,
    ) -> Self
    where
        F: Fn(Actor) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Value, Declined>> + Send + 'static,
    {
        let (path, about) = (path.into(), format!("POST: {}", about.into()));
        let content = Content::Action(Action::new(act));
        self.pages.push(Page { path, about, access: Access::Operators, content });
        self
    }

    /// Adds a page of what operators can change for a time: the items of the registry whose
    /// [`Control::target_kind`](crate::inspect::Control::target_kind) is `kind`.
    ///
    /// | method and path, with `path` = `/flagz` | answers |
    /// |---|---|
    /// | `GET /flagz` | what `show` says without a name, and all overrides of the kind |
    /// | `GET /flagz/{name}` | what `show` says of that name, and its override |
    /// | `PUT /flagz/{name}/override` | sets it, and answers as `GET /flagz/{name}` |
    /// | `DELETE /flagz/{name}/override` | ends it, and answers likewise, with `ended` |
    ///
    /// The body of a `PUT` is one object. `ttl` says for how long (1 h if it does not, at most
    /// 24 h); every other field is handed to the items as one of the settings of a
    /// [`Patch`](crate::inspect::Patch). A name is percent-encoded where it has to be, also each
    /// `/` in it. Who may is decided as for `/policyz`.
    ///
    /// `show` gets the name, decoded, or `None` for all, and the request, for its query. It
    /// answers `Ok(None)` where nothing has that name, which becomes 404, and all that is wrong
    /// with the query as `Err`, which becomes 400. After a change it is asked without a query. It
    /// is called by the thread that serves the port: it must not wait for anything. The entries
    /// `override` and `overrides` are put in by the page.
    ///
    /// ```
    /// # use octostack_core::admin::Admin;
    /// # use octostack_core::health::Health;
    /// # use octostack_core::inspect::Value;
    /// # use octostack_core::lifecycle::{Lifecycle, LifecycleConfig};
    /// # use octostack_core::{Identity, Registry};
    /// # let registry = Registry::new();
    /// # let lifecycle = Lifecycle::new(LifecycleConfig::default(), &registry);
    /// # let health = Health::new(&registry);
    /// # let identity = Identity::new("orders", "1.0.0");
    /// let admin = Admin::builder(&identity, &registry, &lifecycle, &health)
    ///     .override_page("/flagz", "the flags", "flag", |_, name| {
    ///         Ok(match name {
    ///             None => Some(Value::map([("flags", vec!["dark"].into())])),
    ///             Some("dark") => Some(Value::map([("name", Value::from("dark"))])),
    ///             Some(_) => None,
    ///         })
    ///     })
    ///     .build();
    /// # assert!(admin.is_ok());
    /// ```
    pub fn override_page<F>(
        mut self,
        path: impl Into<String>,
        about: impl Into<String>,
        kind: &'static str,
        show: F,
    ) -> Self
    where
        F: Fn(&Parts, Option<&str>) -> Result<Option<Value>, Vec<Problem>> + Send + Sync + 'static,
    {
        let path = path.into();
        let about = format!(
            "{}; {path}/{{name}} shows one, PUT {path}/{{name}}/override changes it",
            about.into()
        );
        let content = Content::Overrides(OverridePage { kind, show: Box::new(show) });
        self.pages.push(Page { path, about, access: Access::Operators, content });
        self
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
        problems.extend(paths(&self.pages));
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

/// What is wrong with the paths of pages, also between them.
fn paths(pages: &[Page]) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (i, page) in pages.iter().enumerate() {
        let path = page.path.as_str();
        let own = matches!(path, "/" | "/statusz" | "/policyz") || path.starts_with("/policyz/");
        let clashes = |other: &Page| other.rest(path).is_some() || page.rest(&other.path).is_some();
        if own || pages[..i].iter().any(clashes) || Probe::at(path).is_some() {
            problems.push(Problem::new(path, "there is a page of this path already"));
        }
        if !path.starts_with('/') || path.contains(['?', '#', ' ']) {
            let what = "a path starts with `/` and has neither `?`, `#` nor spaces";
            problems.push(Problem::new(path, what));
        }
        let has_more_below = matches!(page.content, Content::Overrides(_));
        if has_more_below && path.len() > 1 && path.ends_with('/') {
            problems.push(Problem::new(path, "a page with others below it has no `/` at its end"));
        }
    }
    problems
}

impl fmt::Debug for AdminBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AdminBuilder").field("config", &self.config).finish_non_exhaustive()
    }
}
