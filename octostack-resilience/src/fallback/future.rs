use super::Shared;
use super::alternative::Alternative;
use super::run::{Run, is_unwanted};
use super::when::When;
use crate::error::FromPolicy;
use crate::handle::Handle;
use crate::protocol::{Plain, Protocol};
use crate::unwind::ending_on_panic;
use pin_project_lite::pin_project;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

pin_project! {
    /// The future of a [`FallbackService`](super::FallbackService).
    #[must_use = "futures do nothing unless polled"]
    pub struct ResponseFuture<F, Res, Err, Req, A, P, H, W>
    where
        A: Alternative<Req, Res, Err>,
        H: Handle<Shared>,
    {
        #[pin]
        state: State<F, A::Future>,
        alternative: A,
        kept: Option<A::Kept>,
        protocol: P,
        when: W,
        run: Run<H>,
    }
}

pin_project! {
    #[project = StateProjection]
    enum State<F, G> {
        Calling { #[pin] future: F },
        Answering { #[pin] future: G },
        Done,
    }
}

impl<F, Res, Err, Req, A, P, H, W> ResponseFuture<F, Res, Err, Req, A, P, H, W>
where
    A: Alternative<Req, Res, Err>,
    H: Handle<Shared>,
{
    #[inline]
    pub(super) fn new(
        run: Run<H>,
        future: F,
        alternative: A,
        kept: Option<A::Kept>,
        protocol: P,
        when: W,
    ) -> Self {
        Self { state: State::Calling { future }, alternative, kept, protocol, when, run }
    }
}

impl<F, Res, Err, Req, A, P, H, W> Future for ResponseFuture<F, Res, Err, Req, A, P, H, W>
where
    F: Future<Output = Result<Res, Err>>,
    A: Alternative<Req, Res, Err>,
    P: Protocol<Res, Err>,
    H: Handle<Shared>,
    W: When<P, Res, Err>,
{
    type Output = Result<Res, Err>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let (run, protocol) = (this.run, &*this.protocol);
        if let StateProjection::Calling { future } = this.state.as_mut().project() {
            let output = ready!(ending_on_panic(run, Run::panicked, || future.poll(cx)));
            let is_failure = |outcome| this.when.is_failure(protocol, outcome, &output);
            if !run.judge(protocol, &output, is_failure) {
                return Poll::Ready(output);
            }
            // Kept is nothing if the request cannot be used again.
            let Some(kept) = this.kept.take() else { return Poll::Ready(output) };
            // The future of the call may hold a part of the request.
            this.state.set(State::Done);
            run.answers();
            let answer = || this.alternative.answer(kept, output);
            match ending_on_panic(run, Run::panicked, answer) {
                Ok(future) => this.state.set(State::Answering { future }),
                Err(output) => {
                    run.passes();
                    return Poll::Ready(output);
                }
            }
        }
        match this.state.as_mut().project() {
            StateProjection::Answering { future } => {
                let output = ready!(ending_on_panic(run, Run::panicked, || future.poll(cx)));
                run.end(protocol.classify(&output));
                Poll::Ready(output)
            }
            #[allow(clippy::panic, reason = "the contract of `Future` forbids it")]
            _ => panic!("polled after it was ready"),
        }
    }
}

pin_project! {
    /// The future of [`Fallback::call`](super::Fallback::call).
    #[must_use = "futures do nothing unless polled"]
    pub struct Call<'a, F, Op, G> {
        #[pin]
        state: State<F, G>,
        alternative: Option<Op>,
        run: Run<&'a Shared>,
    }
}

impl<'a, F, Op, G> Call<'a, F, Op, G> {
    #[inline]
    pub(super) fn new(shared: &'a Shared, future: F, alternative: Op) -> Self {
        let run = Run::start(shared);
        Self { state: State::Calling { future }, alternative: Some(alternative), run }
    }
}

impl<F, Op, G, T, E> Future for Call<'_, F, Op, G>
where
    F: Future<Output = Result<T, E>>,
    Op: FnOnce(Result<T, E>) -> G,
    G: Future<Output = Result<T, E>>,
    E: FromPolicy,
{
    type Output = Result<T, E>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let run = this.run;
        if let StateProjection::Calling { future } = this.state.as_mut().project() {
            let output = ready!(ending_on_panic(run, Run::panicked, || future.poll(cx)));
            if !run.judge(&Plain, &output, |outcome| is_unwanted(&Plain, outcome, &output)) {
                return Poll::Ready(output);
            }
            let Some(alternative) = this.alternative.take() else { return Poll::Ready(output) };
            this.state.set(State::Done);
            run.answers();
            let future = ending_on_panic(run, Run::panicked, || alternative(output));
            this.state.set(State::Answering { future });
        }
        match this.state.as_mut().project() {
            StateProjection::Answering { future } => {
                let output = ready!(ending_on_panic(run, Run::panicked, || future.poll(cx)));
                run.end(Plain.classify(&output));
                Poll::Ready(output)
            }
            #[allow(clippy::panic, reason = "the contract of `Future` forbids it")]
            _ => panic!("polled after it was ready"),
        }
    }
}
