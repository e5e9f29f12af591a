use super::Shared;
use super::permit::Permit;
use crate::error::{Error, PolicyError};
#[cfg(feature = "http")]
use crate::extent::{BodyGuard, Ending};
use crate::extent::{Extent, Head};
use crate::handle::Handle;
use crate::outcome::Outcome;
use crate::protocol::{Plain, Protocol};
use crate::unwind::ending_on_panic;
use octostack_core::SystemClock;
use pin_project_lite::pin_project;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

pin_project! {
    /// The future of a [`CircuitBreakerService`](super::CircuitBreakerService).
    #[must_use = "futures do nothing unless polled"]
    pub struct ResponseFuture<F, P, H: Handle<Shared>, X = Head> {
        #[pin]
        pub(super) state: CallState<F, H>,
        pub(super) protocol: P,
        pub(super) reach: X,
    }
}

/// The future of [`CircuitBreaker::around`](super::CircuitBreaker::around).
pub type Around<'a, F> = ResponseFuture<F, Plain, &'a Shared>;

/// What judges the outputs of [`CircuitBreaker::call`](super::CircuitBreaker::call).
pub type Judge<O> = fn(&O) -> Outcome;

pin_project! {
    /// The future of [`CircuitBreaker::call`](super::CircuitBreaker::call) and [`CircuitBreaker::call_with`](super::CircuitBreaker::call_with).
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
    pub(super) enum CallState<F, H: Handle<Shared>> {
        Rejected { error: Option<PolicyError> },
        Admitted { #[pin] future: F, permit: Held<H> },
    }
}

impl<F, H: Handle<Shared>> CallState<F, H> {
    /// Polls to the answer.
    #[inline]
    fn poll<Output, Answer>(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        reject: impl FnOnce(PolicyError) -> Answer,
        settle: impl FnOnce(Output, Permit<H>) -> Answer,
    ) -> Poll<Answer>
    where
        F: Future<Output = Output>,
    {
        match self.project() {
            StateProjection::Admitted { future, permit } => {
                let output = ready!(ending_on_panic(permit, Held::failed, || future.poll(cx)));
                Poll::Ready(settle(output, taken(&mut permit.0)))
            }
            StateProjection::Rejected { error } => Poll::Ready(reject(taken(error))),
        }
    }
}

/// The permit of a future, which is told of panics when they happen. If it is dropped with the
/// permit, its caller has given up, also when it is the caller who panics.
pub(super) struct Held<H: Handle<Shared>>(Option<Permit<H>>);

impl<H: Handle<Shared>> Held<H> {
    #[inline]
    pub(super) fn new(permit: Permit<H>) -> Self {
        Self(Some(permit))
    }

    /// The service panics.
    #[cold]
    pub(super) fn failed(&mut self) {
        if let Some(permit) = self.0.take() {
            permit.settle(Outcome::Failure);
        }
    }
}

impl<H: Handle<Shared>> Drop for Held<H> {
    #[inline]
    fn drop(&mut self) {
        if let Some(permit) = self.0.take() {
            permit.settle(Outcome::Cancelled);
        }
    }
}

#[allow(clippy::expect_used, reason = "the contract of `Future` forbids it")]
#[inline]
fn taken<T>(slot: &mut Option<T>) -> T {
    slot.take().expect("polled after it was ready")
}

/// Settles a call that has not gone well. Only a failure says when the service wants to be asked
/// again.
#[cold]
pub(super) fn unsuccessful<H: Handle<Shared>>(
    permit: Permit<H>,
    outcome: Outcome,
    retry_after: impl FnOnce() -> Option<Duration>,
) {
    let failed = matches!(outcome, Outcome::Failure | Outcome::Overloaded);
    permit.settle_after(outcome, if failed { retry_after() } else { None });
}

impl<F, P, H, X, Res, Err> Future for ResponseFuture<F, P, H, X>
where
    F: Future<Output = Result<Res, Err>>,
    P: Protocol<Res, Err>,
    H: Handle<Shared>,
    X: Extent<Res, Verdict<P, H>>,
{
    type Output = Result<X::Response, Err>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let (protocol, reach) = (&*this.protocol, &*this.reach);
        this.state.poll(
            cx,
            |error| protocol.reject(error).map(|answer| reach.pass(answer)),
            |output, permit| match (protocol.classify(&output), output) {
                (Outcome::Success, Ok(answer)) if !X::AT_HEAD => {
                    Ok(reach.hold(answer, Verdict::new(permit, protocol.clone())))
                }
                (Outcome::Success, output) => {
                    permit.settle(Outcome::Success);
                    output.map(|answer| reach.pass(answer))
                }
                (outcome, output) => {
                    unsuccessful(permit, outcome, || protocol.retry_after(&output));
                    output.map(|answer| reach.pass(answer))
                }
            },
        )
    }
}

