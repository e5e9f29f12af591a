use super::hold::Hold;
#[cfg(feature = "http")]
use super::target::{HEADER, HttpRequests, OrHttp};
use super::target::{ROUTE, TENANT};
use super::{Aim, By, Chaos, Shared, Source};
use crate::error::PolicyError;
use crate::handle::Handle;
use crate::protocol::{Plain, Protocol, Responding};
use octostack_core::SystemClock;
use pin_project_lite::pin_project;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use tower_layer::Layer;
use tower_service::Service;

/// Puts a [`Chaos`] policy around a service; made by [`Chaos::layer`].
///
/// It has a protocol, in which it answers, and an [`Aim`], which tells whom a request is for. By
/// itself it looks into no request, and takes any.
#[derive(Clone, Copy, Debug)]
pub struct ChaosLayer<P = Plain, H = Arc<Shared>, A = Aim> {
    policy: Chaos<H>,
    protocol: P,
    aim: A,
}

impl<H> ChaosLayer<Plain, H> {
    pub(super) fn new(policy: Chaos<H>) -> Self {
        Self { policy, protocol: Plain, aim: Aim::default() }
    }
}

impl<P, H, A> ChaosLayer<P, H, A> {
    /// Answers as the closure says.
    pub fn respond_with<Res, Err, F>(self, respond: F) -> ChaosLayer<Responding<P, F>, H, A>
    where
        F: Fn(PolicyError) -> Result<Res, Err> + Clone,
    {
        let Self { policy, protocol, aim } = self;
        ChaosLayer { policy, protocol: Responding { protocol, respond }, aim }
    }

    /// Answers by a protocol of your own.
    pub fn protocol<Q>(self, protocol: Q) -> ChaosLayer<Q, H, A> {
        ChaosLayer { policy: self.policy, protocol, aim: self.aim }
    }
}

#[cfg(feature = "http")]
impl<P, H: Handle<Shared>, R: OrHttp, X, T> ChaosLayer<P, H, Aim<R, X, T>> {
    /// Answers with HTTP responses, see [`Http`](crate::Http), and looks into requests as
    /// [`http_requests`](Self::http_requests) says.
    pub fn respond_http(self) -> ChaosLayer<crate::Http, H, Aim<R::Source, HttpRequests, T>> {
        self.http_requests().protocol(crate::Http)
    }

    /// Answers with gRPC statuses, see [`Grpc`](crate::Grpc), and looks into requests as
    /// [`http_requests`](Self::http_requests) says.
    pub fn respond_grpc(self) -> ChaosLayer<crate::Grpc, H, Aim<R::Source, HttpRequests, T>> {
        self.http_requests().protocol(crate::Grpc)
    }

    /// Looks into `http::Request`s, so that the settings `route` and `header` can be used: the
    /// route is the path, unless [`route_by`](Self::route_by) says another.
    pub fn http_requests(self) -> ChaosLayer<P, H, Aim<R::Source, HttpRequests, T>> {
        self.policy.shared.sees(ROUTE | HEADER);
        let Self { policy, protocol, aim: Aim { route, tenant, .. } } = self;
        let aim = Aim { route: route.or_http(), header: HttpRequests, tenant };
        ChaosLayer { policy, protocol, aim }
    }
}

impl<P, H: Handle<Shared>, R, X, T> ChaosLayer<P, H, Aim<R, X, T>> {
    /// The route of a request is what the closure says, so that the setting `route` can be used:
    /// the template of the path, for instance, as the router knows it. Called only while there is
    /// something to inject into calls of a route.
    pub fn route_by<Req, K, F>(self, route: F) -> ChaosLayer<P, H, Aim<By<F>, X, T>>
    where
        F: Fn(&Req) -> Option<K> + Clone,
        K: AsRef<[u8]>,
    {
        self.policy.shared.sees(ROUTE);
        let Self { policy, protocol, aim: Aim { header, tenant, .. } } = self;
        ChaosLayer { policy, protocol, aim: Aim { route: By(route), header, tenant } }
    }

