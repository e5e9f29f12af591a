use super::machine::Draw;
use super::{Chaos, Shared};
use crate::error::{FromPolicy, PolicyError};
use crate::handle::Handle;
use crate::policy::policy_layer;
use crate::protocol::{Plain, Protocol, choose_answer};
use pin_project_lite::pin_project;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use tokio::time::{Sleep, sleep};
use tower_service::Service;

policy_layer!(
    /// Puts a [`Chaos`] policy around a service; made by [`Chaos::layer`].
    ChaosLayer, ChaosService, Chaos
);
choose_answer!(ChaosLayer);

/// A service behind a chaos policy.
///
/// A call that is held back gives the readiness of the inner service back and waits for it again
/// afterwards, on a clone.
#[derive(Clone, Copy, Debug)]
pub struct ChaosService<S, P = Plain, H = Arc<Shared>> {
    inner: S,
    policy: Chaos<H>,
    protocol: P,
}

impl<S, Req, P, H> Service<Req> for ChaosService<S, P, H>
where
    S: Service<Req> + Clone,
    P: Protocol<S::Response, S::Error>,
    H: Handle<Shared>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = ResponseFuture<S, Req, S::Future, P>;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    #[inline]
    fn call(&mut self, request: Req) -> Self::Future {
        let protocol = self.protocol.clone();
        // Each arm makes the whole future: a state that both arms lead to is copied in pieces.
        match self.policy.shared.draw() {
            None => {
                let future = self.inner.call(request);
                ResponseFuture { state: State::Calling { future }, protocol }
            }
            Some(draw) => {
                // The clone takes the place of the readied service, whose slot is thereby free.
                self.inner = self.inner.clone();
                let error = draw.error.then(|| self.policy.shared.error());
                let request = error.is_none().then(|| (self.inner.clone(), request));
                let state = State::Held { sleep: delay(draw), error, request };
                ResponseFuture { state, protocol }
            }
        }
    }
}

/// A timer, unless there is nothing to wait for.
fn delay(draw: Draw) -> Option<Sleep> {
    (!draw.latency.is_zero()).then(|| sleep(draw.latency))
}

pin_project! {
    /// The future of a [`ChaosService`].
    #[must_use = "futures do nothing unless polled"]
    pub struct ResponseFuture<S, Req, F, P> {
        #[pin]
        state: State<S, Req, F>,
        protocol: P,
    }
}

pin_project! {
    #[project = StateProjection]
    enum State<S, Req, F> {
        Calling { #[pin] future: F },
        // Exactly one of `error` and `request` is there until it is used.
        Held {
            #[pin] sleep: Option<Sleep>,
            error: Option<PolicyError>,
            request: Option<(S, Req)>,
        },
    }
}

impl<S, Req, P> Future for ResponseFuture<S, Req, S::Future, P>
where
    S: Service<Req>,
    P: Protocol<S::Response, S::Error>,
{
    type Output = Result<S::Response, S::Error>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            let (mut sleep, error, request) = match this.state.as_mut().project() {
                StateProjection::Calling { future } => return future.poll(cx),
                StateProjection::Held { sleep, error, request } => (sleep, error, request),
            };
            if let Some(timer) = sleep.as_mut().as_pin_mut() {
                ready!(timer.poll(cx));
                sleep.set(None);
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

pin_project! {
    /// The future of [`Chaos::around`], and around a [`MapError`](crate::error::MapError) that of
    /// [`Chaos::call`].
    #[must_use = "futures do nothing unless polled"]
    pub struct Call<F> {
        #[pin]
        sleep: Option<Sleep>,
        error: Option<PolicyError>,
        #[pin]
        future: F,
    }
}

impl<F> Call<F> {
    #[inline]
    pub(super) fn new(shared: &Shared, future: F) -> Self {
        match shared.draw() {
            None => Self { sleep: None, error: None, future },
            Some(draw) => {
                Self { sleep: delay(draw), error: draw.error.then(|| shared.error()), future }
            }
        }
    }
}

impl<F, T, E> Future for Call<F>
where
    F: Future<Output = Result<T, E>>,
    E: FromPolicy,
{
    type Output = Result<T, E>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        if let Some(timer) = this.sleep.as_mut().as_pin_mut() {
            ready!(timer.poll(cx));
            this.sleep.set(None);
        }
        match this.error.take() {
            Some(error) => Poll::Ready(Err(error.into())),
            None => this.future.poll(cx),
        }
    }
}
