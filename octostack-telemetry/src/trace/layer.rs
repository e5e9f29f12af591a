use super::remote::low_half;
use super::{Remote, Sampler, TraceContext};
use tracing::dispatcher::{Dispatch, get_default};
use tracing::span::{Attributes, Id};
use tracing::{Span, Subscriber};
use tracing_subscriber::Registry;
use tracing_subscriber::layer::{Context, Layer};
use tracing_subscriber::registry::{Extensions, LookupSpan};

/// Gives each span a place in a trace; see the [module docs](super).
///
/// `logs::builder` adds it. In a subscriber of your own it must stand on the
/// [`Registry`] of `tracing-subscriber`, in front of whatever asks for the context.
#[derive(Debug, Default)]
pub struct TraceLayer {
    sampler: Sampler,
    #[cfg(feature = "otlp")]
    otel: Option<super::otlp::Spans>,
}

impl TraceLayer {
    /// A layer that has `sampler` decide which of the traces that begin here are recorded.
    pub fn new(sampler: Sampler) -> Self {
        Self {
            sampler,
            #[cfg(feature = "otlp")]
            otel: None,
        }
    }

    /// Takes the places from the layer of `tracing-opentelemetry` that stands inside of this one, so
    /// that ids in logs and headers are those of the spans that are exported.
    #[cfg(feature = "otlp")]
    pub fn with_otel(mut self) -> Self {
        self.otel = Some(super::otlp::Spans::default());
        self
    }

    /// Whether the current subscriber has a layer of OpenTelemetry.
    #[cfg(feature = "otlp")]
    pub(super) fn is_beside_otel() -> bool {
        get_default(|dispatch| {
            dispatch.downcast_ref::<Self>().is_some_and(|layer| layer.otel.is_some())
        })
    }

    fn begin(&self, parent: Option<TraceContext>) -> TraceContext {
        // First of all, so that it does not wait for the next span.
        let remote = Remote::take();
        let new = || TraceContext::random(false);
        match (remote, parent) {
            (Some(remote), _) => remote.begin(&self.sampler, new()),
            (None, Some(parent)) => parent.child(),
            (None, None) => {
                let new = new();
                let sampled = self.sampler.decide(low_half(new.trace_id()), None);
                new.with_sampled(sampled)
            }
        }
    }
}

/// The place of a span, kept in its extensions.
struct Place(TraceContext);

impl<S> Layer<S> for TraceLayer
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    #[cfg(feature = "otlp")]
    fn on_register_dispatch(&self, dispatch: &Dispatch) {
        if let Some(otel) = &self.otel {
            otel.belong_to(dispatch);
        }
    }

    fn on_new_span(&self, _: &Attributes<'_>, id: &Id, ctx: Context<'_, S>) {
        let Some(span) = ctx.span(id) else { return };
        let own = || {
            let parent = span.parent().and_then(|parent| place(&parent.extensions()).cloned());
            self.begin(parent)
        };
        #[cfg(not(feature = "otlp"))]
        let context = own();
        #[cfg(feature = "otlp")]
        let context = self.otel.as_ref().and_then(|otel| otel.context(id)).unwrap_or_else(own);
        span.extensions_mut().replace(Place(context));
    }
}

/// The place of the span that has these extensions.
#[inline]
pub(crate) fn place<'a>(extensions: &'a Extensions<'_>) -> Option<&'a TraceContext> {
    extensions.get::<Place>().map(|place| &place.0)
}

impl TraceContext {
    /// The place of the current span: that of the request that is being served, or of a span
    /// inside of it. None outside of spans, or without a [`TraceLayer`].
    ///
    /// It is lost where a task is spawned, unless the task takes the span with it; see the
    /// [module docs](super).
    pub fn current() -> Option<Self> {
        get_default(|dispatch| find(dispatch, dispatch.current_span().id()?))
    }

    /// The place of a span. None if the span is disabled, or without a [`TraceLayer`].
    pub fn of(span: &Span) -> Option<Self> {
        span.with_subscriber(|(id, dispatch)| find(dispatch, id)).flatten()
    }
}

fn find(dispatch: &Dispatch, id: &Id) -> Option<TraceContext> {
    let span = dispatch.downcast_ref::<Registry>()?.span(id)?;
    let extensions = span.extensions();
    place(&extensions).cloned()
}
