//! From loaded settings to the exit code: everything that happens while a service runs.
use crate::admin_port::AdminPort;
use crate::flag_file::FlagFile;
use crate::framework::Framework;
use crate::reload::{self, Config, Settings};
use crate::service::EX_CONFIG;
use crate::sockets::Sockets;
use crate::systemd::Manager;
use crate::traces::Traces;
use crate::{App, BoxError, Identity, LimitPer, inbound, secrets};
use axum::Router;
use http::HeaderMap;
use octostack_core::Registry;
use octostack_core::config::live::Hangups;
use octostack_core::health::Health;
use octostack_core::inspect::Problem;
use octostack_core::lifecycle::{Lifecycle, Signals};
use octostack_core::secret::{SecretError, SecretErrorKind, SettingsSecrets};
use octostack_core::server::Server;
use octostack_flags::{Flags, FlagsLayer};
use octostack_resilience::SettingsError;
use octostack_telemetry::http::RequestId;
use octostack_telemetry::http::request_id::X_REQUEST_ID;
use octostack_telemetry::logs::{self, FilterHandle, LogEvents};
use octostack_telemetry::metrics::Metrics;
use std::future::Future;
use std::io::Write as _;
use std::net::TcpListener;
use std::pin::pin;
use std::process::ExitCode;
use std::sync::Arc;

/// The parts that run for the service, shared with its [`App`].
pub(crate) struct Runtime {
    pub(crate) registry: Registry,
    pub(crate) metrics: Metrics,
    pub(crate) lifecycle: Lifecycle,
    pub(crate) health: Health,
    pub(crate) chaos: bool,
    pub(crate) flags: Flags,
    pub(crate) secrets: Arc<SettingsSecrets>,
    /// The log filter, if the subscriber is ours.
    pub(crate) filter: Option<FilterHandle>,
}

/// Runs the service to its end.
pub(crate) fn run<S, F, Fut>(
    identity: Identity,
    config: Config<S>,
    flag_file: FlagFile,
    (secrets, signals): (Arc<SettingsSecrets>, Signals),
    build: F,
) -> ExitCode
where
    S: Settings,
    F: FnOnce(App<S>) -> Fut,
    Fut: Future<Output = Result<Router, BoxError>>,
{
    let identity = identity.with_environment(config.environment());
    let registry = Registry::global().clone();
    let telemetry = config.framework().telemetry.clone();
    let traces = match Traces::start(&identity, &telemetry, &registry) {
        Ok(traces) => traces,
        Err((error, code)) => {
            let _ = writeln!(std::io::stderr(), "{}: {error}", identity.name);
            return code;
        }
    };
    let logs = logs::builder(&identity).config(telemetry.clone()).registry(&registry);
    let logs = traces.install(logs).init();
    registry.observe_all(LogEvents); // also of what has happened while the config was loaded
    for warning in config.warnings().iter().chain(flag_file.problems_and_warnings()) {
        tracing::warn!("{warning}");
    }
    if let Err(error) = &logs {
        tracing::warn!("{error}"); // to whichever subscriber there is
        if let Some(cause) = std::error::Error::source(error) {
            // There is none.
            let _ = writeln!(std::io::stderr(), "{}: {error}: {cause}", identity.name);
            return ExitCode::FAILURE;
        }
    }
    if logs.is_ok() {
        traces.announce(&telemetry); // a subscriber of others sends nothing
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => return fatal("runtime", "the async runtime cannot start", &error.into()),
    };
    let filter = logs.as_ref().ok().map(|guard| guard.filter().clone());
    let parts = (traces, filter, secrets, signals);
    let live = live(identity, &registry, parts, config, flag_file, build);
    let code = runtime.block_on(live);
    // What still runs was given its time; a blocking call must not hold up the exit.
    runtime.shutdown_background();
    drop(logs); // flushes
    code
}

/// What is there before the runtime.
type Parts = (Traces, Option<FilterHandle>, Arc<SettingsSecrets>, Signals);

