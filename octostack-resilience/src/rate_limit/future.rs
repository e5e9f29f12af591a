use crate::error::{FromPolicy, PolicyError};
use crate::protocol::{Plain, Protocol};
use pin_project_lite::pin_project;
use std::pin::Pin;
use std::task::{Context, Poll};

pin_project! {
    /// The future of a service behind a rate limit.
    #[must_use = "futures do nothing unless polled"]
    pub struct ResponseFuture<F, P> {
        #[pin]
        state: State<F>,
        protocol: P,
    }
}

pin_project! {
    #[project = StateProjection]
    enum State<F> {
        Admitted { #[pin] future: F },
        Rejected { error: Option<PolicyError> },
    }
}

/// The future of `call` and `around` of a rate limit.
pub type Call<F> = ResponseFuture<F, Plain>;

impl<F, P> ResponseFuture<F, P> {
    #[inline]
    pub(super) fn admitted(future: F, protocol: P) -> Self {
        Self { state: State::Admitted { future }, protocol }
    }

    #[inline]
    pub(super) fn rejected(error: PolicyError, protocol: P) -> Self {
        Self { state: State::Rejected { error: Some(error) }, protocol }
    }
}

impl<F, T, E> Call<F>
where
    F: Future<Output = Result<T, E>>,
    E: FromPolicy,
{
    #[inline]
    pub(super) fn new(decision: Result<(), PolicyError>, future: F) -> Self {
        match decision {
            Ok(()) => Self::admitted(future, Plain),
            Err(error) => Self::rejected(error, Plain),
        }
    }
}

impl<F, P, Res, Err> Future for ResponseFuture<F, P>
where
    F: Future<Output = Result<Res, Err>>,
    P: Protocol<Res, Err>,
{
    type Output = Result<Res, Err>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        match this.state.project() {
            StateProjection::Admitted { future } => future.poll(cx),
            StateProjection::Rejected { error } => {
                let error = error.take();
                #[allow(clippy::expect_used, reason = "the contract of `Future` forbids it")]
                let error = error.expect("polled after it was ready");
                Poll::Ready(this.protocol.reject(error))
            }
        }
    }
}