/// The permit of a call whose answer has begun well.
#[derive(Debug)]
#[cfg_attr(not(feature = "http"), allow(dead_code, reason = "without bodies nothing goes on"))]
pub struct Verdict<P, H: Handle<Shared>> {
    // There until the call has ended.
    permit: Option<Permit<H>>,
    protocol: P,
    /// What it is if nobody reads the body to its end.
    unread: Outcome,
}

impl<P, H: Handle<Shared>> Verdict<P, H> {
    fn new(permit: Permit<H>, protocol: P) -> Self {
        Self { permit: Some(permit), protocol, unread: Outcome::Cancelled }
    }
}

#[cfg(feature = "http")]
impl<P: crate::protocol::BodyProtocol, H: Handle<Shared>> BodyGuard for Verdict<P, H> {
    fn begin(&mut self) {
        if P::HEAD_SAYS_ALL {
            self.unread = Outcome::Success;
        }
    }

    fn end(mut self, ending: Ending<'_>) {
        let (outcome, retry_after) = match ending {
            Ending::Empty => (Outcome::Success, None),
            Ending::Complete => (self.protocol.classify_trailers(None), None),
            Ending::Trailers(trailers) => (
                self.protocol.classify_trailers(Some(trailers)),
                self.protocol.retry_after(trailers),
            ),
            Ending::Broken => (Outcome::Failure, None),
        };
        if let Some(permit) = self.permit.take() {
            unsuccessful(permit, outcome, || retry_after);
        }
    }
}

impl<P, H: Handle<Shared>> Drop for Verdict<P, H> {
    fn drop(&mut self) {
        // A panic in the body is told by the permit.
        if let Some(permit) = self.permit.take()
            && !std::thread::panicking()
        {
            permit.settle(self.unread);
        }
    }
}

impl<F, H: Handle<Shared>> ResponseFuture<F, Plain, H> {
    /// Of what was decided already.
    #[inline]
    pub(super) fn of(admitted: Result<Permit<H>, PolicyError>, future: F) -> Self {
        let state = match admitted {
            Ok(permit) => CallState::Admitted { future, permit: Held::new(permit) },
            Err(error) => CallState::Rejected { error: Some(error) },
        };
        Self { state, protocol: Plain, reach: Head }
    }
}

impl<'a, F> Around<'a, F> {
    #[inline]
    pub(super) fn new(shared: &'a Shared, future: F) -> Self {
        match shared.admit(&SystemClock) {
            Ok(ticket) => {
                let permit = Held::new(Permit::new(shared, ticket));
                let state = CallState::Admitted { future, permit };
                Self { state, protocol: Plain, reach: Head }
            }
            Err(error) => {
                let state = CallState::Rejected { error: Some(error) };
                Self { state, protocol: Plain, reach: Head }
            }
        }
    }
}

impl<'a, F, C> Call<'a, F, C> {
    #[inline]
    pub(super) fn new(shared: &'a Shared, future: F, classify: C) -> Self {
        match shared.admit(&SystemClock) {
            Ok(ticket) => {
                let permit = Held::new(Permit::new(shared, ticket));
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
            |error| Err(Error::Policy(error)),
            |output, permit| {
                // Any error: nobody knows how to ask it when to come again.
                permit.settle((this.classify)(&output));
                output.map_err(Error::Inner)
            },
        )
    }
}
