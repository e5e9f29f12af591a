use crate::pin::{Entered, Pinned};
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use std::pin::Pin;
use std::task::{Context, Poll};

pin_project! {
    /// Response body of a [`FlagsService`](super::FlagsService): whatever makes its frames reads
    /// the flags of the request.
    #[derive(Debug)]
    pub struct PinnedBody<B> {
        #[pin]
        inner: B,
        pinned: Option<Pinned>,
    }
}

impl<B> PinnedBody<B> {
    pub(super) const fn new(inner: B, pinned: Option<Pinned>) -> Self {
        Self { inner, pinned }
    }

    /// The body itself.
    pub const fn inner(&self) -> &B {
        &self.inner
    }
}

/// So that a policy further out can answer for the service: such a body reads no flags.
impl<B: From<Bytes>> From<Bytes> for PinnedBody<B> {
    fn from(bytes: Bytes) -> Self {
        Self::new(bytes.into(), None)
    }
}

/// As the body of an answer in gRPC, which is in the headers.
impl<B: Default> Default for PinnedBody<B> {
    fn default() -> Self {
        Self::new(B::default(), None)
    }
}

impl<B: Body> Body for PinnedBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    #[inline]
    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let this = self.project();
        let _entered = Entered::new(this.pinned);
        this.inner.poll_frame(cx)
    }

    #[inline]
    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    #[inline]
    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
