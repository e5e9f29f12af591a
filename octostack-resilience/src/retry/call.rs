use super::Shared;
use super::attempts::{Attempts, is_repeatable};
use crate::outcome::Outcome;
use pin_project_lite::pin_project;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::time::{Sleep, sleep};

/// What judges the outputs of [`Retry::call`](super::Retry::call).
pub type Judge<O> = fn(&O) -> Outcome;

pin_project! {
    /// The future of [`Retry::call`](super::Retry::call).
    #[must_use = "futures do nothing unless polled"]
    pub struct Call<'a, Op, F: Future, C> {
        #[pin]
        state: State<F>,
        operation: Op,
        classify: C,
        retry_after: fn(&F::Output) -> Option<Duration>,
        attempts: Attempts<&'a Shared>,
    }
}

pin_project! {
    #[project = StateProjection]
    enum State<F> {
        Starting,
        Calling { #[pin] future: F },
        Waiting { #[pin] sleep: Sleep },
    }
}

impl<'a, Op, F: Future, C> Call<'a, Op, F, C> {
    #[inline]
    pub(super) fn new(
        shared: &'a Shared,
        operation: Op,
        classify: C,
        retry_after: fn(&F::Output) -> Option<Duration>,
    ) -> Self {
        let attempts = Attempts::new(shared);
        Self { state: State::Starting, operation, classify, retry_after, attempts }
    }
}

impl<Op, F, C> Call<'_, Op, F, C>
where
    Op: FnMut(u32) -> F,
    F: Future,
    C: Fn(&F::Output) -> Outcome,
{
    #[inline]
    fn advance(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let mut this = self.project();
        loop {
            match this.state.as_mut().project() {
                StateProjection::Starting => {
                    let future = (this.operation)(this.attempts.number());
                    this.state.set(State::Calling { future });
                }
                StateProjection::Calling { future } => {
                    let output = ready!(future.poll(cx));
                    let outcome = (this.classify)(&output);
                    let hint =
                        if is_repeatable(outcome) { (this.retry_after)(&output) } else { None };
                    let Some(wait) = this.attempts.after(outcome, hint) else {
                        return Poll::Ready(output);
                    };
                    this.state.set(State::Waiting { sleep: sleep(wait) });
                }
                StateProjection::Waiting { sleep } => {
                    ready!(sleep.poll(cx));
                    this.state.set(State::Starting);
                }
            }
        }
    }
}

impl<Op, F, C> Future for Call<'_, Op, F, C>
where
    Op: FnMut(u32) -> F,
    F: Future,
    C: Fn(&F::Output) -> Outcome,
{
    type Output = F::Output;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.as_mut().project().attempts.enter();
        let answer = self.as_mut().advance(cx);
        self.project().attempts.leave();
        answer
    }
}
