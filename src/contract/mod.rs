//! The contract between a service and its platform: what it needs, what it offers, how it ends.
//!
//! A manifest repeats what the binary knows: names of variables, ports, paths of probes, how long
//! the end takes. The two part company in silence. Here the binary says it itself, as a document
//! (`contract --format json`), as a file of variables ([`env`]) or as a manifest
//! ([`kubernetes`]), and says where a manifest of others contradicts it ([`check`]).
pub(crate) mod check;
mod env;
mod findings;
mod kubernetes;
mod manifest;
mod pod;
mod probes;
mod sources;
mod tasks;
mod verdict;

use crate::admin_port::ADMIN_END;
use crate::framework::{Framework, ServerSection};
use octostack_core::Identity;
use octostack_core::config::{Errors, Key, Loader};
use octostack_core::health::Probe;
use octostack_core::inspect::Value;
use octostack_core::lifecycle::{LifecycleConfig, Signal};
use octostack_telemetry::logs::FLUSH_LIMIT;
use schemars::JsonSchema;
use serde::Serialize;
use std::net::SocketAddr;
use std::time::Duration;
pub(crate) use verdict::Verdict;

/// The version of the document. It changes when a field is renamed, removed or means something else.
const VERSION: u32 = 1;

/// How a contract is written down.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Format {
    /// The document, for programs.
    #[default]
    Json,
    /// A file of variables.
    Env,
    /// A manifest for Kubernetes.
    Kubernetes,
}

/// What a service needs from its platform, and what it offers.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Contract {
    #[serde(rename = "contract")]
    format: u32,
    name: String,
    version: String,
    commit: Option<String>,
    owner: Option<String>,
    runbook: Option<String>,
    /// What its variables begin with.
    prefix: String,
    variables: Vec<Variable>,
    files: Files,
    secrets: Vec<SecretFile>,
    ports: Vec<Port>,
    probes: Vec<ProbePath>,
    metrics: Endpoint,
    shutdown: Shutdown,
    signals: Vec<Meaning<&'static str>>,
    exit_codes: Vec<Meaning<u8>>,
    bindings: Vec<Binding>,
    tasks: Vec<tasks::Task>,
    /// Where those that exclude each other lock a file, in a container.
    #[serde(skip)]
    lock_dir: String,
}

/// Names the directory below which a platform attaches backing services.
const BINDING_ROOT: &str = "SERVICE_BINDING_ROOT";

/// A variable that is read.
#[allow(clippy::struct_excessive_bools, reason = "each is a fact of its own, and a field")]
#[derive(Clone, Debug, Serialize)]
struct Variable {
    name: String,
    /// Other names of it. One with the prefix wins over one without.
    also: Vec<String>,
    /// The setting; none for what the loader itself reads.
    key: Option<String>,
    #[serde(rename = "type")]
    expected: String,
    default: Option<String>,
    required: bool,
    secret: bool,
    /// Whether a reload applies a change; a variable itself changes with a restart only.
    reloadable: bool,
    doc: String,
    /// Whether it is the framework's, and so the same for all services.
    framework: bool,
}

