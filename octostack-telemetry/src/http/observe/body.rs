use super::guard::Guard;
use super::{Outcome, Report};
use bytes::Buf;
use http::{Response, header};
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

pin_project! {
    /// Response body of an [`ObserveService`](super::ObserveService).
    #[derive(Debug)]
    pub struct ResponseBody<B, R>
    where
        B: Body,
        R: Report,
    {
        // Until it is dropped.
        #[pin]
        inner: Option<B>,
        guard: Option<Guard<R>>,
        // Bytes that are still to come before a server stops to poll; the largest if unknown.
        left: u64,
    }

    impl<B, R> PinnedDrop for ResponseBody<B, R>
    where
        B: Body,
        R: Report,
    {
        fn drop(this: Pin<&mut Self>) {
            let mut this = this.project();
            let Some(mut guard) = this.guard.take() else { return };
            // After a panic the body is not asked any more: it may panic again, and abort.
            let inner = this.inner.as_ref().get_ref().as_ref();
            let is_complete = !guard.is_panicked() && (*this.left == 0 || is_end(inner));
            guard.within_drop(|| this.inner.set(None));
            if is_complete {
                guard.finish(Outcome::Completed);
            }
        }
    }
}

impl<B: Body, R: Report> ResponseBody<B, R> {
    #[inline]
    pub(super) fn new(inner: B, guard: Option<Guard<R>>, length: Option<u64>) -> Self {
        Self { inner: Some(inner), guard, left: length.unwrap_or(u64::MAX) }
    }
}

#[inline]
fn is_end<B: Body>(inner: Option<&B>) -> bool {
    inner.is_none_or(Body::is_end_stream)
}

/// The length at which a server stops: what the body knows, else what the headers announce.
#[inline]
pub(super) fn length<B: Body>(response: &Response<B>) -> Option<u64> {
    let announced = || {
        let value = response.headers().get(header::CONTENT_LENGTH)?;
        value.to_str().ok()?.parse().ok()
    };
    response.body().size_hint().exact().or_else(announced)
}

impl<B: Body, R: Report> Body for ResponseBody<B, R> {
    type Data = B::Data;
    type Error = B::Error;

    #[inline]
    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let this = self.project();
        let Some(inner) = this.inner.as_pin_mut() else { return Poll::Ready(None) };
        let Some(guard) = this.guard else {
            return inner.poll_frame(cx);
        };
        let frame = ready!(guard.within(|| inner.poll_frame(cx)));
        let ended = match &frame {
            Some(Ok(frame)) => {
                let sent = frame.data_ref().map_or(0, Buf::remaining);
                *this.left = this.left.saturating_sub(sent as u64);
                // Nothing comes after trailers, and servers do not ask.
                frame.trailers_ref().map(|trailers| {
                    guard.trailers(trailers);
                    Outcome::Completed
                })
            }
            Some(Err(_)) => Some(Outcome::BodyFailed),
            None => Some(Outcome::Completed),
        };
        if let Some(outcome) = ended
            && let Some(guard) = this.guard.take()
        {
            guard.finish(outcome);
        }
        Poll::Ready(frame)
    }

    #[inline]
    fn is_end_stream(&self) -> bool {
        is_end(self.inner.as_ref())
    }

    #[inline]
    fn size_hint(&self) -> SizeHint {
        self.inner.as_ref().map_or_else(SizeHint::default, Body::size_hint)
    }
}
