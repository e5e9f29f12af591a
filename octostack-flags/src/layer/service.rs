use super::{ContextSource, PinnedBody, ResponseFuture};
use crate::Flags;
use crate::pin::Entered;
use http::{Request, Response};
use http_body::Body;
use std::fmt;
use std::task::{Context, Poll};
use tower_service::Service;

/// The service of a [`FlagsLayer`](super::FlagsLayer).
#[derive(Clone)]
pub struct FlagsService<S, C = ()> {
    inner: S,
    flags: Flags,
    context: C,
}

impl<S, C> FlagsService<S, C> {
    pub(super) const fn new(inner: S, flags: Flags, context: C) -> Self {
        Self { inner, flags, context }
    }
}

impl<S, C, Req, Res> Service<Request<Req>> for FlagsService<S, C>
where
    S: Service<Request<Req>, Response = Response<Res>>,
    C: ContextSource,
    Res: Body,
{
    type Response = Response<PinnedBody<Res>>;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future>;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    #[inline]
    fn call(&mut self, request: Request<Req>) -> Self::Future {
        let (parts, body) = request.into_parts();
        let mut pinned = Some(self.flags.pin(self.context.context(&parts)));
        let request = Request::from_parts(parts, body);
        let future = {
            let _entered = Entered::new(&mut pinned);
            self.inner.call(request)
        };
        ResponseFuture::new(future, pinned)
    }
}

impl<S: fmt::Debug, C> fmt::Debug for FlagsService<S, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FlagsService")
            .field("inner", &self.inner)
            .field("flags", &self.flags)
            .finish_non_exhaustive()
    }
}
