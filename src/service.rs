#[cfg(feature = "cli")]
use crate::cli::{self, Arguments, Command};
#[cfg(feature = "cli")]
use crate::contract::check::{Check, Unreadable, manifests};
#[cfg(feature = "cli")]
use crate::contract::{Contract, Verdict};
#[cfg(feature = "cli")]
use crate::explain;
use crate::flag_file::FlagFile;
use crate::framework::Framework;
use crate::reload::{Config, Settings};
use crate::{App, BoxError, Identity, NoRules, Problem, Rules, RulesFor, remotes, rules, run};
use axum::Router;
use octostack_core::config::Loader;
use octostack_core::config::live::Live;
use octostack_core::config::remote::Remote;
use schemars::JsonSchema;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::future::Future;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

/// Bad usage, as in `sysexits.h`.
#[cfg(feature = "cli")]
const EX_USAGE: u8 = 64;

/// Bad config, as in `sysexits.h`.
pub(crate) const EX_CONFIG: u8 = 78;

/// A service about to run; made by [`service!`](crate::service).
#[derive(Clone, Debug)]
#[must_use = "a service does nothing until it runs"]
pub struct Service<R = NoRules> {
    identity: Identity,
    config_dir: Option<PathBuf>,
    remotes: Vec<Remote>,
    rules: R,
}

impl Service {
    /// A service with the given identity.
    pub const fn new(identity: Identity) -> Self {
        Self { identity, config_dir: None, remotes: Vec::new(), rules: NoRules }
    }

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
    pub fn validate<S, F>(self, rule: F) -> Service<RulesFor<S>>
    where
        F: Fn(&S) -> Vec<Problem> + Send + Sync + 'static,
    {
        let Self { identity, config_dir, remotes, rules: NoRules } = self;
        Service { identity, config_dir, remotes, rules: RulesFor::new(rule) }
    }
}

impl<S> Service<RulesFor<S>> {
    /// One more rule; see [`Service::validate`].
    pub fn validate<F>(mut self, rule: F) -> Self
    where
        F: Fn(&S) -> Vec<Problem> + Send + Sync + 'static,
    {
        self.rules = self.rules.and(rule);
        self
    }
}

impl<R> Service<R> {
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

    /// Does what the command line says: serves what `build` makes, or checks the config. Without
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
    {
        #[cfg(feature = "cli")]
        return self.obey(build);
        #[cfg(not(feature = "cli"))]
        self.serve(build, |loader| loader, &[])
    }

    #[cfg(feature = "cli")]
    fn obey<S, F, Fut>(self, build: F) -> ExitCode
    where
        S: Settings,
        F: FnOnce(App<S>) -> Fut,
        Fut: Future<Output = Result<Router, BoxError>>,
        R: Rules<S>,
    {
        let arguments = match Arguments::parse(std::env::args_os().skip(1)) {
            Ok(arguments) => arguments,
            Err(error) => {
                say_wrong(&format!("{}: {error}", self.identity.name));
                return ExitCode::from(EX_USAGE);
            }
        };
        match arguments.command {
            Command::Help => say(&cli::help(&self.identity)),
            Command::Version => say(&format!("{} {}", self.identity.name, self.identity.version)),
            Command::Check => {
                match self.load::<S>(|loader| arguments.configure(loader), &arguments.urls) {
                    Ok((config, flag_file)) => {
                        let warnings = config.warnings();
                        let warnings = warnings.iter().chain(flag_file.warnings());
                        warnings.for_each(|warning| say_wrong(warning));
                        if let Some(problems) = flag_file.broken() {
                            say_wrong(&format!("{}: {problems}", self.identity.name));
                            return ExitCode::from(EX_CONFIG);
                        }
                        say(&summary(&config, &flag_file));
                    }
                    Err(code) => return code,
                }
            }
            Command::Config(part) => return self.explain::<S>(&arguments, part),
            Command::Contract(format) => match self.contract::<S>(&arguments) {
                Ok(contract) => say(contract.render(format).trim_end()),
                Err(code) => return code,
            },
            Command::ContractCheck => return self.check_manifests::<S>(&arguments),
            Command::Run => {
                return self.serve(build, |loader| arguments.configure(loader), &arguments.urls);
            }
        }
        ExitCode::SUCCESS
    }

