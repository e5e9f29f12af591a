//! From loaded settings to the exit code: everything that happens while a service runs.
use crate::admin_port::AdminPort;
use crate::flag_file::FlagFile;
use crate::framework::Framework;
use crate::reload::{self, Config, Settings};
use crate::service::{EX_CONFIG, Loaded};
use crate::sockets::Sockets;
use crate::systemd::Manager;
use crate::traces::Traces;
use crate::{App, BoxError, Identity, LimitPer, inbound, listeners, secrets};
use axum::Router;
use http::HeaderMap;
use octostack_core::Registry;
use octostack_core::config::Report;
use octostack_core::config::live::Hangups;
use octostack_core::health::Health;
use octostack_core::inspect::Problem;
use octostack_core::lifecycle::{Lifecycle, LifecycleConfig, Outcome, Signals, Step};
use octostack_core::secret::{SecretError, SecretErrorKind, SettingsSecrets};
use octostack_core::server::Server;
use octostack_flags::{Flags, FlagsLayer};
use octostack_resilience::SettingsError;
use octostack_telemetry::http::RequestId;
use octostack_telemetry::http::request_id::X_REQUEST_ID;
use octostack_telemetry::logs::{self, FilterHandle, LogEvents};
use octostack_telemetry::metrics::Metrics;
use std::any::Any;
use std::future::Future;
use std::io::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::process::ExitCode;
use std::sync::Arc;
use std::task::Poll;

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
    loaded: Loaded<S>,
    signals: Signals,
    build: F,
) -> ExitCode
where
    S: Settings,
    F: FnOnce(App<S>) -> Fut,
    Fut: Future<Output = Result<Router, BoxError>>,
{
    within(identity, loaded, async |start| live(start, signals, build).await)
}

/// What is there once telemetry and the async runtime are.
pub(crate) struct Start<S> {
    pub(crate) identity: Identity,
    registry: Registry,
    traces: Traces,
    filter: Option<FilterHandle>,
    secrets: Arc<SettingsSecrets>,
    pub(crate) config: Config<S>,
    flag_file: FlagFile,
}

/// Does `what` with telemetry around it and an async runtime.
pub(crate) fn within<S: Settings>(
    identity: Identity,
    loaded: Loaded<S>,
    what: impl AsyncFnOnce(Start<S>) -> ExitCode,
) -> ExitCode {
    let Loaded { config, flag_file, secrets } = loaded;
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
    let start = Start { identity, registry, traces, filter, secrets, config, flag_file };
    let code = runtime.block_on(what(start));
    // What still runs was given its time; a blocking call must not hold up the exit.
    runtime.shutdown_background();
    drop(logs); // flushes
    code
}

impl<S: Settings> Start<S> {
    /// Puts together what an [`App`] is of, with the end of a life that `limits` limit.
    pub(crate) fn assemble(
        self,
        limits: LifecycleConfig,
    ) -> (Runtime, Identity, Config<S>, FlagFile) {
        let Self { identity, registry, traces, filter, secrets, config, flag_file } = self;
        let lifecycle = Lifecycle::new(limits, &registry);
        traces.flush_at_end(&lifecycle);
        let metrics = Metrics::builder().registry(&registry).identity(&identity).build();
        #[cfg(feature = "metrics")]
        if let Err(error) = metrics.recorder().install() {
            tracing::warn!("{error}"); // the service is as good without
        }
        let run = Runtime {
            metrics,
            lifecycle,
            health: Health::new(&registry),
            chaos: config.framework().chaos.enabled,
            flags: flag_file.flags().clone(),
            secrets,
            filter,
            registry,
        };
        config.register(&run.registry);
        reload::check(&config, &run.health);
        // Before all that uses them, so that it is closed after that.
        secrets::watch(&run);
        (run, identity, config, flag_file)
    }
}

