use super::bridge::Sampling;
use super::otel::trace::TracerProvider as _;
use super::otel::{Context, InstrumentationScope, KeyValue, Value as OtelValue};
use super::queue::{Limits, Queue, Tally};
use crate::logs::{DROPPED, TelemetryConfig, UserIds, aloud, hash_user_id, is_quiet, quiet_thread};
use octostack_core::inspect::{Event, Inspect, Sink, Value};
use octostack_core::{Identity, Registry};
use opentelemetry_otlp::{ExporterBuildError, SpanExporter, WithExportConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::{OTelSdkError, OTelSdkResult};
use opentelemetry_sdk::resource::{EnvResourceDetector, TelemetryResourceDetector};
use opentelemetry_sdk::trace::{
    SdkTracerProvider, Span, SpanData, SpanExporter as _, SpanProcessor,
};
use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;
use tracing::subscriber::Interest;
use tracing::{Metadata, Subscriber};
use tracing_subscriber::filter::dynamic_filter_fn;
use tracing_subscriber::layer::{self, Filter, Layer};
use tracing_subscriber::registry::LookupSpan;

/// How long a batch may take, whatever the exporter itself waits for (10 s unless
/// `OTEL_EXPORTER_OTLP_TIMEOUT` says otherwise): the default of `OTEL_BSP_EXPORT_TIMEOUT`.
const EXPORT_LIMIT: Duration = Duration::from_secs(30);

/// Sends spans to a collector; see the [module docs](super). Clones are handles of one.
///
/// Entered in a [`Registry`] as `traces`, it counts what is lost into
/// `octostack_telemetry_dropped_total{signal="traces"}`.
#[derive(Clone, Debug)]
pub struct Exporter {
    shared: Arc<Shared>,
    provider: SdkTracerProvider,
}

impl Exporter {
    /// Starts the thread that sends, if `config` wants traces to be sent. The collector need not be
    /// there yet.
    ///
    /// # Errors
    /// [`StartError`] if the config is not what [`TelemetryConfig::validate`] accepts, a variable
    /// of the exporter is wrong, or no thread can be started.
    pub fn start(
        identity: &Identity,
        config: &TelemetryConfig,
        registry: &Registry,
    ) -> Result<Option<Self>, StartError> {
        if let Some(problem) = config.validate().err().and_then(|mut all| all.pop()) {
            return Err(StartError(Wrong::Config(problem.to_string())));
        }
        let Ok(endpoint) = config.traces_endpoint() else { return Ok(None) };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| StartError(Wrong::Thread(error)))?;
        let resource = resource(identity);
        let exporter = {
            let _inside = runtime.enter(); // the channel belongs to it
            connect(endpoint, &resource)
        }
        .map_err(|error| StartError(Wrong::Exporter(error)))?;
        let traces = &config.traces;
        let shared = Arc::new(Shared {
            queue: Queue::new(Limits {
                queue: traces.max_queue_size,
                batch: traces.max_batch_size,
                delay: traces.delay,
            }),
            endpoint: endpoint.to_owned(),
            sampler: traces.sampler().to_string(),
            failing: Mutex::new(None),
            registry: registry.clone(),
        });
        let worker = Worker {
            shared: Arc::clone(&shared),
            exporter,
            resource: resource.clone(),
            user_ids: config.user_ids,
        };
        // Nobody joins it: it may wait for a collector, and the process must end all the same.
        let thread = thread::Builder::new().name("octostack-traces".to_owned());
        let spawned = thread.spawn(move || {
            quiet_thread();
            runtime.block_on(worker.run());
        });
        spawned.map_err(|error| StartError(Wrong::Thread(error)))?;
        registry.register(&shared);
        let provider = SdkTracerProvider::builder()
            .with_span_processor(Processor(Arc::clone(&shared)))
            .with_sampler(Sampling(traces.sampler()))
            .with_resource(resource)
            .build();
        Ok(Some(Self { shared, provider }))
    }

    /// The layer that makes spans of OpenTelemetry out of those of `tracing`. Events do not become
    /// part of them: they are log lines, which have the ids.
    ///
    /// `logs::builder` adds it. In a subscriber of your own put it inside of a
    /// [`TraceLayer`](crate::trace::TraceLayer) that is told so by
    /// [`with_otel`](crate::trace::TraceLayer::with_otel), else ids in logs and headers are others.
    pub fn layer<S>(&self) -> impl Layer<S> + Send + Sync + use<S>
    where
        S: Subscriber + for<'a> LookupSpan<'a> + Send + Sync,
    {
        let scope = InstrumentationScope::builder(env!("CARGO_PKG_NAME"))
            .with_version(env!("CARGO_PKG_VERSION"))
            .build();
        tracing_opentelemetry::layer()
            .with_tracer(self.provider.tracer_with_scope(scope))
            .with_location(false)
            .with_threads(false)
            .with_target(false)
            .with_tracked_inactivity(false)
            .with_filter(spans_but_our_own())
    }

    /// Where spans are sent.
    pub fn endpoint(&self) -> &str {
        &self.shared.endpoint
    }

    /// How many spans are lost: the queue was full, or the collector did not take them.
    pub fn lost(&self) -> u64 {
        self.shared.queue.tally().lost
    }

    /// How many spans are not sent yet.
    pub fn queued(&self) -> u64 {
        self.shared.queue.tally().queued
    }

    /// Waits until all spans that have ended before are sent, or lost and counted; no longer than
    /// `timeout`, and tells whether it was in time. It blocks: not for an async task.
    pub fn flush(&self, timeout: Duration) -> bool {
        self.shared.queue.flush(timeout)
    }

    /// The provider behind it, for spans made by the API of OpenTelemetry.
    pub fn provider(&self) -> &SdkTracerProvider {
        &self.provider
    }
}