/// The config files that are looked for.
#[derive(Clone, Debug, Serialize)]
struct Files {
    /// The variable that names their directory.
    directory_variable: &'static str,
    /// The directory where it is not set.
    directory: &'static str,
    /// Lowest first.
    names: [&'static str; 2],
    formats: [&'static str; 3],
    /// The variable that names more files.
    #[serde(rename = "files_variable")]
    more_variable: &'static str,
}

/// A secret, and the variable that names the file which holds it.
#[derive(Clone, Debug, Serialize)]
struct SecretFile {
    key: String,
    file_variable: String,
    required: bool,
}

/// A port that is opened.
#[derive(Clone, Debug, Serialize)]
struct Port {
    name: String,
    #[serde(rename = "port")]
    number: u16,
    protocols: [&'static str; 2],
    key: String,
    /// Those of `server.listeners` have none.
    variable: Option<&'static str>,
}

/// A path that says how the service is.
#[derive(Clone, Debug, Serialize)]
struct ProbePath {
    probe: &'static str,
    path: &'static str,
    /// Names of the ports that answer it.
    ports: Vec<&'static str>,
}

/// A path at a port.
#[derive(Clone, Debug, Serialize)]
struct Endpoint {
    port: &'static str,
    path: &'static str,
}

/// How long the end may take under Kubernetes.
#[derive(Clone, Debug, Serialize)]
struct Shutdown {
    budget_seconds: f64,
    steps: Vec<Limit>,
}

/// The limit of one step of the end.
#[derive(Clone, Debug, Serialize)]
struct Limit {
    step: &'static str,
    seconds: f64,
    /// The setting, where it can be set.
    key: Option<String>,
}

/// What a value means.
#[derive(Clone, Debug, Serialize)]
struct Meaning<T> {
    value: T,
    means: &'static str,
}

/// A backing service that is attached by a key.
#[derive(Clone, Debug, Serialize)]
struct Binding {
    key: String,
    #[serde(rename = "type")]
    kind: String,
}

impl Contract {
    /// The contract of `identity` with the settings `S`, as `framework` is configured.
    ///
    /// # Errors
    /// What is wrong with the structs, such as two keys with one variable.
    pub(crate) fn of<S: JsonSchema>(
        identity: &Identity,
        framework: &Framework,
    ) -> Result<Self, Errors> {
        let prefix = identity.env_prefix();
        let loader = Framework::known_to(Loader::new(prefix.as_str()));
        let keys = loader.reference::<Framework, S>()?;
        let bindings = keys.iter().filter_map(|key| {
            let kind = key.binding.clone()?;
            Some(Binding { key: key.path.clone(), kind })
        });
        Ok(Self {
            format: VERSION,
            name: identity.name.clone(),
            version: identity.version.clone(),
            commit: identity.commit.clone(),
            owner: identity.owner.clone(),
            runbook: identity.runbook.clone(),
            bindings: bindings.collect(),
            secrets: keys.iter().filter(|key| key.secret).map(SecretFile::of).collect(),
            variables: loaders_own().into_iter().chain(keys.iter().map(Variable::of)).collect(),
            prefix,
            files: Files {
                directory_variable: "CONFIG_DIR",
                directory: "./config",
                names: ["default.*", "{APP_ENV}.*"],
                formats: ["toml", "yaml", "json"],
                more_variable: "CONFIG_FILE",
            },
            ports: ports(&framework.server, framework.admin.addr),
            probes: probes(),
            metrics: Endpoint { port: "admin", path: "/metrics" },
            shutdown: Shutdown::of(&framework.lifecycle),
            signals: signals(),
            exit_codes: exit_codes(),
            tasks: Vec::new(),
            lock_dir: match &framework.lifecycle.lock_dir {
                Some(dir) => dir.to_string_lossy().into_owned(),
                None => "/tmp".to_owned(),
            },
        })
    }

    /// Writes it down.
    pub(crate) fn render(&self, format: Format) -> String {
        match format {
            Format::Json => serde_json::to_string_pretty(self).expect("the keys are text"),
            Format::Env => env::render(self),
            Format::Kubernetes => kubernetes::render(self),
        }
    }
}

impl Variable {
    fn of(key: &Key) -> Self {
        // The short name, where there is one.
        let mut names = key.bare.iter().chain(&key.variables).cloned();
        Self {
            name: names.next().unwrap_or_default(),
            also: names.collect(),
            key: Some(key.path.clone()),
            expected: key.expected.clone(),
            default: key.default.as_ref().map(plain),
            required: key.required,
            secret: key.secret,
            reloadable: key.reloadable,
            doc: key.doc.replace('\n', " "),
            framework: key.framework,
        }
    }

    fn names(&self) -> impl Iterator<Item = &str> {
        std::iter::once(&self.name).chain(&self.also).map(String::as_str)
    }
}

impl SecretFile {
    fn of(key: &Key) -> Self {
        let name = key.bare.iter().chain(&key.variables).next();
        Self {
            key: key.path.clone(),
            file_variable: name.map(|name| format!("{name}_FILE")).unwrap_or_default(),
            required: key.required,
        }
    }

    /// What a file that holds it may be called.
    fn file_name(&self) -> String {
        self.key.replace(['.', '_'], "-")
    }
}

/// A default as a variable would have it.
fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// What says where the settings are.
fn loaders_own() -> Vec<Variable> {
    let all = [
        ("APP_ENV", Some("development"), "The environment that the service runs in."),
        ("CONFIG_DIR", Some("./config"), "Where default.* and {APP_ENV}.* are; it must exist."),
        ("CONFIG_FILE", None, "More config files over those, with `:` between them."),
        (BINDING_ROOT, None, "Where the directories of attached backing services are."),
    ];
    let own = |(name, default, doc): (&str, Option<&str>, &str)| Variable {
        name: name.to_owned(),
        also: Vec::new(),
        key: None,
        expected: "text".to_owned(),
        default: default.map(str::to_owned),
        required: false,
        secret: false,
        reloadable: false,
        doc: doc.to_owned(),
        framework: true,
    };
    all.into_iter().map(own).collect()
}

fn ports(server: &ServerSection, admin: SocketAddr) -> Vec<Port> {
    let (plain, tls) = (["http/1.1", "h2c"], ["http/1.1", "h2"]);
    let public = Port {
        name: "http".to_owned(),
        number: server.listener.port,
        protocols: if server.speaks_tls() { tls } else { plain },
        key: "server.port".to_owned(),
        variable: Some("PORT"),
    };
    let admin = Port {
        name: "admin".to_owned(),
        number: admin.port(),
        protocols: plain,
        key: "admin.addr".to_owned(),
        variable: Some("ADMIN_ADDR"),
    };
    let more = server.listeners.iter().filter_map(|(name, listener)| {
        Some(Port {
            name: name.clone(),
            number: listener.port()?,
            protocols: if listener.speaks_tls() { tls } else { plain },
            key: format!("server.listeners.{name}.addr"),
            variable: None,
        })
    });
    [public, admin].into_iter().chain(more).collect()
}

fn probes() -> Vec<ProbePath> {
    let all = [("live", "/livez"), ("ready", "/readyz"), ("startup", "/startupz")];
    let probe = |(probe, path)| {
        debug_assert!(Probe::at(path).is_some(), "{path}");
        let ports = if path == "/startupz" { vec!["admin"] } else { vec!["http", "admin"] };
        ProbePath { probe, path, ports }
    };
    all.into_iter().map(probe).collect()
}

/// All steps of the end under Kubernetes, with those after the lifecycle's own.
fn steps(lifecycle: &LifecycleConfig) -> impl Iterator<Item = (&'static str, Duration)> {
    let after = [("admin", ADMIN_END), ("logs", FLUSH_LIMIT)];
    lifecycle.steps(true).into_iter().chain(after)
}

/// The longest that the end of the process can take under Kubernetes.
fn budget(lifecycle: &LifecycleConfig) -> Duration {
    steps(lifecycle).map(|(_, limit)| limit).sum()
}

impl Shutdown {
    fn of(lifecycle: &LifecycleConfig) -> Self {
        let limit = |(step, limit): (&'static str, Duration)| {
            let fixed = matches!(step, "cut" | "admin" | "logs");
            let key = Some(format!("lifecycle.{step}")).filter(|_| !fixed);
            Limit { step, seconds: limit.as_secs_f64(), key }
        };
        Self {
            budget_seconds: budget(lifecycle).as_secs_f64(),
            steps: steps(lifecycle).map(limit).collect(),
        }
    }
}

fn signals() -> Vec<Meaning<&'static str>> {
    debug_assert_eq!(Signal::Terminate.to_string(), "SIGTERM");
    [
        ("SIGTERM", "ends it in good order, after the lame-duck time"),
        ("SIGINT", "ends it in good order, without a lame-duck time"),
        ("SIGHUP", "loads the config again"),
    ]
    .map(|(value, means)| Meaning { value, means })
    .into()
}

fn exit_codes() -> Vec<Meaning<u8>> {
    [
        (0, "clean end"),
        (1, "failed"),
        (3, "requests or tasks were cut at their deadline, or a resource did not close"),
        (64, "bad usage of the command line"),
        (75, "another instance of the admin task runs"),
        (78, "bad configuration"),
        (130, "ended at once by a second signal, SIGINT"),
        (143, "ended at once by a second signal, SIGTERM"),
    ]
    .map(|(value, means)| Meaning { value, means })
    .into()
}

#[cfg(test)]
mod tests;
