use super::permit::Permit;
use super::wait::{Asked, Wait};
use super::{Bulkhead, Shared};
use crate::error::{FromPolicy, PolicyError};
use crate::extent::{Extent, Head};
use crate::handle::Handle;
use crate::protocol::Protocol;
use crate::unwind::ending_on_panic;
use pin_project_lite::pin_project;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tower_service::Service;

pin_project! {
    /// The future of a [`BulkheadService`](super::BulkheadService).
    #[must_use = "futures do nothing unless polled"]
    pub struct ResponseFuture<S: Service<Req>, Req, P, H: Handle<Shared>, X = Head> {
        #[pin]
        state: State<S, Req, S::Future, H>,
        protocol: P,
        reach: X,
    }
}

pin_project! {
    // A future is dropped before the permit that covers it: fields drop in this order.
    #[project = StateProjection]
    enum State<S, Req, F, H: Handle<Shared>> {
        Running { #[pin] future: F, permit: Option<Permit<H>> },
        Rejected { error: Option<PolicyError> },
        Waiting { #[pin] wait: Wait<H>, next: Option<(S, Req)> },
        Readying { next: Option<(S, Req)>, permit: Option<Permit<H>> },
    }
}

impl<S: Service<Req>, Req, P, H: Handle<Shared>, X> ResponseFuture<S, Req, P, H, X> {
    #[inline]
    pub(super) fn running(future: S::Future, permit: Permit<H>, form: (P, X)) -> Self {
        let (protocol, reach) = form;
        Self { state: State::Running { future, permit: Some(permit) }, protocol, reach }
    }

    pub(super) fn waiting(wait: Wait<H>, inner: S, request: Req, form: (P, X)) -> Self {
        let (protocol, reach) = form;
        Self { state: State::Waiting { wait, next: Some((inner, request)) }, protocol, reach }
    }

    pub(super) fn rejected(error: PolicyError, form: (P, X)) -> Self {
        let (protocol, reach) = form;
        Self { state: State::Rejected { error: Some(error) }, protocol, reach }
    }
}

impl<S, Req, P, H, X> Future for ResponseFuture<S, Req, P, H, X>
where
    S: Service<Req>,
    P: Protocol<S::Response, S::Error>,
    H: Handle<Shared>,
    X: Extent<S::Response, Permit<H>>,
{
    type Output = Result<X::Response, S::Error>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            let next = match this.state.as_mut().project() {
                StateProjection::Running { future, permit } => {
                    let panicked = |permit: &mut Option<Permit<H>>| drop(permit.take());
                    let output = ready!(ending_on_panic(permit, panicked, || future.poll(cx)));
                    return Poll::Ready(match output {
                        Ok(answer) if !X::AT_HEAD => Ok(this.reach.hold(answer, taken(permit))),
                        output => {
                            drop(permit.take());
                            output.map(|answer| this.reach.pass(answer))
                        }
                    });
                }
                StateProjection::Rejected { error } => {
                    let answer = this.protocol.reject(taken(error));
                    return Poll::Ready(answer.map(|answer| this.reach.pass(answer)));
                }
                // ## Waiting => Readying, Rejected
                StateProjection::Waiting { wait, next } => match ready!(wait.poll(cx)) {
                    Ok(permit) => State::Readying { next: next.take(), permit: Some(permit) },
                    Err(error) => State::Rejected { error: Some(error) },
                },
                // ## Readying => Running; an inner service that fails to get ready is the answer
                StateProjection::Readying { next, permit } => {
                    let (mut inner, request) = taken(next);
                    match inner.poll_ready(cx) {
                        Poll::Pending => {
                            *next = Some((inner, request));
                            return Poll::Pending;
                        }
                        Poll::Ready(Err(error)) => {
                            drop(permit.take());
                            return Poll::Ready(Err(error));
                        }
                        Poll::Ready(Ok(())) => {
                            let permit = permit.take();
                            State::Running { future: inner.call(request), permit }
                        }
                    }
                }
            };
            this.state.set(next);
        }
    }
}

pin_project! {
    /// The future of [`Bulkhead::around`], and around a [`MapError`](crate::error::MapError) that of
    /// [`Bulkhead::call`].
    #[must_use = "futures do nothing unless polled"]
    pub struct Call<F, H: Handle<Shared>> {
        // Dropped before the permit that covers it: fields drop in this order.
        #[pin]
        future: F,
        // Not asked any more once there is a permit.
        #[pin]
        admit: AdmitState<H>,
        permit: Option<Permit<H>>,
    }
}

impl<F, H: Handle<Shared>> Call<F, H> {
    #[inline]
    pub(super) fn new(shared: H, future: F) -> Self {
        // Each arm makes the whole future: what all arms lead to is copied in pieces.
        match Asked::ask(&Bulkhead { shared }) {
            Asked::Permitted(permit) => {
                Self { future, admit: AdmitState::Decided { answer: None }, permit: Some(permit) }
            }
            Asked::Rejected(error) => {
                let admit = AdmitState::Decided { answer: Some(Err(error)) };
                Self { future, admit, permit: None }
            }
            Asked::Queued(wait) => {
                Self { future, admit: AdmitState::Waiting { wait }, permit: None }
            }
        }
    }
}

impl<F, H, T, E> Future for Call<F, H>
where
    F: Future<Output = Result<T, E>>,
    H: Handle<Shared>,
    E: FromPolicy,
{
    type Output = Result<T, E>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        if this.permit.is_none() {
            match ready!(this.admit.poll(cx)) {
                Ok(permit) => *this.permit = Some(permit),
                Err(error) => return Poll::Ready(Err(error.into())),
            }
        }
        let panicked = |permit: &mut Option<_>| drop(permit.take());
        let output = ready!(ending_on_panic(this.permit, panicked, || this.future.poll(cx)));
        drop(this.permit.take());
        Poll::Ready(output)
    }
}

pin_project! {
    /// The future of [`Bulkhead::admit`].
    #[must_use = "a future that is dropped gives its place up"]
    pub struct Admit<H: Handle<Shared>> {
        #[pin]
        state: AdmitState<H>,
    }
}

pin_project! {
    #[project = AdmitProjection]
    enum AdmitState<H: Handle<Shared>> {
        Decided { answer: Option<Result<Permit<H>, PolicyError>> },
        Waiting { #[pin] wait: Wait<H> },
    }
}

impl<H: Handle<Shared>> Admit<H> {
    #[inline]
    pub(super) fn new(policy: &Bulkhead<H>) -> Self {
        let state = match Asked::ask(policy) {
            Asked::Permitted(permit) => AdmitState::Decided { answer: Some(Ok(permit)) },
            Asked::Rejected(error) => AdmitState::Decided { answer: Some(Err(error)) },
            Asked::Queued(wait) => AdmitState::Waiting { wait },
        };
        Self { state }
    }
}

impl<H: Handle<Shared>> Future for Admit<H> {
    type Output = Result<Permit<H>, PolicyError>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.project().state.poll(cx)
    }
}

impl<H: Handle<Shared>> AdmitState<H> {
    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<Permit<H>, PolicyError>> {
        match self.project() {
            AdmitProjection::Decided { answer } => Poll::Ready(taken(answer)),
            AdmitProjection::Waiting { wait } => wait.poll(cx),
        }
    }
}

#[allow(clippy::expect_used, reason = "the contract of `Future` forbids it")]
fn taken<T>(slot: &mut Option<T>) -> T {
    slot.take().expect("polled after it was ready")
}
