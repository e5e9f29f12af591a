use super::Shared;
use super::limit::Limit;
use crate::error::PolicyError;
use crate::handle::Handle;
use crate::outcome::Outcome;
use crate::protocol::{Plain, Protocol};
use crate::unwind::ending_on_panic;
use octostack_core::{Clock, SystemClock};
use pin_project_lite::pin_project;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::time::Sleep;

/// One call that has begun; counts how it ended, also when it is dropped.
pub(super) struct Run<H: Handle<Shared>> {
    handle: H,
    limit: Limit,
    ended: bool,
}

impl<H: Handle<Shared>> Run<H> {
    #[inline]
    pub(super) fn start(handle: H) -> Self {
        let limit = handle.gauge.limit();
        Self { handle, limit, ended: false }
    }

    #[inline]
    fn end(&mut self, outcome: Outcome) {
        self.ended = true;
        self.handle.gauge.end(outcome);
    }

    /// A panic came neither in time nor too late.
    #[cold]
    fn panicked(&mut self) {
        if !self.ended {
            self.end(Outcome::Ignored);
        }
    }
}

impl<H: Handle<Shared>> Drop for Run<H> {
    #[inline]
    fn drop(&mut self) {
        if !self.ended {
            // A panic in `poll` has ended it before; this one came from the inner `call`.
            let panics = std::thread::panicking();
            self.end(if panics { Outcome::Ignored } else { Outcome::Cancelled });
        }
    }
}

pin_project! {
    /// A future, and the timer that ends it.
    struct Timed<F, H: Handle<Shared>> {
        #[pin]
        future: F,
        #[pin]
        sleep: Option<Sleep>,
        run: Run<H>,
    }
}

impl<F: Future, H: Handle<Shared>> Timed<F, H> {
    #[inline]
    fn poll_in_time(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<F::Output, PolicyError>> {
        let this = self.project();
        // The future first: an answer that is there wins over a deadline that has passed.
        if let Poll::Ready(output) =
            ending_on_panic(this.run, Run::panicked, || this.future.poll(cx))
        {
            this.run.end(Outcome::Success);
            return Poll::Ready(Ok(output));
        }
        poll_timer(this.sleep, this.run, cx).map(Err)
    }
}

/// The call is pending: arms the timer, and says whether time is up.
fn poll_timer<H: Handle<Shared>>(
    mut sleep: Pin<&mut Option<Sleep>>,
    run: &mut Run<H>,
    cx: &mut Context<'_>,
) -> Poll<PolicyError> {
    let Some(timeout) = run.limit.duration() else {
        return Poll::Pending;
    };
    if sleep.is_none() {
        sleep.set(Some(tokio::time::sleep(timeout)));
    }
    let Some(mut timer) = sleep.as_mut().as_pin_mut() else {
        return Poll::Pending;
    };
    // A future that uses up the task's budget each time it is polled keeps the timer from firing:
    // so the clock decides too.
    let is_up =
        timer.as_mut().poll(cx).is_ready() || SystemClock.now() >= timer.deadline().into_std();
    if !is_up {
        return Poll::Pending;
    }
    if run.limit.is_enforced() {
        run.end(Outcome::Failure);
        return Poll::Ready(run.handle.timed_out());
    }
    run.handle.gauge.over_in_shadow();
    run.limit = Limit::NONE;
    sleep.set(None);
    Poll::Pending
}

pin_project! {
    /// The future of a [`TimeoutService`](super::TimeoutService).
    #[must_use = "futures do nothing unless polled"]
    pub struct ResponseFuture<F, P, H: Handle<Shared>> {
        #[pin]
        timed: Timed<F, H>,
        protocol: P,
    }
}

impl<F, P, H: Handle<Shared>> ResponseFuture<F, P, H> {
    #[inline]
    pub(super) fn new(run: Run<H>, future: F, protocol: P) -> Self {
        Self { timed: Timed { future, sleep: None, run }, protocol }
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
        let this = self.project();
        let protocol = &*this.protocol;
        this.timed.poll_in_time(cx).map(|ended| match ended {
            Ok(output) => output,
            Err(error) => protocol.reject(error),
        })
    }
}

/// The future of [`Timeout::around`](super::Timeout::around), and around a
/// [`MapError`](crate::error::MapError) that of [`Timeout::call`](super::Timeout::call).
pub type Call<'a, F> = ResponseFuture<F, Plain, &'a Shared>;