/// Inside the runtime: start, serve, end.
async fn live<S, F, Fut>(start: Start<S>, signals: Signals, build: F) -> ExitCode
where
    S: Settings,
    F: FnOnce(App<S>) -> Fut,
    Fut: Future<Output = Result<Router, BoxError>>,
{
    let framework = start.config.framework();
    let (hangups, manager, mut sockets) = match outside(&framework) {
        Ok(outside) => outside,
        Err(code) => return code,
    };
    let limits = framework.lifecycle.clone();
    let (run, identity, config, flag_file) = start.assemble(limits);
    manager.follow(&run.registry, &run.lifecycle);
    let ports = (manager, sockets.admin.take());
    let admin = match AdminPort::open(&identity, &framework, &run, &config, ports).await {
        Ok(admin) => admin,
        Err(error) => {
            let code = fatal("admin", "the admin port cannot start", &error);
            run.lifecycle.fail(error.to_string());
            run.lifecycle.run(signals).await; // so that what was opened is closed
            return code;
        }
    };
    let background = tokio::spawn({
        let (health, lifecycle) = (run.health.clone(), run.lifecycle.clone());
        let config = reload::follow(config.clone(), hangups, lifecycle.clone());
        let flags = flag_file.follow();
        async move { tokio::join!(health.run(), health.report_to(&lifecycle), config, flags) }
    });

    let app = App::new(identity, &config, &run);
    let started = serve(&app, &framework, (&run, config.report(), sockets), build);
    let mut running = pin!(run.lifecycle.run(signals));
    let (code, at_once) = tokio::select! {
        outcome = &mut running => (outcome.exit_code(), is_at_once(&outcome)),
        error = started => {
            let config = is_config(&*error);
            fatal(if config { "config" } else { "start" }, "the service cannot start", &error);
            run.lifecycle.fail(error.to_string());
            let outcome = running.await; // so that what was opened is closed
            (if config { EX_CONFIG } else { outcome.exit_code() }, is_at_once(&outcome))
        }
    };
    background.abort();
    close(admin, at_once).await;
    ExitCode::from(code)
}

/// Whether nothing is to be waited for any more: after a second signal, or without a clock.
const fn is_at_once(outcome: &Outcome) -> bool {
    outcome.ended_by.is_some() || outcome.overdue
}

/// Closes the admin port; after a second signal, or if one comes, the end of the process does it.
async fn close(admin: AdminPort, at_once: bool) {
    if at_once {
        return;
    }
    let signal = async {
        match Signals::install() {
            Ok(mut signals) => drop(signals.next().await),
            Err(_) => std::future::pending().await,
        }
    };
    tokio::select! {
        () = admin.close() => {}
        () = signal => {}
    }
}

/// What comes from whoever started this process.
fn outside(framework: &Framework) -> Result<(Hangups, Manager, Sockets), ExitCode> {
    let manager = Manager::from_env();
    // First of all: a signal that comes while starting must not be lost.
    let hangups = Hangups::install()
        .map_err(|error| fatal("signals", "signal handlers cannot be installed", &error.into()))?;
    let listeners = framework.server.listeners.keys().map(String::as_str);
    let sockets = Sockets::from_env(listeners).map_err(|error| {
        fatal("sockets", "a socket that was passed on is of no use", &error.into())
    })?;
    Ok((manager.around(hangups), manager, sockets))
}

