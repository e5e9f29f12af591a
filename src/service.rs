#[cfg(feature = "cli")]
use crate::cli::{self, Arguments, Command};
#[cfg(feature = "cli")]
use crate::contract::check::{Check, Unreadable, manifests};
#[cfg(feature = "cli")]
use crate::contract::{Contract, Verdict};
use crate::flag_file::FlagFile;
use crate::framework::Framework;
use crate::reload::{Config, Settings};
use crate::{App, BoxError, Identity, run};
use axum::Router;
use octostack_core::config::Loader;
use octostack_core::config::live::Live;
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
pub struct Service {
    identity: Identity,
    config_dir: Option<PathBuf>,
}

impl Service {
    /// A service with the given identity.
    pub const fn new(identity: Identity) -> Self {
        Self { identity, config_dir: None }
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

    /// Does what the command line says: serves what `build` makes, or checks the config. Without
    /// feature `cli` it serves.
    ///
    /// `build` runs once the settings are loaded and the admin port answers; the service is ready
    /// when it has returned. The exit code is the process's; `main` returns it.
    pub fn run<S, F, Fut>(self, build: F) -> ExitCode
    where
        S: Serialize + DeserializeOwned + JsonSchema + Send + Sync + 'static,
        F: FnOnce(App<S>) -> Fut,
        Fut: Future<Output = Result<Router, BoxError>>,
    {
        #[cfg(feature = "cli")]
        return self.obey(build);
        #[cfg(not(feature = "cli"))]
        self.serve(build, |loader| loader)
    }

    #[cfg(feature = "cli")]
    fn obey<S, F, Fut>(self, build: F) -> ExitCode
    where
        S: Settings,
        F: FnOnce(App<S>) -> Fut,
        Fut: Future<Output = Result<Router, BoxError>>,
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
            Command::Check => match self.load::<S>(|loader| arguments.configure(loader)) {
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
            },
            Command::Contract(format) => {
                say(self.contract::<S>(&arguments).render(format).trim_end());
            }
            Command::ContractCheck => return self.check_manifests::<S>(&arguments),
            Command::Run => return self.serve(build, |loader| arguments.configure(loader)),
        }
        ExitCode::SUCCESS
    }

    fn serve<S, F, Fut>(self, build: F, configure: impl FnOnce(Loader) -> Loader) -> ExitCode
    where
        S: Settings,
        F: FnOnce(App<S>) -> Fut,
        Fut: Future<Output = Result<Router, BoxError>>,
    {
        match self.load(configure) {
            Ok((config, flag_file)) => run::run(self.identity, config, flag_file, build),
            Err(code) => code,
        }
    }

    /// What the service needs and offers, as far as that depends on the config as it is configured
    /// here. What is wrong with it is for `check` to say.
    #[cfg(feature = "cli")]
    fn contract<S: Settings>(&self, arguments: &Arguments) -> Contract {
        let verdict = Verdict::of::<S>(&self.loader(|loader| arguments.configure(loader)));
        Contract::of::<S>(&self.identity, &verdict.framework)
    }

    #[cfg(feature = "cli")]
    fn check_manifests<S: Settings>(&self, arguments: &Arguments) -> ExitCode {
        let contract = Contract::of::<S>(&self.identity, &Framework::default());
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
    ) -> Result<(Config<S>, FlagFile), ExitCode> {
        let loader = self.loader(configure);
        let wrong = |errors: &dyn std::fmt::Display| {
            say_wrong(&format!("{}: {errors}", self.identity.name));
            ExitCode::from(EX_CONFIG)
        };
        let config = Live::start(loader, |framework: &Framework, _: &S| framework.problems());
        let config = config.map_err(|errors| wrong(&errors))?;
        let flag_file = FlagFile::load(&config.framework().flags, &config.report());
        Ok((config, flag_file.map_err(|error| wrong(&error))?))
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
