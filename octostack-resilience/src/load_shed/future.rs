use crate::error::{FromPolicy, PolicyError};
use crate::protocol::Protocol;
use pin_project_lite::pin_project;
use std::pin::Pin;
use std::task::{Context, Poll};
use tower_service::Service;

pin_project! {
    /// The future of a [`LoadShedService`](super::LoadShedService).
    #[must_use = "futures do nothing unless polled"]
    pub struct ResponseFuture<S: Service<Req>, Req, P> {
        #[pin]
        state: State<S, Req, S::Future>,
        protocol: P,
    }
}

pin_project! {
    #[project = StateProjection]
    enum State<S, Req, F> {
        Running { #[pin] future: F },
        Rejected { error: Option<PolicyError> },
        Readying { next: Option<(S, Req)> },
    }
}

impl<S: Service<Req>, Req, P> ResponseFuture<S, Req, P> {
    #[inline]
    pub(super) fn running(future: S::Future, protocol: P) -> Self {
        Self { state: State::Running { future }, protocol }
    }

    pub(super) fn readying(inner: S, request: Req, protocol: P) -> Self {
        Self { state: State::Readying { next: Some((inner, request)) }, protocol }
    }

    pub(super) fn rejected(error: PolicyError, protocol: P) -> Self {
        Self { state: State::Rejected { error: Some(error) }, protocol }
    }
}

impl<S, Req, P> Future for ResponseFuture<S, Req, P>
where
    S: Service<Req>,
    P: Protocol<S::Response, S::Error>,
{
    type Output = Result<S::Response, S::Error>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            let future = match this.state.as_mut().project() {
                StateProjection::Running { future } => return future.poll(cx),
                StateProjection::Rejected { error } => {
                    let error = taken(error);
                    return Poll::Ready(this.protocol.reject(error));
                }
                StateProjection::Readying { next } => {
                    let (mut inner, request) = taken(next);
                    match inner.poll_ready(cx) {
                        Poll::Pending => {
                            *next = Some((inner, request));
                            return Poll::Pending;
                        }
                        Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                        Poll::Ready(Ok(())) => inner.call(request),
                    }
                }
            };
            this.state.set(State::Running { future });
        }
    }
}

pin_project! {
    /// The future of [`LoadShed::around`](super::LoadShed::around), and around a
    /// [`MapError`](crate::error::MapError) that of [`LoadShed::call`](super::LoadShed::call).
    #[must_use = "futures do nothing unless polled"]
    pub struct Call<F> {
        #[pin]
        state: CallState<F>,
    }
}

pin_project! {
    #[project = CallProjection]
    enum CallState<F> {
        Running { #[pin] future: F },
        Rejected { error: Option<PolicyError> },
    }
}

impl<F> Call<F> {
    #[inline]
    pub(super) fn new(decision: Result<(), PolicyError>, future: F) -> Self {
        match decision {
            Ok(()) => Self { state: CallState::Running { future } },
            Err(error) => Self { state: CallState::Rejected { error: Some(error) } },
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
        match self.project().state.project() {
            CallProjection::Running { future } => future.poll(cx),
            CallProjection::Rejected { error } => Poll::Ready(Err(taken(error).into())),
        }
    }
}

#[allow(clippy::expect_used, reason = "the contract of `Future` forbids it")]
fn taken<T>(slot: &mut Option<T>) -> T {
    slot.take().expect("polled after it was ready")
}
