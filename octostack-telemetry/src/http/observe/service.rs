use super::guard::Guard;
use super::{Observe, ResponseBody, ResponseFuture};
use http::{Request, Response};
use http_body::Body;
use std::task::{Context, Poll};
use tower_layer::Layer;
use tower_service::Service;

/// Observes the requests of a service; see the [module docs](super).
#[derive(Clone, Debug)]
pub struct ObserveLayer<O> {
    observe: O,
}

impl<O: Observe> ObserveLayer<O> {
    /// A layer that tells `observe` of each request.
    pub const fn new(observe: O) -> Self {
        Self { observe }
    }
}

impl<S, O: Clone> Layer<S> for ObserveLayer<O> {
    type Service = ObserveService<S, O>;

    fn layer(&self, inner: S) -> Self::Service {
        ObserveService::new(inner, self.observe.clone())
    }
}

/// The service of an [`ObserveLayer`].
#[derive(Clone, Debug)]
pub struct ObserveService<S, O> {
    inner: S,
    observe: O,
}

impl<S, O> ObserveService<S, O> {
    /// `inner`, with each request told to `observe`.
    pub const fn new(inner: S, observe: O) -> Self {
        Self { inner, observe }
    }
}

impl<S, O, Req, Res> Service<Request<Req>> for ObserveService<S, O>
where
    S: Service<Request<Req>, Response = Response<Res>>,
    O: Observe,
    Res: Body,
{
    type Response = Response<ResponseBody<Res, O::Report>>;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future, O::Report>;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    #[inline]
    fn call(&mut self, mut request: Request<Req>) -> Self::Future {
        let mut guard = Guard::start(&self.observe, &mut request);
        let inner = guard.within(|| self.inner.call(request));
        ResponseFuture::new(inner, guard)
    }
}
