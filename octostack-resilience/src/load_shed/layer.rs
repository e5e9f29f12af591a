use super::future::ResponseFuture;
use super::{LoadShed, Shared};
use crate::handle::Handle;
use crate::protocol::{Plain, Protocol, choose_answer};
use std::mem;
use std::sync::Arc;
use std::task::{Context, Poll};
use tower_layer::Layer;
use tower_service::Service;

/// Puts a [`LoadShed`] around a service; made by [`LoadShed::layer`].
#[derive(Clone, Copy, Debug)]
pub struct LoadShedLayer<P = Plain, H = Arc<Shared>> {
    policy: LoadShed<H>,
    protocol: P,
}
choose_answer!(LoadShedLayer);

impl<H> LoadShedLayer<Plain, H> {
    pub(super) fn new(policy: LoadShed<H>) -> Self {
        Self { policy, protocol: Plain }
    }
}

impl<S, P: Clone, H: Handle<Shared>> Layer<S> for LoadShedLayer<P, H> {
    type Service = LoadShedService<S, P, H>;

    fn layer(&self, inner: S) -> Self::Service {
        let Self { policy, protocol } = self;
        LoadShedService { inner, ready: false, policy: policy.clone(), protocol: protocol.clone() }
    }
}

/// A service that rejects what comes while the inner service is not ready.
///
/// It is always ready, unless the inner service fails to get ready: that error is passed on. What
/// the inner service said counts for the next call only.
#[derive(Debug)]
pub struct LoadShedService<S, P = Plain, H = Arc<Shared>> {
    inner: S,
    /// What the inner service said last.
    ready: bool,
    policy: LoadShed<H>,
    protocol: P,
}

/// A clone is not ready, as that of the inner service is not.
impl<S: Clone, P: Clone, H: Clone> Clone for LoadShedService<S, P, H> {
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
            ready: false,
            policy: self.policy.clone(),
            protocol: self.protocol.clone(),
        }
    }
}

impl<S, Req, P, H> Service<Req> for LoadShedService<S, P, H>
where
    S: Service<Req> + Clone,
    P: Protocol<S::Response, S::Error>,
    H: Handle<Shared>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = ResponseFuture<S, Req, P>;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        let polled = self.inner.poll_ready(cx);
        self.ready = matches!(polled, Poll::Ready(Ok(())));
        match polled {
            Poll::Pending => Poll::Ready(Ok(())),
            ready @ Poll::Ready(_) => ready,
        }
    }

    #[inline]
    fn call(&mut self, request: Req) -> Self::Future {
        let ready = mem::take(&mut self.ready);
        let protocol = self.protocol.clone();
        match self.policy.admit(ready) {
            Ok(()) if ready => ResponseFuture::running(self.inner.call(request), protocol),
            Ok(()) => {
                // The call goes on waiting with the service that has begun to: that one may have a
                // place in a queue already.
                let fresh = self.inner.clone();
                let waiting = mem::replace(&mut self.inner, fresh);
                ResponseFuture::readying(waiting, request, protocol)
            }
            Err(error) => {
                // Not called, so neither to be kept ready nor to keep a place in a queue: what is
                // handed to somebody who has gone is lost to those who wait.
                self.inner = self.inner.clone();
                ResponseFuture::rejected(error, protocol)
            }
        }
    }
}
