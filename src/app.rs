use crate::flag_file::{FlagContext, RequestContext};
use crate::framework::Framework;
use crate::live::{self, Change};
use crate::reload::Config;
use crate::synthetic::Synthetics;
use crate::{BoxError, Identity, Registry};
use axum::extract::FromRef;
use octostack_core::config::live::Commit;
use octostack_core::dynamic::{Dynamic, Versioned};
use octostack_core::health::Health;
use octostack_core::inspect::Problem;
use octostack_core::lifecycle::{Lifecycle, Shutdown, Stop};
use octostack_core::secret::SettingsSecrets;
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
    config: Config<S>,
    registry: Registry,
    metrics: Metrics,
    lifecycle: Lifecycle,
    health: Health,
    chaos_switch: ChaosSwitch,
    flags: Flags,
    flag_context: FlagContext,
    secrets: Arc<SettingsSecrets>,
    synthetics: Synthetics,
}

impl<S> App<S> {
    pub(crate) fn new(identity: Identity, config: &Config<S>, run: &crate::run::Runtime) -> Self {
        let chaos_switch = ChaosSwitch::new(&run.registry).with_enabled(run.chaos);
        let app = Self {
            parts: Arc::new(Parts {
                identity,
                config: config.clone(),
                registry: run.registry.clone(),
                metrics: run.metrics.clone(),
                lifecycle: run.lifecycle.clone(),
                health: run.health.clone(),
                chaos_switch,
                flags: run.flags.clone(),
                flag_context: FlagContext::default(),
                secrets: run.secrets.clone(),
                synthetics: Synthetics::default(),
            }),
        };
        // Before all policies, so that these are told after it.
        let switch = app.chaos_switch().clone();
        app.follow("chaos", move |new, _| {
            let (switch, enabled) = (switch.clone(), new.chaos.enabled);
            Ok(Commit::new(move || switch.set_enabled(enabled)))
        });
        app
    }

    /// The settings: one generation, whole. Ask once a request and keep the answer.
    pub fn settings(&self) -> Arc<Versioned<S>> {
        self.parts.config.settings().load()
    }

    /// The settings as a value that follows reloads.
    pub fn dynamic(&self) -> &Dynamic<S> {
        self.parts.config.settings()
    }

