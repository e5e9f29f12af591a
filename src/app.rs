use crate::flag_file::{FlagContext, RequestContext};
use crate::{BoxError, Identity, Registry};
use octostack_core::binding::{self, Binding};
use octostack_core::dynamic::{Dynamic, Versioned};
use octostack_core::health::Health;
use octostack_core::lifecycle::{Lifecycle, Stop};
use octostack_flags::{Context, Flags};
use octostack_resilience::ChaosSwitch;
use octostack_telemetry::metrics::Metrics;
use std::fmt;
use std::future::Future;
use std::sync::Arc;

/// What a service is built from: its settings, and the parts that the framework runs for it.
///
/// The function given to [`Service::run`](crate::Service::run) receives it. Clones are cheap.
pub struct App<S> {
    parts: Arc<Parts<S>>,
}

struct Parts<S> {
    identity: Identity,
    settings: Dynamic<S>,
    registry: Registry,
    metrics: Metrics,
    lifecycle: Lifecycle,
    health: Health,
    chaos: bool,
    chaos_switch: ChaosSwitch,
    flags: Flags,
    flag_context: FlagContext,
}

impl<S> App<S> {
    pub(crate) fn new(identity: Identity, settings: Dynamic<S>, run: &crate::run::Runtime) -> Self {
        Self {
            parts: Arc::new(Parts {
                identity,
                settings,
                registry: run.registry.clone(),
                metrics: run.metrics.clone(),
                lifecycle: run.lifecycle.clone(),
                health: run.health.clone(),
                chaos: run.chaos,
                chaos_switch: ChaosSwitch::new(&run.registry),
                flags: run.flags.clone(),
                flag_context: FlagContext::default(),
            }),
        }
    }

    /// The settings: one generation, whole. Ask once a request and keep the answer.
    pub fn settings(&self) -> Arc<Versioned<S>> {
        self.parts.settings.load()
    }

    /// The settings as a value that follows reloads.
    pub fn dynamic(&self) -> &Dynamic<S> {
        &self.parts.settings
    }

    /// Who this service is.
    pub fn identity(&self) -> &Identity {
        &self.parts.identity
    }

    /// Where policies and whatever else is to be seen on the admin port register.
    pub fn registry(&self) -> &Registry {
        &self.parts.registry
    }

    /// Metrics of your own, served beside those of the framework.
    pub fn metrics(&self) -> &Metrics {
        &self.parts.metrics
    }

    /// Health checks of your own.
    pub fn health(&self) -> &Health {
        &self.parts.health
    }

    /// Watches a backing service: a shared health check called `name` that opens a connection to
    /// it, which reads the settings each time and so follows a reload; and its address, without
    /// the password, on `/statusz`.
    ///
    /// ```
    /// # use octostack::prelude::*;
    /// use octostack::binding::{Binding, Postgresql};
    ///
    /// # #[derive(Serialize, Deserialize, JsonSchema)]
    /// struct Settings {
    ///     /// Where orders are kept.
    ///     database: Binding<Postgresql>,
    /// }
    ///
    /// # fn build(app: &App<Settings>) {
    /// app.binding("database", |settings| &settings.database);
    /// # }
    /// ```
    pub fn binding<K, F>(&self, name: impl Into<String>, field: F)
    where
        S: Send + Sync + 'static,
        F: Fn(&S) -> &Binding<K> + Send + Sync + 'static,
        K: 'static,
    {
        self.optional_binding(name, move |settings| Some(field(settings)));
    }

    /// As [`binding`](Self::binding), for a service that need not be attached. While it is not,
    /// the check passes.
    pub fn optional_binding<K, F>(&self, name: impl Into<String>, field: F)
    where
        S: Send + Sync + 'static,
        F: Fn(&S) -> Option<&Binding<K>> + Send + Sync + 'static,
        K: 'static,
    {
        let settings = self.parts.settings.clone();
        let look = move || field(&settings.load()).map(Binding::summary);
        binding::register(name, &self.parts.health, &self.parts.registry, look);
    }

    /// The feature flags, for flags that the code does not declare. Declared ones are read where
    /// they are needed: `if RECOMMENDATIONS.is_on()`.
    pub fn flags(&self) -> &Flags {
        &self.parts.flags
    }

    /// Says for whom the flags of a request are evaluated: a user id, a plan, a country. Without
    /// it rules see no targeting key and no attributes. For all routes; the last call holds, of
    /// those that are made while the service is built.
    ///
    /// ```
    /// # use octostack::prelude::*;
    /// use octostack::flags::Context;
    ///
    /// # fn build(app: &App<()>) {
    /// app.flag_context(|request| match request.headers.get("x-user") {
    ///     Some(user) => Context::new().with_targeting_key(String::from_utf8_lossy(user.as_bytes()).into_owned()),
    ///     None => Context::new(),
    /// });
    /// # }
    /// ```
    ///
    /// What comes with a request was said by a client. A handler that knows better says so with
    /// [`set_targeting_key`](octostack_flags::set_targeting_key).
    pub fn flag_context<F>(&self, context: F)
    where
        F: Fn(&http::request::Parts) -> Context + Send + Sync + 'static,
    {
        self.parts.flag_context.set(context);
    }

    pub(crate) fn context_of_requests(&self) -> RequestContext {
        self.parts.flag_context.of_requests()
    }

    /// Phases, background tasks and what is to be closed at the end.
    pub fn lifecycle(&self) -> &Lifecycle {
        &self.parts.lifecycle
    }

    /// Says when long-lived responses are to end: an event stream selects on
    /// [`Step::Drain`](octostack_core::lifecycle::Step::Drain).
    pub fn stop(&self) -> Stop {
        self.parts.lifecycle.stop()
    }

    /// Runs a task in the background until requests have drained; see [`Lifecycle::spawn`].
    pub fn spawn<F, Fut>(&self, name: impl Into<String>, task: F)
    where
        F: FnOnce(Stop) -> Fut,
        Fut: Future<Output = ()> + Send + 'static,
    {
        self.parts.lifecycle.spawn(name, task);
    }

    /// Closes a resource at the end, the last one first; see [`Lifecycle::on_close`].
    pub fn on_close<F, Fut>(&self, name: impl Into<String>, close: F)
    where
        F: FnOnce() -> Fut + Send + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        self.parts.lifecycle.on_close(name, close);
    }

    /// Whether faults may be injected on purpose (`chaos.enabled`): for chaos policies of your own.
    pub fn chaos_enabled(&self) -> bool {
        self.parts.chaos
    }

    /// The switch that stops all chaos of the service (`PUT /policyz/chaos`): for chaos policies of
    /// your own, and for code that knows when it is enough.
    pub fn chaos_switch(&self) -> &ChaosSwitch {
        &self.parts.chaos_switch
    }
}

impl<S> Clone for App<S> {
    fn clone(&self) -> Self {
        Self { parts: self.parts.clone() }
    }
}

/// Settings may hold what is not to be printed, so they are not.
impl<S> fmt::Debug for App<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("App")
            .field("identity", &self.parts.identity)
            .field("generation", &self.parts.settings.generation())
            .finish_non_exhaustive()
    }
}

/// What the function that builds a service returns.
pub type Result<T, E = BoxError> = std::result::Result<T, E>;
