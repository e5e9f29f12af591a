use super::PinnedBody;
use crate::pin::{Entered, Pinned};
use http::Response;
use http_body::Body;
use pin_project_lite::pin_project;
use std::pin::Pin;
use std::task::{Context, Poll};

pin_project! {
    /// The future of a [`FlagsService`](super::FlagsService).
    #[must_use = "futures do nothing unless polled"]
    #[derive(Debug)]
    pub struct ResponseFuture<F> {
        #[pin]
        inner: F,
        pinned: Option<Pinned>,
    }
}

impl<F> ResponseFuture<F> {
    pub(super) const fn new(inner: F, pinned: Option<Pinned>) -> Self {
        Self { inner, pinned }
    }
}

impl<F, B, E> Future for ResponseFuture<F>
where
    F: Future<Output = Result<Response<B>, E>>,
    B: Body,
{
    type Output = Result<Response<PinnedBody<B>>, E>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let output = {
            let _entered = Entered::new(this.pinned);
            this.inner.poll(cx)
        };
        output.map(|output| {
            output.map(|response| response.map(|body| PinnedBody::new(body, this.pinned.take())))
        })
    }
}
