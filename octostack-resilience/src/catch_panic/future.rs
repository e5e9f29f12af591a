use super::Shared;
use super::run::{Run, dropping};
use crate::error::PolicyError;
use crate::handle::Handle;
use crate::outcome::Outcome;
use crate::protocol::{Plain, Protocol};
use pin_project_lite::pin_project;
use std::pin::Pin;
use std::task::{Context, Poll};

pin_project! {
    /// The future of a [`CatchPanicService`](super::CatchPanicService).
    #[must_use = "futures do nothing unless polled"]
    pub struct ResponseFuture<F, P, H: Handle<Shared>> {
        #[pin]
        state: State<F>,
        run: Run<H>,
        protocol: P,
    }
}

pin_project! {
    #[project = StateProjection]
    enum State<F> {
        Running { #[pin] future: F },
        Panicked { error: Option<PolicyError> },
    }
}

/// The future of [`CatchPanic::around`](super::CatchPanic::around), and around a
/// [`MapError`](crate::error::MapError) that of [`CatchPanic::call`](super::CatchPanic::call).
pub type Call<'a, F> = ResponseFuture<F, Plain, &'a Shared>;

impl<F, P, H: Handle<Shared>> ResponseFuture<F, P, H> {
    #[inline]
    pub(super) fn running(run: Run<H>, future: F, protocol: P) -> Self {
        Self { state: State::Running { future }, run, protocol }
    }

    pub(super) fn panicked(run: Run<H>, error: PolicyError, protocol: P) -> Self {
        Self { state: State::Panicked { error: Some(error) }, run, protocol }
    }
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
        let mut this = self.project();
        let error = match this.state.as_mut().project() {
            StateProjection::Running { future } => match this.run.catching(|| future.poll(cx)) {
                Ok(Poll::Pending) => return Poll::Pending,
                Ok(Poll::Ready(output)) => {
                    this.run.end(Outcome::Success);
                    return Poll::Ready(output);
                }
                Err(error) => {
                    // Now and here, so that what it holds is free when the answer is there.
                    dropping(|| this.state.set(State::Panicked { error: None }));
                    error
                }
            },
            StateProjection::Panicked { error } =>
            {
                #[allow(clippy::expect_used, reason = "the contract of `Future` forbids it")]
                error.take().expect("polled after it was ready")
            }
        };
        Poll::Ready(this.protocol.reject(error))
    }
}