/// The exporter of the SDK. It connects with the first batch.
fn connect(endpoint: &str, resource: &Resource) -> Result<SpanExporter, ExporterBuildError> {
    let mut exporter = SpanExporter::builder().with_tonic().with_endpoint(endpoint).build()?;
    exporter.set_resource(resource);
    Ok(exporter)
}

/// Lets through spans, but not those of the thread that sends: they would be sent as well, and make
/// new ones. (The suppression of OpenTelemetry does not help: a span without parent, such as that
/// of a connection of HTTP/2, forgets it.)
fn spans_but_our_own<S>() -> impl Filter<S> + Send + Sync {
    let filter = dynamic_filter_fn(|metadata: &Metadata<'_>, _: &layer::Context<'_, S>| {
        metadata.is_span() && !is_quiet()
    });
    filter.with_callsite_filter(|metadata: &'static Metadata<'static>| {
        if metadata.is_span() { Interest::sometimes() } else { Interest::never() }
    })
}

/// Who sends: the identity, and over it what the operator says by `OTEL_RESOURCE_ATTRIBUTES` and
/// `OTEL_SERVICE_NAME`.
fn resource(identity: &Identity) -> Resource {
    let mut own = vec![
        KeyValue::new("service.name", identity.name.clone()),
        KeyValue::new("service.version", identity.version.clone()),
        KeyValue::new("service.instance.id", identity.instance.clone()),
        KeyValue::new("deployment.environment.name", identity.environment.clone()),
    ];
    own.extend(identity.commit.clone().map(|id| KeyValue::new("vcs.ref.head.revision", id)));
    let name = std::env::var("OTEL_SERVICE_NAME").ok().filter(|name| !name.is_empty());
    Resource::builder_empty()
        .with_detector(Box::new(TelemetryResourceDetector))
        .with_attributes(own)
        .with_detector(Box::new(EnvResourceDetector::new()))
        .with_attributes(name.map(|name| KeyValue::new("service.name", name)))
        .build()
}

/// What threads that end spans, the one that sends and the registry share.
#[derive(Debug)]
struct Shared {
    queue: Queue,
    endpoint: String,
    sampler: String,
    /// Why the last batch was not sent.
    failing: Mutex<Option<String>>,
    registry: Registry,
}

impl Shared {
    fn failing(&self) -> Option<String> {
        self.failing.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Takes note of how a batch of `count` spans went, and says it if that is news.
    fn told(&self, problem: Option<String>, count: usize) {
        let mut failing = self.failing.lock().unwrap_or_else(PoisonError::into_inner);
        let before = std::mem::replace(&mut *failing, problem.clone());
        drop(failing);
        let lost = self.queue.tally().lost + problem.as_ref().map_or(0, |_| count as u64);
        let event = match (before, problem) {
            (None, Some(problem)) => {
                let message = format!("the collector takes no spans: {problem}");
                Event::new("traces_export_failed", "traces", message)
            }
            (Some(_), None) => {
                Event::new("traces_export", "traces", "the collector takes spans again")
            }
            _ => return,
        };
        let event = event.with("endpoint", self.endpoint.clone()).with("lost", lost);
        aloud(|| self.registry.emit(event));
    }
}

impl Inspect for Shared {
    fn name(&self) -> &'static str {
        "traces"
    }

    fn kind(&self) -> &'static str {
        "telemetry"
    }

    fn status(&self) -> Value {
        let Tally { sent, queued, lost } = self.queue.tally();
        Value::map([
            ("endpoint", self.endpoint.clone().into()),
            ("sampler", self.sampler.clone().into()),
            ("sent", sent.into()),
            ("queued", queued.into()),
            ("lost", lost.into()),
            ("failing", self.failing().into()),
        ])
    }

    fn collect(&self, sink: &mut dyn Sink) {
        sink.sample(&DROPPED, &[("signal", "traces")], self.queue.tally().lost as f64);
    }

    fn abnormal(&self) -> Option<String> {
        self.failing().map(|problem| format!("the collector takes no spans: {problem}"))
    }
}

