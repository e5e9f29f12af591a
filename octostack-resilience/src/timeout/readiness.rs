//! Whether the wait for the inner service to get ready is part of a call.
use crate::error::Phase;
use pin_project_lite::pin_project;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tower_service::Service;

/// What happens to the readiness of the inner service.
pub trait Readiness<S: Service<Req>, Req>: Clone {
    /// One call of the inner service.
    type Call: Calling<Output = Result<S::Response, S::Error>>;

    /// The readiness of the outer service.
    fn poll_ready(&self, inner: &mut S, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>>;

    /// Begins a call.
    fn call(&self, inner: &mut S, request: Req) -> Self::Call;
}

/// A call that says what it waits for.
pub trait Calling: Future {
    /// What it waits for at the moment.
    fn phase(&self) -> Phase;
}

/// The wait comes before the call and is not timed; the default.
#[derive(Clone, Copy, Debug, Default)]
pub struct Before;

/// The wait is part of the call; made by
/// [`including_readiness()`](super::TimeoutLayer::including_readiness).
#[derive(Clone, Copy, Debug, Default)]
pub struct Within;

impl<S: Service<Req>, Req> Readiness<S, Req> for Before {
    type Call = Ready<S::Future>;

    #[inline]
    fn poll_ready(&self, inner: &mut S, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        inner.poll_ready(cx)
    }

    #[inline]
    fn call(&self, inner: &mut S, request: Req) -> Self::Call {
        Ready { future: inner.call(request) }
    }
}

impl<S: Service<Req> + Clone, Req> Readiness<S, Req> for Within {
    type Call = Readying<S, Req, S::Future>;

    fn poll_ready(&self, _: &mut S, _: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&self, inner: &mut S, request: Req) -> Self::Call {
        Readying { state: State::Waiting { next: Some((inner.clone(), request)) } }
    }
}

pin_project! {
    /// A call of a service that was ready, or of none.
    #[derive(Debug)]
    pub struct Ready<F> {
        #[pin]
        pub(super) future: F,
    }
}

impl<F: Future> Future for Ready<F> {
    type Output = F::Output;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        self.project().future.poll(cx)
    }
}

impl<F: Future> Calling for Ready<F> {
    fn phase(&self) -> Phase {
        Phase::Head
    }
}

pin_project! {
    /// A call that waits for its service first.
    #[derive(Debug)]
    pub struct Readying<S, Req, F> {
        #[pin]
        state: State<S, Req, F>,
    }
}

pin_project! {
    #[derive(Debug)]
    #[project = StateProjection]
    enum State<S, Req, F> {
        Waiting { next: Option<(S, Req)> },
        Calling { #[pin] future: F },
    }
}

impl<S: Service<Req>, Req> Future for Readying<S, Req, S::Future> {
    type Output = Result<S::Response, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            let next = match this.state.as_mut().project() {
                StateProjection::Calling { future } => return future.poll(cx),
                StateProjection::Waiting { next } => next,
            };
            #[allow(clippy::expect_used, reason = "the contract of `Future` forbids it")]
            let (inner, _) = next.as_mut().expect("polled after it was ready");
            let readied = ready!(inner.poll_ready(cx));
            if let Some((mut inner, request)) = next.take() {
                readied?;
                // ## Waiting => Calling
                let future = inner.call(request);
                this.state.set(State::Calling { future });
            }
        }
    }
}

impl<S: Service<Req>, Req> Calling for Readying<S, Req, S::Future> {
    fn phase(&self) -> Phase {
        match self.state {
            State::Waiting { .. } => Phase::Readiness,
            State::Calling { .. } => Phase::Head,
        }
    }
}
