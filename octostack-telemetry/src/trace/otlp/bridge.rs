//! Between our places in a trace and the spans of OpenTelemetry.
use super::otel::{Context, ContextGuard, KeyValue, trace as api};
use crate::trace::remote::low_half;
use crate::trace::{Remote, Sampler, SpanId, TraceContext, TraceId, TraceState, TrustCaller};
use api::{Link, SpanContext, SpanKind, TraceContextExt as _, TraceFlags};
use opentelemetry_sdk::trace::{SamplingDecision, SamplingResult, ShouldSample};
use std::sync::OnceLock;
use tracing::Span;
use tracing::dispatcher::{Dispatch, WeakDispatch};
use tracing::span::Id;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

/// The spans of the `OpenTelemetryLayer` of the same subscriber.
#[derive(Debug, Default)]
pub(crate) struct Spans {
    /// Weak, since the subscriber holds the layer that holds this.
    subscriber: OnceLock<WeakDispatch>,
}

impl Spans {
    pub(crate) fn belong_to(&self, subscriber: &Dispatch) {
        let _ = self.subscriber.set(subscriber.downgrade());
    }

    /// The place of a span that has just been made, which starts it for OpenTelemetry.
    ///
    /// At once and not when it is first asked for: to start a span takes a lock of the span, and
    /// whatever logs under it would ask again.
    pub(crate) fn context(&self, span: &Id) -> Option<TraceContext> {
        let subscriber = self.subscriber.get()?.upgrade()?;
        let context = tracing_opentelemetry::get_otel_context(span, &subscriber)?;
        ours(context.span().span_context())
    }
}

/// The place in a trace that a span of OpenTelemetry has; none if nothing is to be traced there.
fn ours(theirs: &SpanContext) -> Option<TraceContext> {
    let trace_id = TraceId::new(u128::from_be_bytes(theirs.trace_id().to_bytes()))?;
    let span_id = SpanId::new(u64::from_be_bytes(theirs.span_id().to_bytes()))?;
    let context =
        TraceContext::new(trace_id, span_id, false).with_flags(theirs.trace_flags().to_u8());
    let state = theirs.trace_state();
    if *state == api::TraceState::NONE {
        return Some(context);
    }
    Some(context.with_state(TraceState::parse([&*state.header()])))
}

fn theirs(ours: &TraceContext) -> SpanContext {
    SpanContext::new(
        api::TraceId::from(ours.trace_id().to_u128()),
        api::SpanId::from(ours.span_id().to_u64()),
        TraceFlags::new(ours.flags()),
        true,
        ours.state().as_str().parse().unwrap_or_default(),
    )
}

/// Marks a parent whose decision to record is not believed.
#[derive(Clone, Copy, Debug)]
struct Untrusted;

/// Makes a span that begins in another process, as [`Remote::span`] does.
pub(crate) fn remote_span(remote: &Remote, make: impl FnOnce() -> Span) -> Span {
    let caller = theirs(&remote.context);
    let within = |parent: Context| -> ContextGuard { parent.attach() };
    match remote.trust {
        TrustCaller::Never => {
            let span = {
                let _new = within(Context::new());
                make()
            };
            span.add_link(caller);
            span
        }
        TrustCaller::Ids => {
            let parent = Context::new().with_value(Untrusted).with_remote_span_context(caller);
            let _parent = within(parent);
            make()
        }
        TrustCaller::All => {
            let _parent = within(Context::new().with_remote_span_context(caller));
            make()
        }
    }
}

/// Our sampler, asked by the SDK.
#[derive(Clone, Debug)]
pub(super) struct Sampling(pub(super) Sampler);

impl Sampling {
    fn decide(&self, parent: Option<&Context>, trace: api::TraceId) -> bool {
        let new = TraceId::new(u128::from_be_bytes(trace.to_bytes()));
        let chance = new.map_or(0, low_half);
        let Some(parent) = parent.filter(|cx| cx.span().span_context().is_valid()) else {
            return self.0.decide(chance, None);
        };
        let span = parent.span();
        let decided = span.span_context().is_sampled();
        match (span.span_context().is_remote(), parent.get::<Untrusted>()) {
            // A trace is recorded whole, or not at all.
            (false, _) => decided,
            (true, None) => self.0.decide(chance, Some(decided)),
            // Chance of our own: a caller that picks the trace id would pick one that is recorded.
            (true, Some(Untrusted)) => self.0.decide(fastrand::u64(..), None),
        }
    }
}

impl ShouldSample for Sampling {
    fn should_sample(
        &self,
        parent: Option<&Context>,
        trace: api::TraceId,
        _name: &str,
        _kind: &SpanKind,
        _attributes: &[KeyValue],
        _links: &[Link],
    ) -> SamplingResult {
        let decision = if self.decide(parent, trace) {
            SamplingDecision::RecordAndSample
        } else {
            SamplingDecision::Drop
        };
        let state = parent.map(|cx| cx.span().span_context().trace_state().clone());
        SamplingResult { decision, attributes: Vec::new(), trace_state: state.unwrap_or_default() }
    }
}

#[cfg(test)]
mod tests {
    use super::{Context, Sampling, Untrusted, ours, theirs};
    use crate::trace::{Sampler, SamplerKind, TraceContext, TraceState};
    use opentelemetry::trace::{SpanContext, TraceContextExt as _, TraceId};

    #[test]
    fn a_place_is_the_same_on_both_sides() {
        let text = "00-12345678901234567890123456789012-1234567890123456-03";
        let context: TraceContext = text.parse().unwrap();
        for state in ["", "a=1,b=2"] {
            let context = context.clone().with_state(TraceState::parse([state]));
            assert_eq!(ours(&theirs(&context)), Some(context));
        }
        assert_eq!(ours(&SpanContext::NONE), None);
    }

    #[test]
    fn a_decision_is_believed_as_far_as_it_may_be() {
        let sampled = theirs(&TraceContext::random(true));
        let remote = Context::new().with_remote_span_context(sampled.clone());
        let untrusted = Context::new().with_value(Untrusted).with_remote_span_context(sampled);
        for (kind, root, trusted, not) in [
            (SamplerKind::ParentBasedAlwaysOff, false, true, false),
            (SamplerKind::ParentBasedAlwaysOn, true, true, true),
            (SamplerKind::AlwaysOff, false, false, false),
        ] {
            let sampling = Sampling(Sampler::new(kind, 1.0));
            let decide = |parent| sampling.decide(parent, TraceId::from(1));
            assert_eq!(decide(None), root, "{kind:?}");
            assert_eq!(decide(Some(&remote)), trusted, "{kind:?}");
            assert_eq!(decide(Some(&untrusted)), not, "{kind:?}");
        }
    }

    #[test]
    fn a_caller_that_is_not_believed_cannot_choose_to_be_recorded() {
        // Its id is within any share that is not empty.
        let id = "00-00000000000000010000000000000001-1234567890123456-01";
        let caller = theirs(&id.parse().unwrap());
        let untrusted =
            Context::new().with_value(Untrusted).with_remote_span_context(caller.clone());
        let sampling = Sampling(Sampler::new(SamplerKind::TraceIdRatio, 0.01));
        let recorded =
            (0..1_000).filter(|_| sampling.decide(Some(&untrusted), caller.trace_id())).count();
        assert!(recorded < 100, "{recorded} of 1,000 where about 10 are meant");
    }
}
