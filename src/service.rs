use crate::flag_file::FlagFile;
use crate::framework::Framework;
use crate::reload::{Config, Settings};
use crate::starting::{self, Start};
use crate::{
    AdminTasks, App, BoxError, Identity, NoRules, NoTasks, Problem, Registry, Rules, RulesFor,
    remotes, rules, run,
};
use axum::Router;
use octostack_core::config::Loader;
use octostack_core::config::live::Live;
use octostack_core::config::remote::Remote;
use octostack_core::secret::provider::SecretProvider;
use octostack_core::secret::{EnvProvider, SettingsSecrets};
use schemars::JsonSchema;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt;
use std::future::Future;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

/// Bad config, as in `sysexits.h`.
pub(crate) const EX_CONFIG: u8 = 78;

/// A service about to run; made by [`service!`](crate::service).
#[derive(Clone)]
#[must_use = "a service does nothing until it runs"]
pub struct Service<R = NoRules, T = NoTasks> {
    pub(crate) identity: Identity,
    config_dir: Option<PathBuf>,
    remotes: Vec<Remote>,
    providers: Vec<Arc<dyn SecretProvider>>,
    rules: R,
    pub(crate) tasks: T,
}

/// What a service begins with: everything that its sources say.
pub(crate) struct Loaded<S> {
    pub(crate) config: Config<S>,
    pub(crate) flag_file: FlagFile,
    pub(crate) secrets: Arc<SettingsSecrets>,
}

impl Service {
    /// A service with the given identity.
    pub const fn new(identity: Identity) -> Self {
        Self {
            identity,
            config_dir: None,
            remotes: Vec::new(),
            providers: Vec::new(),
            rules: NoRules,
            tasks: NoTasks,
        }
    }
}

impl<T> Service<NoRules, T> {
    /// Checks settings beyond their types: what no single value shows. The rule returns everything
    /// that is wrong, each with its full key, so that the report names its place too.
    ///
    /// It is asked by `check`, at the start and at each reload, which is refused if something is
    /// wrong. It sees settings whose types are right, and should depend on them alone. More than one
    /// can be given, for settings of the same type.
    ///
    /// ```no_run
    /// use octostack::Problem;
    /// use octostack::prelude::*;
    ///
    /// #[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
    /// #[serde(default)]
    /// struct Settings {
    ///     /// Connections that are always open.
    ///     least: usize,
    ///     /// The most connections.
    ///     most: usize,
    /// }
    ///
    /// fn pool_fits(settings: &Settings) -> Vec<Problem> {
    ///     if settings.least <= settings.most {
    ///         return Vec::new();
    ///     }
    ///     let Settings { least, most } = settings;
    ///     vec![Problem::new("least", format!("{least} is more than `most`, which is {most}"))]
    /// }
    ///
    /// # async fn build(app: App<Settings>) -> Result<Router> { Ok(Router::new()) }
    /// fn main() -> ExitCode {
    ///     octostack::service!().validate(pool_fits).run(build)
    /// }
    /// ```
    ///
    /// Rules for other settings than the service has do not compile:
    ///
    /// ```compile_fail,E0631
    /// # use octostack::prelude::*;
    /// # async fn build(app: App<()>) -> Result<Router> { Ok(Router::new()) }
    /// octostack::service!().validate(|number: &u32| Vec::new()).run(build);
    /// ```
    pub fn validate<S, F>(self, rule: F) -> Service<RulesFor<S>, T>
    where
        F: Fn(&S) -> Vec<Problem> + Send + Sync + 'static,
    {
        self.with_rules(|NoRules| RulesFor::new(rule))
    }
}

impl<S, T> Service<RulesFor<S>, T> {
    /// One more rule; see [`Service::validate`].
    pub fn validate<F>(mut self, rule: F) -> Self
    where
        F: Fn(&S) -> Vec<Problem> + Send + Sync + 'static,
    {
        self.rules = self.rules.and(rule);
        self
    }
}

impl<R, T> Service<R, T> {
    fn with_rules<Q>(self, rules: impl FnOnce(R) -> Q) -> Service<Q, T> {
        Service {
            identity: self.identity,
            config_dir: self.config_dir,
            remotes: self.remotes,
            providers: self.providers,
            rules: rules(self.rules),
            tasks: self.tasks,
        }
    }