/// The most of a text that is sent, in bytes: as much as of a text in a log line. The SDK has no
/// limit, and one large span costs the batch that it is in.
const MAX_TEXT: usize = 8 * 1024;

fn cut(attribute: &mut KeyValue) {
    if let OtelValue::String(text) = &attribute.value
        && text.as_str().len() > MAX_TEXT
    {
        let text = text.as_str();
        let whole = (0..=MAX_TEXT).rev().find(|end| text.is_char_boundary(*end));
        attribute.value = text[..whole.unwrap_or_default()].to_owned().into();
    }
}

/// Takes spans from the SDK.
#[derive(Debug)]
struct Processor(Arc<Shared>);

impl SpanProcessor for Processor {
    fn on_start(&self, _: &mut Span, _: &Context) {}

    fn on_end(&self, mut span: SpanData) {
        if span.span_context.is_sampled() {
            span.attributes.iter_mut().for_each(cut);
            self.0.queue.push(span);
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        let limit = Duration::from_secs(5); // that of the SDK's own processor
        if self.0.queue.flush(limit) { Ok(()) } else { Err(OTelSdkError::Timeout(limit)) }
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.0.queue.close();
        if self.0.queue.flush(timeout) { Ok(()) } else { Err(OTelSdkError::Timeout(timeout)) }
    }
}

/// The thread that sends.
struct Worker {
    shared: Arc<Shared>,
    exporter: SpanExporter,
    resource: Resource,
    user_ids: UserIds,
}

impl Worker {
    async fn run(mut self) {
        while let Some(mut batch) = self.shared.queue.next().await {
            let count = batch.len();
            for span in &mut batch {
                self.name_user(span);
            }
            let export = tokio::time::timeout(EXPORT_LIMIT, self.exporter.export(batch)).await;
            let problem = match export {
                Ok(Ok(())) => None,
                Ok(Err(error)) => Some(error.to_string()),
                Err(_) => Some(format!("no answer within {EXPORT_LIMIT:?}")),
            };
            let sent = problem.is_none();
            // A connection that hangs stays open, and the next batch would hang in it as well.
            if !sent && let Ok(fresh) = connect(&self.shared.endpoint, &self.resource) {
                self.exporter = fresh;
            }
            self.shared.told(problem, count);
            // Last, so that who waits for the batch finds everything said.
            self.shared.queue.finish(count, sent);
        }
    }

    /// Writes a user id as logs do.
    fn name_user(&self, span: &mut SpanData) {
        for attribute in &mut span.attributes {
            if attribute.key.as_str() != "user_id" {
                continue;
            }
            *attribute = match self.user_ids {
                UserIds::Plain => KeyValue::new("user.id", attribute.value.clone()),
                UserIds::Hashed => {
                    KeyValue::new("user.hash", hash_user_id(&attribute.value.as_str()))
                }
            };
        }
    }
}

/// The exporter cannot start.
#[derive(Debug)]
pub struct StartError(Wrong);

#[derive(Debug)]
enum Wrong {
    Config(String),
    Exporter(ExporterBuildError),
    Thread(io::Error),
}

impl StartError {
    /// Whether what the operator has set is wrong, rather than the machine at its limits.
    pub fn is_config(&self) -> bool {
        !matches!(self.0, Wrong::Thread(_))
    }
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("traces cannot be exported: ")?;
        match &self.0 {
            Wrong::Config(problem) => write!(f, "telemetry.{problem}"),
            Wrong::Exporter(error) => write!(f, "{error}; see the variables OTEL_EXPORTER_OTLP_*"),
            Wrong::Thread(error) => write!(f, "the thread that sends cannot be started: {error}"),
        }
    }
}

impl std::error::Error for StartError {}

#[cfg(test)]
mod tests {
    use super::{KeyValue, MAX_TEXT, OtelValue, cut};

    #[test]
    fn long_text_is_cut_between_two_letters() {
        for (text, len) in [
            ("a".repeat(MAX_TEXT), MAX_TEXT),
            ("a".repeat(5_000_000), MAX_TEXT),
            (format!("a{}", "ö".repeat(MAX_TEXT)), MAX_TEXT - 1),
        ] {
            let mut attribute = KeyValue::new("body", text.clone());
            cut(&mut attribute);
            let OtelValue::String(kept) = &attribute.value else { panic!("no text") };
            assert_eq!(kept.as_str().len(), len);
            assert!(text.starts_with(kept.as_str()));
        }
    }
}
