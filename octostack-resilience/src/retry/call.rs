use super::Shared;
use super::attempts::{Attempts, is_repeatable};
use crate::error::PolicyError;
use crate::outcome::Outcome;
use pin_project_lite::pin_project;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::time::{Sleep, sleep};

/// What judges the outputs of [`Retry::call`](super::Retry::call).
pub type Judge<O> = fn(&O) -> Outcome;

/// How an output carries the words of policies.
pub(super) struct Words<O> {
    /// When the service wants to be asked again.
    pub(super) retry_after: fn(&O) -> Option<Duration>,
    /// The output that is a policy's word, if there can be one.
    pub(super) refuse: Option<fn(PolicyError) -> O>,
}

impl<O> Words<O> {
    /// For outputs of which nothing is known.
    pub(super) const NONE: Self = Self { retry_after: |_| None, refuse: None };
}

pin_project! {
    /// The future of [`Retry::call`](super::Retry::call).
    #[must_use = "futures do nothing unless polled"]
    pub struct Call<'a, Op, F: Future, C> {
        #[pin]
        state: State<F>,
        operation: Op,
        classify: C,
        words: Words<F::Output>,
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
        words: Words<F::Output>,
    ) -> Self {
        let attempts = Attempts::new(shared);
        Self { state: State::Starting, operation, classify, words, attempts }
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
                    this.attempts.begin();
                    let future = (this.operation)(this.attempts.number());
                    this.state.set(State::Calling { future });
                }
                StateProjection::Calling { future } => {
                    let output = ready!(future.poll(cx));
                    let outcome = (this.classify)(&output);
                    let ask = this.words.retry_after;
                    let hint = if is_repeatable(outcome) { ask(&output) } else { None };
                    let Some(wait) = this.attempts.wait_after(outcome, hint) else {
                        return Poll::Ready(output);
                    };
                    this.state.set(State::Waiting { sleep: sleep(wait) });
                }
                StateProjection::Waiting { sleep } => {
                    ready!(sleep.poll(cx));
                    if let Some(refuse) = this.words.refuse
                        && let Some(error) = this.attempts.give_up_if_late()
                    {
                        return Poll::Ready(refuse(error));
                    }
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