    /// The same with other tasks.
    #[cfg(feature = "cli")]
    pub(crate) fn with_tasks<U>(self, tasks: impl FnOnce(T) -> U) -> Service<R, U> {
        Service {
            identity: self.identity,
            config_dir: self.config_dir,
            remotes: self.remotes,
            providers: self.providers,
            rules: self.rules,
            tasks: tasks(self.tasks),
        }
    }

    /// Sets who owns the service.
    pub fn owner(mut self, owner: impl Into<String>) -> Self {
        self.identity = self.identity.with_owner(owner);
        self
    }

    /// Sets where its runbook is.
    pub fn runbook(mut self, address: impl Into<String>) -> Self {
        self.identity = self.identity.with_runbook(address);
        self
    }

    /// Sets the commit that it was built from.
    pub fn commit(mut self, commit: impl Into<String>) -> Self {
        self.identity = self.identity.with_commit(commit);
        self
    }

    /// Where the config directory is if nobody says so and there is no `./config`.
    /// [`service!`](crate::service) sets it in debug builds, to `config/` beside the package's
    /// Cargo.toml.
    pub fn fallback_config_dir(mut self, dir: impl Into<PathBuf>) -> Self {
        self.config_dir = Some(dir.into());
        self
    }

    /// Adds settings from a source of your own, above config files and below the environment: see
    /// [`remote`](octostack_core::config::remote). It is asked before the service starts, and
    /// followed while it runs.
    ///
    /// With feature `config-http` a document at an address needs no code: `--config https://…`, or
    /// the variable `CONFIG_URL`.
    pub fn remote(mut self, remote: &Remote) -> Self {
        self.remotes.push(remote.clone());
        self
    }

    /// Adds a store of secrets of your own: references with its
    /// [scheme](SecretProvider::scheme) in the place of a secret are followed by it. It replaces one
    /// of the same scheme.
    ///
    /// Variables, files and credentials of systemd need no code (`env://`, `file://`, `cred://`),
    /// nor with feature `vault` does Vault.
    pub fn secret_provider(mut self, provider: impl SecretProvider) -> Self {
        self.providers.push(Arc::new(provider));
        self
    }

    /// Does what the command line says: serves what `build` makes, checks the config, runs an admin
    /// task. Without
    /// feature `cli` it serves.
    ///
    /// `build` runs once the settings are loaded and the admin port answers; the service is ready
    /// when it has returned. The exit code is the process's; `main` returns it.
    ///
    /// If `build` fails, the process ends with 1; with 78 if the error is, or has as a source, a
    /// [`Problem`] or a [`SettingsError`](octostack_resilience::SettingsError): those blame the
    /// settings.
    pub fn run<S, F, Fut>(self, build: F) -> ExitCode
    where
        S: Serialize + DeserializeOwned + JsonSchema + Send + Sync + 'static,
        F: FnOnce(App<S>) -> Fut,
        Fut: Future<Output = Result<Router, BoxError>>,
        R: Rules<S>,
        T: AdminTasks<S>,
    {
        #[cfg(feature = "cli")]
        return self.obey(build);
        #[cfg(not(feature = "cli"))]
        self.serve(build, |loader| loader, &[])
    }

    pub(crate) fn serve<S, F, Fut>(
        self,
        build: F,
        configure: impl FnOnce(Loader) -> Loader,
        urls: &[String],
    ) -> ExitCode
    where
        S: Settings,
        F: FnOnce(App<S>) -> Fut,
        Fut: Future<Output = Result<Router, BoxError>>,
        R: Rules<S>,
        T: AdminTasks<S>,
    {
        let identity = self.identity.clone();
        match self.begin(configure, urls) {
            Ok(Start::Loaded(all, signals)) => run::run(identity, all, signals, build),
            Ok(Start::Ended(_)) => ExitCode::SUCCESS,
            Err(code) => code,
        }
    }

