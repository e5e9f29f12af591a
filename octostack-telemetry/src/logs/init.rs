use super::output::{FLUSH_LIMIT, Output};
use super::{FilterHandle, LogLayer, TelemetryConfig};
use crate::trace::TraceLayer;
#[cfg(feature = "otlp")]
use crate::trace::otlp::Exporter;
use octostack_core::{Identity, Registry};
use std::any::Any;
use std::backtrace::{Backtrace, BacktraceStatus};
use std::fmt;
use std::io::{self, Write};
use std::panic::PanicHookInfo;
use std::sync::Arc;
use std::time::Duration;
use tracing::Dispatch;
use tracing_subscriber::layer::SubscriberExt as _;

/// Makes the log layer the subscriber of the process: everything that the process says through
/// `tracing`, and its panics, goes to standard output.
///
/// # Errors
/// [`InitError`] if the process has a subscriber already, or no thread can be started.
pub fn init(identity: &Identity, config: &TelemetryConfig) -> Result<Guard, InitError> {
    builder(identity).config(config.clone()).init()
}

/// Like [`init`], with more to choose.
pub fn builder(identity: &Identity) -> LogBuilder {
    LogBuilder {
        identity: identity.clone(),
        config: TelemetryConfig::default(),
        registry: Registry::global().clone(),
        writer: io::stdout(),
        panics: true,
        #[cfg(feature = "otlp")]
        exporter: None,
    }
}

/// Chooses what [`init`] leaves at its default; from [`builder`].
#[derive(Debug)]
#[must_use = "nothing happens before `init`"]
pub struct LogBuilder<W = io::Stdout> {
    identity: Identity,
    config: TelemetryConfig,
    registry: Registry,
    writer: W,
    panics: bool,
    #[cfg(feature = "otlp")]
    exporter: Option<Exporter>,
}

fn install(subscriber: impl Into<Dispatch>) -> Result<(), InitError> {
    tracing::dispatcher::set_global_default(subscriber.into()).map_err(|_| InitError(None))
}

impl<W> LogBuilder<W> {
    /// Format, filter, the writing of user ids, and traces.
    pub fn config(mut self, config: TelemetryConfig) -> Self {
        self.config = config;
        self
    }

    /// Where lost lines are counted: the registry of the process unless told otherwise.
    pub fn registry(mut self, registry: &Registry) -> Self {
        self.registry = registry.clone();
        self
    }

    /// Where lines go: standard output unless told otherwise. A thread of its own writes there,
    /// each line by one call.
    pub fn writer<V>(self, writer: V) -> LogBuilder<V> {
        LogBuilder {
            identity: self.identity,
            config: self.config,
            registry: self.registry,
            writer,
            panics: self.panics,
            #[cfg(feature = "otlp")]
            exporter: self.exporter,
        }
    }

    /// Has spans exported, if there is an exporter.
    #[cfg(feature = "otlp")]
    pub fn exporter(mut self, exporter: Option<&Exporter>) -> Self {
        self.exporter = exporter.cloned();
        self
    }

    /// Whether panics are logged, in place of what the standard library prints to standard error.
    /// They are, unless told otherwise or if the filter has no place for errors of the target
    /// `octostack::panic`.
    pub fn log_panics(mut self, yes: bool) -> Self {
        self.panics = yes;
        self
    }

    /// Makes this the subscriber of the process, and logs panics from now on.
    ///
    /// # Errors
    /// [`InitError`] if the process has a subscriber already, or no thread can be started. Nothing
    /// is changed then.
    pub fn init(self) -> Result<Guard, InitError>
    where
        W: Write + Send + 'static,
    {
        let layer = LogLayer::with_writer(&self.identity, &self.config, self.writer);
        let layer = layer.map_err(|error| InitError(Some(error)))?;
        let output = Arc::clone(layer.output());
        // Outermost: inside of layers that filter for themselves its level would not be known, and
        // each call site of the finest level would be asked.
        let handle = FilterHandle::new(self.config.filter.clone());
        let filter = handle.layer();
        let registry = tracing_subscriber::registry();
        let traces = TraceLayer::new(self.config.traces.sampler());
        #[cfg(feature = "otlp")]
        let installed = match &self.exporter {
            None => install(registry.with(traces).with(layer).with(filter)),
            Some(exporter) => {
                let traces = traces.with_otel();
                install(registry.with(exporter.layer()).with(traces).with(layer).with(filter))
            }
        };
        #[cfg(not(feature = "otlp"))]
        let installed = install(registry.with(traces).with(layer).with(filter));
        installed?;
        if self.panics {
            let previous = std::panic::take_hook();
            let output = Arc::clone(&output);
            std::panic::set_hook(Box::new(move |panic| {
                // A filter that names a few targets would swallow it, and nobody means that; and
                // the thread that writes is no longer there to write that it panicked.
                let enabled = tracing::event_enabled!(target: PANIC, tracing::Level::ERROR);
                if enabled && !output.is_writing_thread() {
                    log_panic(panic);
                    output.flush_last_word(); // the process may be about to abort
                } else {
                    previous(panic);
                }
            }));
        }
        self.registry.register(&output);
        Ok(Guard { output, filter: handle })
    }
}

/// Keeps the count of lost lines in the registry. When it is dropped, it waits until what was
/// logged is written, at most a second: a reader that stalls cannot keep the process from its end.
/// Keep it until the end of `main`.
#[derive(Debug)]
#[must_use = "dropped at once, it no longer flushes what is logged later"]
pub struct Guard {
    output: Arc<Output>,
    filter: FilterHandle,
}

impl Guard {
    /// Waits until all that was logged before is written, or lost and counted; no longer than
    /// `timeout`, and tells whether it was in time. It blocks: not for an async task.
    pub fn flush(&self, timeout: Duration) -> bool {
        self.output.flush(timeout)
    }

    /// The filter, which can be changed.
    pub const fn filter(&self) -> &FilterHandle {
        &self.filter
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.output.flush(FLUSH_LIMIT);
    }
}

/// Logs cannot be installed.
///
/// With a [`source`](std::error::Error::source) there is no subscriber, so nothing can be logged;
/// without one the process has a `tracing` subscriber already.
#[derive(Debug)]
pub struct InitError(Option<io::Error>);

impl fmt::Display for InitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match &self.0 {
            None => {
                "a tracing subscriber is installed already, and a process has one; remove the \
                 other `init`, or add `LogLayer` to that subscriber"
            }
            Some(_) => {
                "the thread that writes logs cannot be started; raise the limit on threads or \
                 processes"
            }
        })
    }
}

impl std::error::Error for InitError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.as_ref().map(|error| error as _)
    }
}

const PANIC: &str = "octostack::panic";

/// Says a panic as an event. Whether it ends the process is not known here, so it is no `fatal`.
fn log_panic(panic: &PanicHookInfo<'_>) {
    let location = panic.location().map(ToString::to_string);
    let thread = std::thread::current();
    let trace = Backtrace::capture(); // empty unless RUST_BACKTRACE asks for it
    let stack = (trace.status() == BacktraceStatus::Captured).then(|| trace.to_string());
    tracing::error!(
        target: PANIC,
        {
            error.kind = "panic",
            error.message = payload(panic.payload()),
            error.stack = stack,
            location,
            thread = thread.name(),
        },
        "panicked"
    );
}

fn payload(payload: &dyn Any) -> &str {
    payload
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| payload.downcast_ref::<String>().map(|text| &**text))
        .unwrap_or("a value that is no text")
}