    /// A request is of the tenant that the closure says, so that the setting `tenant` can be used.
    /// Called only while there is something to inject into calls of a tenant. The closure that
    /// finds the key of a [`KeyedRateLimit`](crate::rate_limit::keyed) fits, if the key is text.
    pub fn tenant_by<Req, K, F>(self, tenant: F) -> ChaosLayer<P, H, Aim<R, X, By<F>>>
    where
        F: Fn(&Req) -> Option<K> + Clone,
        K: AsRef<[u8]>,
    {
        self.policy.shared.sees(TENANT);
        let Self { policy, protocol, aim: Aim { route, header, .. } } = self;
        ChaosLayer { policy, protocol, aim: Aim { route, header, tenant: By(tenant) } }
    }
}

impl<S, P: Clone, H: Handle<Shared>, A: Clone> Layer<S> for ChaosLayer<P, H, A> {
    type Service = ChaosService<S, P, H, A>;

    fn layer(&self, inner: S) -> Self::Service {
        let Self { policy, protocol, aim } = self.clone();
        ChaosService { inner, policy, protocol, aim }
    }
}

/// A service behind a chaos policy.
///
/// A call that is held back gives the readiness of the inner service back and waits for it again
/// afterwards, on a clone.
#[derive(Clone, Copy, Debug)]
pub struct ChaosService<S, P = Plain, H = Arc<Shared>, A = Aim> {
    inner: S,
    policy: Chaos<H>,
    protocol: P,
    aim: A,
}

impl<S, Req, P, H, R, X, T> Service<Req> for ChaosService<S, P, H, Aim<R, X, T>>
where
    S: Service<Req> + Clone,
    P: Protocol<S::Response, S::Error>,
    H: Handle<Shared>,
    R: Source<Req>,
    X: Source<Req>,
    T: Source<Req>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = ResponseFuture<S, Req, S::Future, P, H>;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    #[inline]
    fn call(&mut self, request: Req) -> Self::Future {
        let protocol = self.protocol.clone();
        let shared = &self.policy.shared;
        let drawn = shared.draw(|only| self.aim.meets(&request, only), &SystemClock);
        // Each arm makes the whole future: a state that both arms lead to is copied in pieces.
        match drawn {
            None => {
                let future = self.inner.call(request);
                ResponseFuture { state: State::Calling { future }, protocol }
            }
            Some(draw) => {
                // The clone takes the place of the readied service, whose slot is thereby free.
                self.inner = self.inner.clone();
                let error = draw.error.then(|| shared.error());
                let request = error.is_none().then(|| (self.inner.clone(), request));
                let hold = Hold::new(shared, draw).map(Box::pin);
                let state = State::Held { hold, error, request };
                ResponseFuture { state, protocol }
            }
        }
    }
}

pin_project! {
    /// The future of a [`ChaosService`].
    #[must_use = "futures do nothing unless polled"]
    pub struct ResponseFuture<S, Req, F, P, H> {
        #[pin]
        state: State<S, Req, F, H>,
        protocol: P,
    }
}

pin_project! {
    #[project = StateProjection]
    enum State<S, Req, F, H> {
        Calling { #[pin] future: F },
        // Exactly one of `error` and `request` is there until it is used. The wait is in a box, so
        // that calls that are left alone do not carry the room for it.
        Held {
            hold: Option<Pin<Box<Hold<H>>>>,
            error: Option<PolicyError>,
            request: Option<(S, Req)>,
        },
    }
}

impl<S, Req, P, H> Future for ResponseFuture<S, Req, S::Future, P, H>
where
    S: Service<Req>,
    P: Protocol<S::Response, S::Error>,
    H: Handle<Shared>,
{
    type Output = Result<S::Response, S::Error>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            let (hold, error, request) = match this.state.as_mut().project() {
                StateProjection::Calling { future } => return future.poll(cx),
                StateProjection::Held { hold, error, request } => (hold, error, request),
            };
            if let Some(wait) = hold {
                ready!(wait.as_mut().poll(cx));
                *hold = None;
            }
            if let Some(error) = error.take() {
                return Poll::Ready(this.protocol.reject(error));
            }
            #[allow(clippy::expect_used, reason = "the contract of `Future` forbids it")]
            let (inner, _) = request.as_mut().expect("polled after it was ready");
            let readied = ready!(inner.poll_ready(cx));
            if let Some((mut inner, request)) = request.take() {
                readied?;
                let future = inner.call(request);
                this.state.set(State::Calling { future });
            }
        }
    }
}