    /// Loads everything, unless a signal ends the process before. What is wrong is said.
    pub(crate) fn begin<S: Settings>(
        self,
        configure: impl FnOnce(Loader) -> Loader,
        urls: &[String],
    ) -> Result<Start<Loaded<S>>, ExitCode>
    where
        R: Rules<S>,
        T: AdminTasks<S>,
    {
        let name = self.identity.name.clone();
        let (loader, urls) = (self.loader(configure), urls.to_vec());
        match starting::unless_ended(move || self.load_from(loader, &urls, true)) {
            Ok(Start::Loaded(all, signals)) => Ok(Start::Loaded(all?, signals)),
            Ok(Start::Ended(signal)) => {
                say_wrong(&format!("{name}: {signal} while the config was loaded"));
                Ok(Start::Ended(signal))
            }
            Err(error) => {
                say_wrong(&format!("{name}: the config cannot be loaded: {error}"));
                Err(ExitCode::FAILURE)
            }
        }
    }

    /// What reads the settings of this process.
    pub(crate) fn loader(&self, configure: impl FnOnce(Loader) -> Loader) -> Loader {
        let loader = Loader::new(self.identity.env_prefix()).process_environment().dotenv(".env");
        let loader = configure(Framework::known_to(loader));
        match &self.config_dir {
            Some(dir) => loader.fallback_dir(dir),
            None => loader,
        }
    }

    /// Loads the config and the flags; what is wrong is said on standard error.
    #[cfg(feature = "cli")]
    pub(crate) fn load<S: Settings>(
        &self,
        configure: impl FnOnce(Loader) -> Loader,
        urls: &[String],
        record: bool,
    ) -> Result<Loaded<S>, ExitCode>
    where
        R: Rules<S>,
    {
        self.load_from(self.loader(configure), urls, record)
    }

    fn load_from<S: Settings>(
        &self,
        loader: Loader,
        urls: &[String],
        record: bool,
    ) -> Result<Loaded<S>, ExitCode>
    where
        R: Rules<S>,
    {
        let (config, secrets) = self.load_config(loader, urls, record)?;
        let flag_file = FlagFile::load(&config.framework().flags, &config.report());
        let flag_file = flag_file.map_err(|error| self.wrong(&error))?;
        Ok(Loaded { config, flag_file, secrets })
    }

    /// Loads the config alone.
    pub(crate) fn load_config<S: Settings>(
        &self,
        loader: Loader,
        urls: &[String],
        record: bool,
    ) -> Result<(Config<S>, Arc<SettingsSecrets>), ExitCode>
    where
        R: Rules<S>,
    {
        let loader =
            remotes::add(loader, urls, &self.remotes).map_err(|error| self.wrong(&error))?;
        let secrets = self.secrets(&loader, record);
        let loader = loader.secrets(secrets.clone());
        let rules = self.rules.clone();
        let config = Live::start(loader, move |framework: &Framework, settings: &S| {
            rules::problems(framework, settings, &rules)
        });
        Ok((config.map_err(|errors| self.wrong(&errors))?, secrets))
    }

    /// What follows references to secrets, and keeps the record of that if it is to.
    fn secrets(&self, loader: &Loader, record: bool) -> Arc<SettingsSecrets> {
        let variables = EnvProvider::of(loader.variables());
        let secrets = SettingsSecrets::new(&self.identity.name, Registry::global());
        let secrets = secrets.with_environment(variables);
        let secrets = if record { secrets.with_record(&self.identity.instance) } else { secrets };
        let providers = self.providers.iter().cloned();
        Arc::new(providers.fold(secrets, SettingsSecrets::with_provider))
    }

    /// Says that the config is wrong.
    pub(crate) fn wrong(&self, what: &dyn fmt::Display) -> ExitCode {
        say_wrong(&format!("{}: {what}", self.identity.name));
        ExitCode::from(EX_CONFIG)
    }
}

impl<R: fmt::Debug, T: fmt::Debug> fmt::Debug for Service<R, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let schemes: Vec<_> = self.providers.iter().map(|provider| provider.scheme()).collect();
        f.debug_struct("Service")
            .field("identity", &self.identity)
            .field("config_dir", &self.config_dir)
            .field("remotes", &self.remotes)
            .field("secret_providers", &schemes)
            .field("rules", &self.rules)
            .field("tasks", &self.tasks)
            .finish()
    }
}

/// What is wrong is said on standard error, as no log is set up yet.
pub(crate) fn say_wrong(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}