/// Whether somebody says that the settings are to blame.
pub(crate) fn is_config(error: &(dyn std::error::Error + 'static)) -> bool {
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

/// Builds the service and opens its ports. Returns only if that fails.
async fn serve<S, F, Fut>(
    app: &App<S>,
    framework: &Framework,
    (run, report, mut sockets): (&Runtime, Arc<Report>, Sockets),
    build: F,
) -> BoxError
where
    F: FnOnce(App<S>) -> Fut,
    Fut: Future<Output = Result<Router, BoxError>>,
{
    let serving = async {
        let router = built(build, app.clone()).await?;
        // From here on the end waits for the port, so that whoever gets in is answered. If it has
        // begun before, none is opened.
        let opening = run.lifecycle.listener();
        if opening.stop().step() >= Step::Drain {
            return Ok(());
        }
        let probes = octostack_core::health::Probes::new(&run.lifecycle, &run.health);
        let inbound = &framework.server.inbound;
        let trust = framework.telemetry.traces.trust_caller;
        let flags = FlagsLayer::new(&run.flags).context(app.context_of_requests());
        let (service, follow) = inbound::stack(router, inbound, probes, run, trust, flags)?;
        app.follow("server.inbound", move |new, _| follow(&new.server.inbound));
        let servers = listeners::open(&framework.server, &report, &mut sockets).await?;
        let limits = servers.iter().map(Server::limits).collect();
        app.follow_parts(limits, run.lifecycle.clone(), run.filter.clone());
        let serve = |server: Server| {
            let server = server.with_registry(&run.registry).with_mark(mark_request_id);
            let server = match inbound.rate_limit.per {
                LimitPer::Client => server.with_peer_addr(),
                LimitPer::Service => server,
            };
            tokio::spawn(server.serve(service.clone(), &run.lifecycle))
        };
        let serving: Vec<_> = servers.into_iter().map(serve).collect();
        for (name, times) in run.registry.duplicates() {
            tracing::warn!("{times} policies are called {name}; their numbers are added up");
        }
        run.lifecycle.ready();
        drop(opening); // the listeners are waited for by now
        app.synthetics().serve(&service, &run.health, &run.lifecycle);
        for listener in serving {
            listener.await?;
        }
        Ok::<_, BoxError>(())
    };
    match serving.await {
        Err(error) => error,
        // The listeners have drained; the lifecycle says how the process ends.
        Ok(()) => std::future::pending().await,
    }
}

/// What `build` makes. A panic of it is an error as any other: what it has opened is closed.
async fn built<S, F, Fut>(build: F, app: App<S>) -> Result<Router, BoxError>
where
    F: FnOnce(App<S>) -> Fut,
    Fut: Future<Output = Result<Router, BoxError>>,
{
    let mut building = pin!(async { build(app).await });
    let caught = std::future::poll_fn(|cx| {
        let poll = catch_unwind(AssertUnwindSafe(|| building.as_mut().poll(cx)));
        poll.unwrap_or_else(|panic| Poll::Ready(Err(panicked(panic.as_ref()).into())))
    });
    caught.await
}

/// What a panic has said.
pub(crate) fn panicked(panic: &(dyn Any + Send)) -> String {
    let text = panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    format!("it panicked: {}", text.unwrap_or("no message"))
}

/// The request id of an answer that the server gives itself, such as 413.
fn mark_request_id(from: &HeaderMap, to: &mut HeaderMap) {
    let id = RequestId::from_headers(from).unwrap_or_else(RequestId::random);
    to.insert(X_REQUEST_ID, id.as_header().clone());
}

/// What ends the process before it served: one event of level fatal.
pub(crate) fn fatal(code: &'static str, what: &str, error: &BoxError) -> ExitCode {
    let error: &(dyn std::error::Error + 'static) = &**error;
    tracing::error!(fatal = true, error, error.code = code, "{what}");
    ExitCode::FAILURE
}

#[cfg(test)]
mod tests {
    use super::serve;
    use crate::app::testing::{app, runtime};
    use crate::sockets::Sockets;
    use axum::Router;
    use octostack_core::lifecycle::{Signal, Signals, Step};
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    #[tokio::test]
    async fn a_build_that_panics_is_a_start_that_fails() {
        let (app, source) = app::<()>(&serde_json::json!({}));
        let (framework, run) = (source.config().framework(), runtime());
        for at_once in [true, false] {
            let build = |_| {
                assert!(!at_once, "no migration");
                async { panic!("no {}", "migration") }
            };
            let parts = (&run, source.config().report(), Sockets::default());
            let error = serve(&app, &framework, parts, build).await;
            assert_eq!(error.to_string(), "it panicked: no migration");
        }
    }

    #[tokio::test]
    async fn a_service_that_is_built_too_late_opens_no_port() {
        let (app, source) = app::<()>(&serde_json::json!({"server": {"port": 0}}));
        let (framework, run) = (source.config().framework(), runtime());
        let (go, waiting) = tokio::sync::oneshot::channel::<()>();
        let build = |_| async move {
            waiting.await?;
            Ok(Router::new())
        };
        let parts = (&run, source.config().report(), Sockets::default());
        let mut starting = pin!(serve(&app, &framework, parts, build));
        let mut cx = Context::from_waker(Waker::noop());
        assert!(starting.as_mut().poll(&mut cx).is_pending());
        let (kill, signals) = Signals::manual();
        kill.send(Signal::Interrupt).unwrap();
        run.lifecycle.run(signals).await;
        assert!(run.lifecycle.stop().step() >= Step::Drain);
        go.send(()).unwrap();
        assert!(matches!(starting.as_mut().poll(&mut cx), Poll::Pending), "it has not failed");
        let opened = run.registry.events().iter().any(|event| event.kind == "listening");
        assert!(!opened, "nobody would be answered there");
    }
}
