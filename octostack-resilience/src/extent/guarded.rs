use super::{BodyGuard, Ending};
use crate::unwind::ending_on_panic;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

pin_project! {
    /// A body that keeps something until it ends: a place in a bulkhead, or a verdict to be given.
    #[derive(Debug)]
    pub struct GuardedBody<B, G> {
        // Dropped before the guard that covers it: fields drop in this order.
        #[pin]
        body: B,
        guard: Option<G>,
        // Whether anything was in it so far.
        begun: bool,
    }
}

impl<B: Body, G: BodyGuard> GuardedBody<B, G> {
    pub(super) fn new(body: B, mut guard: G) -> Self {
        if body.is_end_stream() {
            guard.end(Ending::Empty);
            return Self::unguarded(body);
        }
        guard.begin();
        Self { body, guard: Some(guard), begun: false }
    }

    pub(super) fn unguarded(body: B) -> Self {
        Self { body, guard: None, begun: false }
    }
}

/// For answers that layers outside make themselves.
impl<B: Default, G> Default for GuardedBody<B, G> {
    fn default() -> Self {
        Self { body: B::default(), guard: None, begun: false }
    }
}

/// For answers that layers outside make themselves.
impl<B: From<bytes::Bytes>, G> From<bytes::Bytes> for GuardedBody<B, G> {
    fn from(bytes: bytes::Bytes) -> Self {
        Self { body: bytes.into(), guard: None, begun: false }
    }
}

fn end<G: BodyGuard>(guard: &mut Option<G>, ending: Ending<'_>) {
    if let Some(guard) = guard.take() {
        guard.end(ending);
    }
}

impl<B: Body, G: BodyGuard> Body for GuardedBody<B, G> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let mut this = self.project();
        let panicked = |guard: &mut Option<G>| drop(guard.take());
        let frame =
            ready!(ending_on_panic(this.guard, panicked, || { this.body.as_mut().poll_frame(cx) }));
        let whole = |begun: bool| if begun { Ending::Complete } else { Ending::Empty };
        match &frame {
            None => end(this.guard, whole(*this.begun)),
            Some(Err(_)) => end(this.guard, Ending::Broken),
            Some(Ok(frame)) => {
                *this.begun |= frame.is_data();
                if let Some(trailers) = frame.trailers_ref() {
                    end(this.guard, Ending::Trailers(trailers));
                } else if this.body.is_end_stream() {
                    // Who knows that nothing follows may never ask again.
                    end(this.guard, whole(*this.begun));
                }
            }
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