    /// Follows reloads of the config with something of your own, such as a pool of connections.
    ///
    /// `prepare` is called for each reload, with the settings in force and those that are to be.
    /// It gets ready whatever can fail, and returns what is to be done once everybody agrees, or
    /// objects: the reload is then refused with its reason, and the settings stay as they are.
    /// Keys of its problems are relative to `section`, where the settings are that it follows.
    ///
    /// Only what lasts needs this. Code that asks [`settings`](Self::settings) once a request sees
    /// a reload anyway.
    ///
    /// ```
    /// # use octostack::prelude::*;
    /// # use octostack::{Commit, Problem};
    /// # use std::sync::Arc;
    /// # use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
    /// # #[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
    /// # #[serde(default)]
    /// # struct Settings { pool: PoolSettings }
    /// # #[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
    /// # #[serde(default)]
    /// # struct PoolSettings { size: usize }
    /// # struct Pool { size: AtomicUsize }
    /// # impl Pool {
    /// #     const MOST: usize = 50;
    /// #     fn resize(&self, size: usize) { self.size.store(size, Relaxed) }
    /// # }
    /// # fn build(app: &App<Settings>, pool: Arc<Pool>) {
    /// app.on_reload("pool", move |change| {
    ///     if !change.differs(|settings| &settings.pool) {
    ///         return Ok(Commit::nothing());
    ///     }
    ///     let (pool, size) = (pool.clone(), change.new.pool.size);
    ///     if size > Pool::MOST {
    ///         return Err(Problem::new("size", format!("{size} is more than {}", Pool::MOST)));
    ///     }
    ///     Ok(Commit::new(move || pool.resize(size)))
    /// });
    /// # }
    /// ```
    pub fn on_reload<F>(&self, section: &str, prepare: F)
    where
        F: Fn(Change<'_, S>) -> std::result::Result<Commit, Problem> + Send + Sync + 'static,
    {
        let within = section.to_owned();
        self.parts.config.on_reload(section, move |change| {
            let (old, new) = (change.old.settings, change.new.settings);
            prepare(Change { old, new }).map_err(|problem| vec![live::within(&within, problem)])
        });
    }

    /// As [`on_reload`](Self::on_reload), for what follows the framework's sections too. Keys of
    /// problems are relative to `section`.
    pub(crate) fn follow<P>(&self, section: &str, prepare: P)
    where
        P: Fn(&Framework, &S) -> std::result::Result<Commit, Vec<Problem>> + Send + Sync + 'static,
    {
        let within = section.to_owned();
        self.parts.config.on_reload(section, move |change| {
            prepare(change.new.framework, change.new.settings).map_err(|problems| {
                problems.into_iter().map(|problem| live::within(&within, problem)).collect()
            })
        });
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

    pub(crate) fn settings_secrets(&self) -> &SettingsSecrets {
        &self.parts.secrets
    }

    pub(crate) fn synthetics(&self) -> &Synthetics {
        &self.parts.synthetics
    }

    /// Phases, background tasks and what is to be closed at the end.
    pub fn lifecycle(&self) -> &Lifecycle {
        &self.parts.lifecycle
    }

    /// Tells streams, long polls and the like when they are to end.
    ///
    /// A handler whose state is the [`App`] can ask for it as `State<Shutdown>`.
    ///
    /// ```
    /// # use octostack::prelude::*;
    /// use octostack::Shutdown;
    ///
    /// # async fn build(app: App<()>) -> Result<Router> {
    /// Ok(Router::new().route("/next", get(next)).with_state(app))
    /// # }
    ///
    /// /// A long poll: what comes next, or 204 when this instance ends.
    /// async fn next(State(shutdown): State<Shutdown>) -> Response {
    /// #   let queue = || std::future::pending::<String>();
    ///     match shutdown.until(queue()).await {
    ///         Some(message) => message.into_response(),
    ///         None => StatusCode::NO_CONTENT.into_response(),
    ///     }
    /// }
    /// ```
    pub fn shutdown_token(&self) -> Shutdown {
        self.parts.lifecycle.shutdown_token()
    }

    /// How far the end has come, step by step; for what lasts long
    /// [`shutdown_token`](Self::shutdown_token) is handier.
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

    /// Whether faults may be injected on purpose (`chaos.enabled`), at the moment.
    pub fn chaos_enabled(&self) -> bool {
        self.parts.chaos_switch.is_enabled()
    }

    /// The switch that stops all chaos of the service (`PUT /policyz/chaos`): for chaos policies of
    /// your own, and for code that knows when it is enough.
    ///
    /// It also follows `chaos.enabled`: a policy that is built with
    /// `.enabled(true).switch(app.chaos_switch())` may inject while the config allows it.
    pub fn chaos_switch(&self) -> &ChaosSwitch {
        &self.parts.chaos_switch
    }
}

/// So that a handler can take `State<Shutdown>`.
impl<S> FromRef<App<S>> for Shutdown {
    fn from_ref(app: &App<S>) -> Self {
        app.shutdown_token()
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
            .field("generation", &self.parts.config.settings().generation())
            .finish_non_exhaustive()
    }
}

/// What the function that builds a service returns.
pub type Result<T, E = BoxError> = std::result::Result<T, E>;

#[cfg(test)]
pub(crate) mod testing {
    use super::App;
    use crate::reload::{Config, Settings};
    use crate::run::Runtime;
    use crate::{Identity, Registry};
    use octostack_core::config::Loader;
    use octostack_core::config::live::{Live, Trigger};
    use octostack_core::health::Health;
    use octostack_core::lifecycle::{Lifecycle, LifecycleConfig};
    use octostack_core::secret::SettingsSecrets;
    use octostack_flags::Flags;
    use octostack_telemetry::metrics::Metrics;
    use serde_json::Value as Json;
    use std::path::PathBuf;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

    /// The config of a service, in a file of its own.
    pub(crate) struct Source<S> {
        dir: PathBuf,
        config: Config<S>,
    }

    impl<S: Settings> Source<S> {
        pub(crate) const fn config(&self) -> &Config<S> {
            &self.config
        }

        /// Writes the file anew and loads it, or says what is wrong.
        pub(crate) fn reload(&self, config: &Json) -> Result<(), Vec<String>> {
            std::fs::write(self.dir.join("default.json"), config.to_string()).unwrap();
            let reloaded = self.config.reload(Trigger::Code).map(drop);
            reloaded.map_err(|refused| refused.problems.iter().map(ToString::to_string).collect())
        }
    }

    impl<S> Drop for Source<S> {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.dir);
        }
    }

    /// A service called `test` with a registry of its own, in which nothing runs yet.
    pub(crate) fn app<S: Settings>(config: &Json) -> (App<S>, Source<S>) {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("octostack-{}-{}", std::process::id(), NEXT.fetch_add(1, Relaxed));
        let dir = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&dir).unwrap();
        std::fs::write(dir.join("default.json"), config.to_string()).unwrap();
        let loader = Loader::new("TEST_").file(dir.join("default.json"));
        let config = Live::start(loader, |_, _| Vec::new()).unwrap();
        let app = App::new(Identity::new("test", "1.0.0"), &config, &runtime());
        (app, Source { dir, config })
    }

    /// The parts of a service with a registry of its own.
    pub(crate) fn runtime() -> Runtime {
        let registry = Registry::new();
        Runtime {
            metrics: Metrics::builder().registry(&registry).build(),
            lifecycle: Lifecycle::new(LifecycleConfig::default(), &registry),
            health: Health::new(&registry),
            chaos: false,
            flags: Flags::builder().registry(&registry).build(),
            secrets: Arc::new(SettingsSecrets::new("test", &registry)),
            filter: None,
            registry,
        }
    }
}