    fn serve<S, F, Fut>(
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
    {
        match self.load(configure, urls) {
            Ok((config, flag_file)) => run::run(self.identity, config, flag_file, build),
            Err(code) => code,
        }
    }

    /// Prints settings, or what can be set.
    #[cfg(feature = "cli")]
    fn explain<S: Settings>(&self, arguments: &Arguments, part: cli::Settings) -> ExitCode
    where
        R: Rules<S>,
    {
        let name = &self.identity.name;
        let loader = self.loader(|loader| arguments.configure(loader));
        let (in_columns, key) = (part == cli::Settings::InEffect, arguments.key.as_deref());
        let said = match part {
            cli::Settings::InEffect | cli::Settings::Json => {
                let config = match self.load_config::<S>(loader, &arguments.urls) {
                    Ok(config) => config,
                    Err(code) => return code,
                };
                match explain::select(&config.report(), key) {
                    Ok(settings) if in_columns => Ok(explain::columns(&settings)),
                    Ok(settings) => Ok(explain::json(&settings)),
                    Err(unknown) => {
                        say_wrong(&format!("{name}: {unknown}"));
                        return ExitCode::from(EX_USAGE);
                    }
                }
            }
            cli::Settings::Docs => loader
                .reference::<Framework, S>()
                .map(|reference| explain::markdown(name, &reference)),
            cli::Settings::Schema => {
                Ok(explain::pretty(&loader.json_schema::<Framework, S>().to_string()))
            }
            cli::Settings::Default => loader.default_file::<Framework, S>(),
        };
        match said {
            Ok(text) => {
                say(text.trim_end());
                ExitCode::SUCCESS
            }
            Err(errors) => {
                say_wrong(&format!("{name}: {errors}"));
                ExitCode::from(EX_CONFIG)
            }
        }
    }

    /// What the service needs and offers, as far as that depends on the config as it is configured
    /// here. What is wrong with it is for `check` to say.
    #[cfg(feature = "cli")]
    fn contract<S: Settings>(&self, arguments: &Arguments) -> Result<Contract, ExitCode> {
        let verdict = Verdict::of::<S>(&self.loader(|loader| arguments.configure(loader)));
        let contract = Contract::of::<S>(&self.identity, &verdict.framework);
        contract.map_err(|errors| self.wrong(&errors))
    }

    #[cfg(feature = "cli")]
    fn check_manifests<S: Settings>(&self, arguments: &Arguments) -> ExitCode {
        let contract = match Contract::of::<S>(&self.identity, &Framework::default()) {
            Ok(contract) => contract,
            Err(errors) => return self.wrong(&errors),
        };
        let container = arguments.container.as_deref();
        let check = Check { contract: &contract, judge: &Verdict::of::<S>, container };
        let found = manifests(&arguments.manifests).and_then(|files| check.run(&files));
        match found {
            Ok(found) => {
                if !found.is_empty() {
                    say_wrong(&found.to_string());
                }
                if !found.fit() {
                    return ExitCode::FAILURE;
                }
                say(&found.summary());
                ExitCode::SUCCESS
            }
            Err(Unreadable(why)) => {
                say_wrong(&format!("{}: {why}", self.identity.name));
                ExitCode::FAILURE
            }
        }
    }

    /// What reads the settings of this process.
    fn loader(&self, configure: impl FnOnce(Loader) -> Loader) -> Loader {
        let loader = Loader::new(self.identity.env_prefix()).process_environment().dotenv(".env");
        let loader = configure(Framework::bare(loader));
        match &self.config_dir {
            Some(dir) => loader.fallback_dir(dir),
            None => loader,
        }
    }

    /// Loads the config and the flags; what is wrong is said on standard error.
    fn load<S: Settings>(
        &self,
        configure: impl FnOnce(Loader) -> Loader,
        urls: &[String],
    ) -> Result<(Config<S>, FlagFile), ExitCode>
    where
        R: Rules<S>,
    {
        let config = self.load_config(self.loader(configure), urls)?;
        let flag_file = FlagFile::load(&config.framework().flags, &config.report());
        Ok((config, flag_file.map_err(|error| self.wrong(&error))?))
    }

    /// Loads the config alone.
    fn load_config<S: Settings>(
        &self,
        loader: Loader,
        urls: &[String],
    ) -> Result<Config<S>, ExitCode>
    where
        R: Rules<S>,
    {
        let loader =
            remotes::add(loader, urls, &self.remotes).map_err(|error| self.wrong(&error))?;
        let rules = self.rules.clone();
        let config = Live::start(loader, move |framework: &Framework, settings: &S| {
            rules::problems(framework, settings, &rules)
        });
        config.map_err(|errors| self.wrong(&errors))
    }

    /// Says that the config is wrong.
    fn wrong(&self, what: &dyn std::fmt::Display) -> ExitCode {
        say_wrong(&format!("{}: {what}", self.identity.name));
        ExitCode::from(EX_CONFIG)
    }
}

#[cfg(feature = "cli")]
fn summary<S>(config: &Config<S>, flag_file: &FlagFile) -> String {
    let files: Vec<_> = config.files().iter().map(|file| file.display().to_string()).collect();
    let files = if files.is_empty() { "no config files".into() } else { files.join(", ") };
    format!("config is fine: environment {}, {files}, {flag_file}", config.environment())
}

/// The answer to a command. Whoever asked may have stopped reading, which is no error.
#[cfg(feature = "cli")]
fn say(text: &str) {
    let _ = writeln!(std::io::stdout(), "{text}");
}

/// What is wrong is said on standard error, as no log is set up yet.
fn say_wrong(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}