/// Inside the runtime: start, serve, end.
async fn live<S, F, Fut>(
    identity: Identity,
    registry: &Registry,
    (traces, filter, secrets, signals): Parts,
    config: Config<S>,
    flag_file: FlagFile,
    build: F,
) -> ExitCode
where
    S: Settings,
    F: FnOnce(App<S>) -> Fut,
    Fut: Future<Output = Result<Router, BoxError>>,
{
    let (hangups, manager, sockets) = match outside() {
        Ok(outside) => outside,
        Err(code) => return code,
    };
    let framework = config.framework();
    let lifecycle = Lifecycle::new(framework.lifecycle.clone(), registry);
    manager.follow(registry, &lifecycle);
    traces.flush_at_end(&lifecycle);
    let health = Health::new(registry);
    let metrics = Metrics::builder().registry(registry).identity(&identity).build();
    #[cfg(feature = "metrics")]
    if let Err(error) = metrics.recorder().install() {
        tracing::warn!("{error}"); // the service is as good without
    }
    let run = Runtime {
        registry: registry.clone(),
        metrics,
        lifecycle,
        health,
        chaos: framework.chaos.enabled,
        flags: flag_file.flags().clone(),
        secrets,
        filter,
    };
    config.register(registry);
    reload::check(&config, &run.health);
    // Before all that uses them, so that it is closed after that.
    secrets::watch(&run);
    let admin =
        match AdminPort::open(&identity, &framework, &run, &config, (manager, sockets.admin)).await
        {
            Ok(admin) => admin,
            Err(error) => return fatal("admin", "the admin port cannot start", &error),
        };
    let background = tokio::spawn({
        let (health, lifecycle) = (run.health.clone(), run.lifecycle.clone());
        let config = reload::follow(config.clone(), hangups, lifecycle.clone());
        let flags = flag_file.follow();
        async move { tokio::join!(health.run(), health.report_to(&lifecycle), config, flags) }
    });

    let app = App::new(identity, &config, &run);
    let started = start(&app, &framework, (&run, sockets.public), build);
    let mut running = pin!(run.lifecycle.run(signals));
    let code = tokio::select! {
        outcome = &mut running => outcome.exit_code(),
        error = started => {
            let config = is_config(&*error);
            fatal(if config { "config" } else { "start" }, "the service cannot start", &error);
            run.lifecycle.fail(error.to_string());
            let outcome = running.await; // so that what was opened is closed
            if config { EX_CONFIG } else { outcome.exit_code() }
        }
    };
    background.abort();
    admin.close().await;
    ExitCode::from(code)
}

/// What comes from whoever started this process.
fn outside() -> Result<(Hangups, Manager, Sockets), ExitCode> {
    let manager = Manager::from_env();
    // First of all: a signal that comes while starting must not be lost.
    let hangups = Hangups::install()
        .map_err(|error| fatal("signals", "signal handlers cannot be installed", &error.into()))?;
    let sockets = Sockets::from_env().map_err(|error| {
        fatal("sockets", "a socket that was passed on is of no use", &error.into())
    })?;
    Ok((manager.around(hangups), manager, sockets))
}

/// Whether somebody says that the settings are to blame.
fn is_config(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(error) = cause {
        let reference = error.downcast_ref::<SecretError>().map(SecretError::kind);
        let wrong = [SecretErrorKind::NoProvider, SecretErrorKind::Invalid].map(Some);
        if error.is::<Problem>() || error.is::<SettingsError>() || wrong.contains(&reference) {
            return true;
        }
        cause = error.source();
    }
    false
}

/// Builds the service and opens its port. Returns only if that fails.
async fn start<S, F, Fut>(
    app: &App<S>,
    framework: &Framework,
    (run, socket): (&Runtime, Option<TcpListener>),
    build: F,
) -> BoxError
where
    F: FnOnce(App<S>) -> Fut,
    Fut: Future<Output = Result<Router, BoxError>>,
{
    let serving = async {
        let router = build(app.clone()).await?;
        let probes = octostack_core::health::Probes::new(&run.lifecycle, &run.health);
        let inbound = &framework.server.inbound;
        let trust = framework.telemetry.traces.trust_caller;
        let flags = FlagsLayer::new(&run.flags).context(app.context_of_requests());
        let (service, follow) = inbound::stack(router, inbound, probes, run, trust, flags)?;
        app.follow("server.inbound", move |new, _| follow(&new.server.inbound));
        let server = match socket {
            Some(socket) => Server::from_listener(socket, &framework.server.listener)?,
            None => Server::bind(&framework.server.listener).await?,
        };
        let server = server.with_registry(&run.registry).with_mark(mark_request_id);
        let server = match inbound.rate_limit.per {
            LimitPer::Client => server.with_peer_addr(),
            LimitPer::Service => server,
        };
        let asked = service.clone();
        app.follow_parts(server.limits(), run.lifecycle.clone(), run.filter.clone());
        let serving = tokio::spawn(server.serve(service, &run.lifecycle));
        for (name, times) in run.registry.duplicates() {
            tracing::warn!("{times} policies are called {name}; their numbers are added up");
        }
        run.lifecycle.ready();
        app.synthetics().serve(&asked, &run.health, &run.lifecycle);
        serving.await?;
        Ok::<_, BoxError>(())
    };
    match serving.await {
        Err(error) => error,
        // The listener has drained; the lifecycle says how the process ends.
        Ok(()) => std::future::pending().await,
    }
}

/// The request id of an answer that the server gives itself, such as 413.
fn mark_request_id(from: &HeaderMap, to: &mut HeaderMap) {
    let id = RequestId::from_headers(from).unwrap_or_else(RequestId::random);
    to.insert(X_REQUEST_ID, id.as_header().clone());
}

/// What ends the process before it served: one event of level fatal.
fn fatal(code: &'static str, what: &str, error: &BoxError) -> ExitCode {
    let error: &(dyn std::error::Error + 'static) = &**error;
    tracing::error!(fatal = true, error, error.code = code, "{what}");
    ExitCode::FAILURE
}
