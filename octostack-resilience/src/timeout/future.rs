use super::Shared;
use super::reach::Clocked;
use super::readiness::{Calling, Ready};
use super::run::{Run, fires_at};
use crate::error::PolicyError;
use crate::extent::{Extent, Head};
use crate::handle::Handle;
use crate::outcome::Outcome;
use crate::protocol::{Plain, Protocol};
use crate::unwind::ending_on_panic;
use pin_project_lite::pin_project;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::time::Sleep;

pin_project! {
    /// The future of a [`TimeoutService`](super::TimeoutService).
    #[must_use = "futures do nothing unless polled"]
    pub struct ResponseFuture<F, P, H: Handle<Shared>, X = Head> {
        #[pin]
        state: State<F, H>,
        protocol: P,
        extent: X,
    }
}

pin_project! {
    #[project = StateProjection]
    enum State<F, H: Handle<Shared>> {
        Running {
            #[pin] future: F,
            #[pin] sleep: Option<Sleep>,
            // There until the call has ended.
            run: Option<Run<H>>,
        },
        Rejected { error: Option<PolicyError> },
    }
}

impl<F, P, H: Handle<Shared>, X> ResponseFuture<F, P, H, X> {
    #[inline]
    pub(super) fn running(run: Run<H>, future: F, protocol: P, extent: X) -> Self {
        let state = State::Running { future, sleep: None, run: Some(run) };
        Self { state, protocol, extent }
    }

    pub(super) fn rejected(error: PolicyError, protocol: P, extent: X) -> Self {
        Self { state: State::Rejected { error: Some(error) }, protocol, extent }
    }
}

impl<F, P, H, X, Res, Err> Future for ResponseFuture<F, P, H, X>
where
    F: Calling<Output = Result<Res, Err>>,
    P: Protocol<Res, Err>,
    H: Handle<Shared>,
    X: Extent<Res, Clocked<P, H>>,
{
    type Output = Result<X::Response, Err>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let error = match this.state.project() {
            StateProjection::Running { mut future, sleep, run: slot } => {
                let run = taken(slot.as_mut());
                let until = fires_at(sleep.as_ref().get_ref().as_ref());
                // The future first: an answer that is there wins over a deadline that has passed.
                let entered = run.enter(until);
                let output = ending_on_panic(run, Run::panicked, || future.as_mut().poll(cx));
                drop(entered);
                match output {
                    Poll::Ready(Ok(answer)) if !X::AT_HEAD => {
                        let clocked = Clocked::new(taken(slot.take()), until, this.protocol);
                        return Poll::Ready(Ok(this.extent.hold(answer, clocked)));
                    }
                    Poll::Ready(output) => {
                        run.end(Outcome::Success);
                        return Poll::Ready(output.map(|answer| this.extent.pass(answer)));
                    }
                    Poll::Pending => match run.poll_timer(sleep, || future.phase(), cx) {
                        Poll::Pending => return Poll::Pending,
                        Poll::Ready(error) => error,
                    },
                }
            }
            StateProjection::Rejected { error } => taken(error.take()),
        };
        Poll::Ready(this.protocol.reject(error).map(|answer| this.extent.pass(answer)))
    }
}

#[allow(clippy::expect_used, reason = "the contract of `Future` forbids it")]
#[inline]
fn taken<T>(slot: Option<T>) -> T {
    slot.expect("polled after it was ready")
}

/// The future of [`Timeout::around`](super::Timeout::around), and around a
/// [`MapError`](crate::error::MapError) that of [`Timeout::call`](super::Timeout::call).
pub type Call<'a, F> = ResponseFuture<Ready<F>, Plain, &'a Shared>;

impl<'a, F> Call<'a, F> {
    #[inline]
    pub(super) fn new(shared: &'a Shared, future: F) -> Self {
        match shared.begin(|| None) {
            Some(limit) => Self::running(Run::new(shared, limit), Ready { future }, Plain, Head),
            None => Self::rejected(shared.too_late(), Plain, Head),
        }
    }
}
