use super::permit::Permit;
use super::{CircuitBreaker, Shared, State};
use crate::error::{Error, PolicyError};
use crate::handle::Handle;
use crate::outcome::Outcome;
use crate::policy::policy_layer;
use crate::protocol::{Plain, Protocol, choose_protocol};
use crate::unwind::ending_on_panic;
use octostack_core::SystemClock;
use pin_project_lite::pin_project;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tower_service::Service;

policy_layer!(
    /// Puts a [`CircuitBreaker`] around a service; made by [`CircuitBreaker::layer`].
    CircuitBreakerLayer, CircuitBreakerService, CircuitBreaker
);
choose_protocol!(CircuitBreakerLayer);

/// A service behind a circuit breaker.
///
/// Its readiness is that of the inner service: an open breaker rejects in `call`, so that buffers
/// and balancers in front of it stay alive.
#[derive(Clone, Copy, Debug)]
pub struct CircuitBreakerService<S, P = Plain, H = Arc<Shared>> {
    inner: S,
    policy: CircuitBreaker<H>,
    protocol: P,
}

impl<S, Req, P, H> Service<Req> for CircuitBreakerService<S, P, H>
where
    S: Service<Req> + Clone,
    P: Protocol<S::Response, S::Error>,
    H: Handle<Shared>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future, P, H>;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        match self.inner.poll_ready(cx) {
            Poll::Ready(Err(error)) => Poll::Ready(self.never_ready(error)),
            other => other,
        }
    }

    #[inline]
    fn call(&mut self, request: Req) -> Self::Future {
        let protocol = self.protocol.clone();
        // Each arm makes the whole future: a state that both arms lead to is copied in pieces.
        match self.policy.admit() {
            Ok(permit) => {
                // The permit comes first: if `call` panics, it is there to be dropped.
                let permit = Some(permit);
                let future = self.inner.call(request);
                ResponseFuture { state: CallState::Admitted { future, permit }, protocol }
            }
            Err(error) => {
                // Not called, so not to be kept ready: others may wait for that.
                self.inner = self.inner.clone();
                ResponseFuture { state: CallState::Rejected { error: Some(error) }, protocol }
            }
        }
    }
}

impl<S, P, H: Handle<Shared>> CircuitBreakerService<S, P, H> {
    /// The inner service fails before it is called: its caller has a failure all the same.
    #[cold]
    fn never_ready<Res, Err>(&self, error: Err) -> Result<(), Err>
    where
        P: Protocol<Res, Err>,
    {
        let output = Err(error);
        // An open breaker has nothing to learn from it, and rejects nobody here.
        if self.policy.state() != State::Open
            && let Ok(permit) = self.policy.admit()
        {
            let outcome = self.protocol.classify(&output);
            unsuccessful(permit, outcome, || self.protocol.retry_after(&output));
        }
        output.map(|_| ())
    }
}

pin_project! {
    /// The future of a [`CircuitBreakerService`].
    #[must_use = "futures do nothing unless polled"]
    pub struct ResponseFuture<F, P, H: Handle<Shared>> {
        #[pin]
        state: CallState<F, H>,
        protocol: P,
    }
}

/// The future of [`CircuitBreaker::around`].
pub type Around<'a, F> = ResponseFuture<F, Plain, &'a Shared>;

/// What judges the outputs of [`CircuitBreaker::call`].
pub type Judge<O> = fn(&O) -> Outcome;

pin_project! {
    /// The future of [`CircuitBreaker::call`] and [`CircuitBreaker::call_with`].
    // Not `Around` with a mapped error: a result is judged while it is small, before its error is
    // wrapped. That is a third of what a call costs.
    #[must_use = "futures do nothing unless polled"]
    pub struct Call<'a, F, C> {
        #[pin]
        state: CallState<F, &'a Shared>,
        classify: C,
    }
}

pin_project! {
    #[project = StateProjection]
    enum CallState<F, H: Handle<Shared>> {
        Rejected { error: Option<PolicyError> },
        Admitted { #[pin] future: F, permit: Option<Permit<H>> },
    }
}

impl<F, H: Handle<Shared>> CallState<F, H> {
    /// Polls to the answer.
    #[inline]
    fn poll<Output, Answer>(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        classify: impl FnOnce(&Output) -> Outcome,
        retry_after: impl FnOnce(&Output) -> Option<Duration>,
        reject: impl FnOnce(PolicyError) -> Answer,
        pass: impl FnOnce(Output) -> Answer,
    ) -> Poll<Answer>
    where
        F: Future<Output = Output>,
    {
        match self.project() {
            StateProjection::Admitted { future, permit } => {
                let panicked = |permit: &mut Option<Permit<H>>| drop(permit.take());
                let output = ready!(ending_on_panic(permit, panicked, || future.poll(cx)));
                if let Some(permit) = permit.take() {
                    match classify(&output) {
                        Outcome::Success => permit.settle(Outcome::Success),
                        outcome => unsuccessful(permit, outcome, || retry_after(&output)),
                    }
                }
                Poll::Ready(pass(output))
            }
            StateProjection::Rejected { error } => {
                let error = error.take();
                #[allow(clippy::expect_used, reason = "the contract of `Future` forbids it")]
                let error = error.expect("polled after it was ready");
                Poll::Ready(reject(error))
            }
        }
    }
}

/// Settles a call that has not gone well. Only a failure says when the service wants to be asked
/// again.
#[cold]
fn unsuccessful<H: Handle<Shared>>(
    permit: Permit<H>,
    outcome: Outcome,
    retry_after: impl FnOnce() -> Option<Duration>,
) {
    let failed = matches!(outcome, Outcome::Failure | Outcome::Overloaded);
    permit.settle_after(outcome, if failed { retry_after() } else { None });
}

impl<F, P, H, Res, Err> Future for ResponseFuture<F, P, H>
where
    F: Future<Output = Result<Res, Err>>,
    P: Protocol<Res, Err>,
    H: Handle<Shared>,
{
    type Output = Result<Res, Err>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let protocol = &*this.protocol;
        this.state.poll(
            cx,
            |output| protocol.classify(output),
            |output| protocol.retry_after(output),
            |error| protocol.reject(error),
            |output| output,
        )
    }
}

impl<'a, F> Around<'a, F> {
    #[inline]
    pub(super) fn new(shared: &'a Shared, future: F) -> Self {
        match shared.admit(&SystemClock) {
            Ok(ticket) => {
                let permit = Some(Permit::new(shared, ticket));
                Self { state: CallState::Admitted { future, permit }, protocol: Plain }
            }
            Err(error) => {
                Self { state: CallState::Rejected { error: Some(error) }, protocol: Plain }
            }
        }
    }
}

impl<'a, F, C> Call<'a, F, C> {
    #[inline]
    pub(super) fn new(shared: &'a Shared, future: F, classify: C) -> Self {
        match shared.admit(&SystemClock) {
            Ok(ticket) => {
                let permit = Some(Permit::new(shared, ticket));
                Self { state: CallState::Admitted { future, permit }, classify }
            }
            Err(error) => Self { state: CallState::Rejected { error: Some(error) }, classify },
        }
    }
}

impl<F, T, E, C> Future for Call<'_, F, C>
where
    F: Future<Output = Result<T, E>>,
    C: Fn(&Result<T, E>) -> Outcome,
{
    type Output = Result<T, Error<E>>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        this.state.poll(
            cx,
            |output| (this.classify)(output),
            |_| None, // any error: nobody knows how to ask it
            |error| Err(Error::Policy(error)),
            |output| output.map_err(Error::Inner),
        )
    }
}
