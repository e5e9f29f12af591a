//! The commands: what a process does that was not started to serve.
use crate::admin_task::{self, Job};
use crate::cli::{self, Arguments, Command, Task};
use crate::contract::check::{Check, Unreadable, manifests};
use crate::contract::{Contract, Verdict};
use crate::explain;
use crate::flag_file::FlagFile;
use crate::framework::Framework;
use crate::reload::{Config, Settings};
use crate::service::{EX_CONFIG, Loaded, say_wrong};
use crate::starting::Start;
use crate::{AdminTask, AdminTasks, App, BoxError, Identity, Rules, Service, health_command};
use axum::Router;
use octostack_core::config::nearest;
use octostack_core::secret::audit::verify;
use std::future::Future;
use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;

/// Bad usage, as in `sysexits.h`.
const EX_USAGE: u8 = 64;

impl<R, T> Service<R, T> {
    pub(crate) fn obey<S, F, Fut>(self, build: F) -> ExitCode
    where
        S: Settings,
        F: FnOnce(App<S>) -> Fut,
        Fut: Future<Output = Result<Router, BoxError>>,
        R: Rules<S>,
        T: AdminTasks<S>,
    {
        let arguments = match Arguments::parse(std::env::args_os().skip(1)) {
            Ok(arguments) => arguments,
            Err(error) => {
                say_wrong(&format!("{}: {error}", self.identity.name));
                return ExitCode::from(EX_USAGE);
            }
        };
        match arguments.command {
            Command::Help => say(&cli::help(&self.identity, &Task::all(self.tasks.all()))),
            Command::Version => say(&format!("{} {}", self.identity.name, self.identity.version)),
            Command::Check => {
                match self.load::<S>(|loader| arguments.configure(loader), &arguments.urls, false) {
                    Ok(Loaded { config, flag_file, .. }) => {
                        let warnings = config.warnings();
                        let warnings = warnings.iter().chain(flag_file.warnings());
                        warnings.for_each(|warning| say_wrong(warning));
                        if let Some(problems) = flag_file.broken().or_else(|| certificates(&config))
                        {
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
            Command::Health => return self.health::<S>(&arguments),
            Command::Admin => return self.admin(arguments),
            Command::SecretsVerify => return verify_audit(&self.identity, &arguments),
            Command::Run => {
                return self.serve(build, |loader| arguments.configure(loader), &arguments.urls);
            }
        }
        ExitCode::SUCCESS
    }

    /// Runs an admin task, or lists them.
    fn admin<S: Settings>(self, mut arguments: Arguments) -> ExitCode
    where
        R: Rules<S>,
        T: AdminTasks<S>,
    {
        let identity = self.identity.clone();
        let (name, tasks) = (&identity.name, self.tasks.all());
        let Some(wanted) = arguments.task.take() else {
            match cli::list(&Task::all(tasks)).trim_end() {
                "" => say(&format!("{name} has no admin tasks")),
                list => say(list),
            }
            return ExitCode::SUCCESS;
        };
        let Some(task) = tasks.iter().find(|task| task.name() == wanted) else {
            let hint = match nearest(&wanted, tasks.iter().map(AdminTask::name)) {
                Some(near) => format!("did you mean `{near}`?"),
                None => "`admin` lists them".to_owned(),
            };
            let wanted = wanted.escape_debug();
            say_wrong(&format!("{name}: there is no admin task `{wanted}`; {hint}"));
            return ExitCode::from(EX_USAGE);
        };
        let rest = std::mem::take(&mut arguments.task_words);
        let job = Job { task: task.clone(), arguments: rest, wait: arguments.wait };
        match self.begin(|loader| arguments.configure(loader), &arguments.urls) {
            Ok(Start::Loaded(loaded, signals)) => admin_task::run(identity, loaded, signals, job),
            // Nothing was done, and whoever asked for it has to know.
            Ok(Start::Ended(signal)) => ExitCode::from(128 + signal.number()),
            Err(code) => code,
        }
    }

    /// Prints settings, or what can be set.
    fn explain<S: Settings>(&self, arguments: &Arguments, part: cli::Settings) -> ExitCode
    where
        R: Rules<S>,
        T: AdminTasks<S>,
    {
        let name = &self.identity.name;
        let loader = self.loader(|loader| arguments.configure(loader));
        let (in_columns, key) = (part == cli::Settings::InEffect, arguments.key.as_deref());
        let said = match part {
            cli::Settings::InEffect | cli::Settings::Json => {
                let config = match self.load_config::<S>(loader, &arguments.urls, false) {
                    Ok((config, _)) => config,
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
    fn contract<S: Settings>(&self, arguments: &Arguments) -> Result<Contract, ExitCode>
    where
        T: AdminTasks<S>,
    {
        let verdict = Verdict::of::<S>(&self.loader(|loader| arguments.configure(loader)));
        let contract = Contract::of::<S>(&self.identity, &verdict.framework);
        contract
            .map(|contract| contract.with_tasks(self.tasks.all()))
            .map_err(|errors| self.wrong(&errors))
    }

    /// Asks a running instance. Its config is only read for where that is: what is wrong with it is
    /// for `check` to say, and secrets are not fetched for each probe.
    fn health<S: Settings>(&self, arguments: &Arguments) -> ExitCode {
        let own = || {
            let verdict = Verdict::of::<S>(&self.loader(|loader| arguments.configure(loader)));
            health_command::own_url(&verdict.framework)
        };
        let url = arguments.url.clone().map_or_else(own, Ok);
        match url.and_then(|url| health_command::ask(&url)) {
            Ok(answer) => {
                say(&answer);
                ExitCode::SUCCESS
            }
            Err(what) => {
                say_wrong(&format!("{}: {what}", self.identity.name));
                ExitCode::FAILURE
            }
        }
    }

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
}

/// What is wrong with the certificates that are to be served.
#[cfg(feature = "tls")]
fn certificates<S>(config: &Config<S>) -> Option<String> {
    let problems = crate::listeners::broken(&config.framework().server, &config.report());
    let lines: Vec<_> = problems.iter().map(ToString::to_string).collect();
    (!lines.is_empty()).then(|| format!("TLS cannot be served\n\n{}", lines.join("\n")))
}

#[cfg(not(feature = "tls"))]
const fn certificates<S>(_: &Config<S>) -> Option<String> {
    None
}

/// Says whether an audit log is as it was written.
fn verify_audit(identity: &Identity, arguments: &Arguments) -> ExitCode {
    let log = arguments.log.as_deref().unwrap_or_else(|| Path::new(""));
    match verify(log, arguments.head) {
        Ok(verified) => {
            say(&verified.to_string());
            ExitCode::SUCCESS
        }
        Err(tampered) => {
            say_wrong(&format!("{}: {tampered}", identity.name));
            ExitCode::FAILURE
        }
    }
}

fn summary<S>(config: &Config<S>, flag_file: &FlagFile) -> String {
    let files: Vec<_> = config.files().iter().map(|file| file.display().to_string()).collect();
    let files = if files.is_empty() { "no config files".into() } else { files.join(", ") };
    format!("config is fine: environment {}, {files}, {flag_file}", config.environment())
}

/// The answer to a command. Whoever asked may have stopped reading, which is no error.
fn say(text: &str) {
    let _ = writeln!(std::io::stdout(), "{text}");
}
