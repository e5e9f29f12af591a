use super::{Sampler, TraceContext, TraceId, TrustCaller};
use std::cell::Cell;
use tracing::Span;

/// The place in a trace that came from another process, and what is believed of it.
///
/// ```
/// use octostack_telemetry::trace::{Remote, TraceContext, TraceLayer, TrustCaller};
/// use tracing_subscriber::layer::SubscriberExt as _;
///
/// # let subscriber = tracing_subscriber::registry().with(TraceLayer::default());
/// # tracing::subscriber::with_default(subscriber, || {
/// // A message out of a queue, say, that only our own services write to.
/// let header = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
/// let span = match header.parse::<TraceContext>() {
///     Ok(sender) => Remote::new(sender, TrustCaller::All).span(|| tracing::info_span!("message")),
///     Err(_) => tracing::info_span!("message"),
/// };
/// let context = TraceContext::of(&span).expect("the layer is installed");
/// assert_eq!(context.trace_id().to_string(), "4bf92f3577b34da6a3ce929d0e0e4736");
/// # });
/// # Ok::<(), octostack_telemetry::trace::TraceContextError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Remote {
    pub(super) context: TraceContext,
    pub(super) trust: TrustCaller,
}

thread_local! {
    /// Where the span begins that is being made on this thread.
    static NEXT: Cell<Option<Remote>> = const { Cell::new(None) };
}

/// A span that the filter swallows must not leave its beginning to the next one.
struct Clear;

impl Drop for Clear {
    fn drop(&mut self) {
        Remote::take();
    }
}

impl Remote {
    /// What a caller has sent, and what is believed of it.
    pub const fn new(context: TraceContext, trust: TrustCaller) -> Self {
        Self { context, trust }
    }

    /// Makes a span that begins there. `make` makes one span; the current span is not its parent.
    pub fn span(self, make: impl FnOnce() -> Span) -> Span {
        #[cfg(feature = "otlp")]
        if super::TraceLayer::is_beside_otel() {
            return super::otlp::remote_span(&self, make);
        }
        let _ = NEXT.try_with(|next| next.set(Some(self)));
        let _clear = Clear;
        make()
    }

    /// Where the span begins that is being made, if that is in another process.
    #[inline]
    pub(super) fn take() -> Option<Self> {
        NEXT.try_with(Cell::take).ok().flatten()
    }

    /// Where a span begins that has this remote parent. `new` is random.
    pub(super) fn begin(self, sampler: &Sampler, new: TraceContext) -> TraceContext {
        // Chance of our own: a caller that picks the trace id would pick one that is recorded.
        let own = low_half(new.trace_id());
        let child = |sampled| {
            let context = TraceContext::new(self.context.trace_id(), new.span_id(), false);
            context.with_flags_of(&self.context).with_sampled(sampled)
        };
        match self.trust {
            TrustCaller::Never => new.with_sampled(sampler.decide(own, None)),
            TrustCaller::Ids => child(sampler.decide(own, None)),
            TrustCaller::All => {
                let decided = Some(self.context.is_sampled());
                child(sampler.decide(low_half(self.context.trace_id()), decided))
            }
        }
    }
}

/// The bits of a trace id that samplers take for chance.
#[allow(clippy::cast_possible_truncation, reason = "the lower half is wanted")]
pub(super) const fn low_half(trace_id: TraceId) -> u64 {
    trace_id.to_u128() as u64
}

#[cfg(test)]
mod tests {
    use super::Remote;
    use crate::trace::TrustCaller as Trust;
    use crate::trace::{Sampler, SamplerKind, SpanId, TraceContext, TraceId, TraceState};

    fn context(trace: u128, span: u64, sampled: bool) -> TraceContext {
        TraceContext::new(TraceId::new(trace).unwrap(), SpanId::new(span).unwrap(), sampled)
    }

    #[test]
    fn believes_as_much_as_it_is_told() {
        let half = Sampler::new(SamplerKind::ParentBasedTraceIdRatio, 0.5);
        let (low, high) = (1_u128, u128::from(u64::MAX));
        for (trust, new, caller_sampled, trace, sampled) in [
            // Whether it is recorded depends on the new id, never on what the caller sends.
            (Trust::Never, low, false, low, true),
            (Trust::Never, high, true, high, false),
            (Trust::Ids, low, false, 7, true),
            (Trust::Ids, high, true, 7, false),
            (Trust::All, low, false, 7, false),
            (Trust::All, high, true, 7, true),
        ] {
            let state = TraceState::parse(["a=1"]);
            let caller = context(7, 8, caller_sampled).with_state(state.clone());
            let begun = Remote::new(caller, trust).begin(&half, context(new, 9, false));
            let kept = if trust == Trust::Never { TraceState::NONE } else { state };
            let expected = context(trace, 9, sampled).with_state(kept);
            assert_eq!(begun, expected, "{trust:?} {new} {caller_sampled}");
        }
    }

    #[test]
    fn all_services_that_record_a_share_decide_alike() {
        let half = Sampler::new(SamplerKind::TraceIdRatio, 0.5);
        let begin = |trace| {
            let remote = Remote::new(context(trace, 8, true), Trust::All);
            remote.begin(&half, context(u128::MAX, 9, false)).is_sampled()
        };
        assert!(begin(1) && !begin(u128::MAX));
    }
}
