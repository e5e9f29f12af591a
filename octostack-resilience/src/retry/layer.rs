use super::attempts::{Attempts, is_repeatable};
#[cfg(feature = "http")]
use super::http::{GrpcRequests, HttpRequests};
use super::repeat::{Cloned, Next, Repeat, RepeatAfter};
#[cfg(feature = "http")]
use super::unsent::BySource;
use super::{Retry, Shared};
use crate::handle::Handle;
use crate::outcome::Outcome;
use crate::protocol::{Classified, Plain, Protocol};
use pin_project_lite::pin_project;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::time::{Sleep, sleep};
use tower_layer::Layer;
use tower_service::Service;

/// Puts a [`Retry`] policy around a service; made by [`Retry::layer`].
///
/// It has a protocol, which judges answers, and a way to send requests again. The policy never
/// answers itself: a call that is not repeated any more ends with the last answer.
#[derive(Clone, Copy, Debug)]
pub struct RetryLayer<P = Plain, H = Arc<Shared>, R = Cloned> {
    policy: Retry<H>,
    protocol: P,
    repeat: R,
}

impl<H> RetryLayer<Plain, H> {
    pub(super) fn new(policy: Retry<H>) -> Self {
        Self { policy, protocol: Plain, repeat: Cloned }
    }
}

impl<P, H, R> RetryLayer<P, H, R> {
    /// For HTTP: judges by status, see [`Http`](crate::Http); repeats as [`HttpRequests`] says.
    #[cfg(feature = "http")]
    pub fn respond_http(self) -> RetryLayer<crate::Http, H, HttpRequests> {
        self.protocol(crate::Http).repeat(HttpRequests::default())
    }

    /// For gRPC: judges by status, see [`Grpc`](crate::Grpc); repeats as [`GrpcRequests`] says.
    #[cfg(feature = "http")]
    pub fn respond_grpc(self) -> RetryLayer<crate::Grpc, H, GrpcRequests> {
        self.protocol(crate::Grpc).repeat(GrpcRequests::default())
    }

    /// Judges as the closure says. Only failures and overloads are repeated.
    pub fn classify<Res, Err, F>(self, classify: F) -> RetryLayer<Classified<P, F>, H, R>
    where
        F: Fn(&Result<Res, Err>) -> Outcome + Clone,
    {
        let Self { policy, protocol, repeat } = self;
        RetryLayer { policy, protocol: Classified { protocol, classify }, repeat }
    }

    /// Judges by a protocol of your own.
    pub fn protocol<Q>(self, protocol: Q) -> RetryLayer<Q, H, R> {
        RetryLayer { policy: self.policy, protocol, repeat: self.repeat }
    }

    /// Sends requests again in a way of your own.
    pub fn repeat<Q>(self, repeat: Q) -> RetryLayer<P, H, Q> {
        RetryLayer { policy: self.policy, protocol: self.protocol, repeat }
    }
}

/// The methods of layers for HTTP and gRPC.
#[cfg(feature = "http")]
macro_rules! http_requests {
    ($requests:ident) => {
        impl<P, H, N> RetryLayer<P, H, $requests<N>> {
            /// Promises that every request may be executed more than once.
            pub fn assume_idempotent(mut self) -> Self {
                self.repeat.idempotent = true;
                self
            }

            /// How many bytes of a body are kept for the next attempt; a request with a larger one
            /// is not repeated. 64 KiB by default.
            pub fn buffer(mut self, bytes: usize) -> Self {
                self.repeat.buffer = bytes;
                self
            }

            /// Repeats any request after errors of which the closure says that the request was
            /// never sent. It must be certain; [`is_never_sent`](super::is_never_sent) is for what
            /// the standard library tells.
            pub fn never_sent<E, F>(self, is_never_sent: F) -> RetryLayer<P, H, $requests<F>>
            where
                F: Fn(&E) -> bool + Clone,
            {
                let repeat = self.repeat.never_sent(is_never_sent);
                RetryLayer { policy: self.policy, protocol: self.protocol, repeat }
            }

            /// Repeats any request whose connection was refused, going by the sources of the error:
            /// see [`is_never_sent`](super::is_never_sent). For error types that implement
            /// [`Error`](std::error::Error).
            pub fn detect_never_sent(self) -> RetryLayer<P, H, $requests<BySource>> {
                let repeat = self.repeat.never_sent(BySource);
                RetryLayer { policy: self.policy, protocol: self.protocol, repeat }
            }
        }
    };
}
#[cfg(feature = "http")]
http_requests!(HttpRequests);
#[cfg(feature = "http")]
http_requests!(GrpcRequests);

#[cfg(feature = "http")]
impl<P, H, N> RetryLayer<P, H, HttpRequests<N>> {
    /// The header with the number of the attempt, on all but the first: `x-retry-attempt` unless
    /// said.
    pub fn attempt_header(mut self, name: &'static http::HeaderName) -> Self {
        self.repeat.attempt = name;
        self
    }
}

impl<S, P: Clone, H: Handle<Shared>, R: Clone> Layer<S> for RetryLayer<P, H, R> {
    type Service = RetryService<S, P, H, R>;

    fn layer(&self, inner: S) -> Self::Service {
        RetryService {
            inner,
            policy: self.policy.clone(),
            protocol: self.protocol.clone(),
            repeat: self.repeat.clone(),
        }
    }
}

/// A service behind a retry policy.
///
/// Each attempt waits for the readiness of the inner service anew; the wait before it holds none.
#[derive(Clone, Copy, Debug)]
pub struct RetryService<S, P = Plain, H = Arc<Shared>, R = Cloned> {
    inner: S,
    policy: Retry<H>,
    protocol: P,
    repeat: R,
}

impl<S, Req, P, H, R> Service<Req> for RetryService<S, P, H, R>
where
    R: Repeat<Req> + RepeatAfter<S::Response, S::Error>,
    S: Service<R::Sent> + Clone,
    P: Protocol<S::Response, S::Error>,
    H: Handle<Shared>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = ResponseFuture<S, Req, P, H, R>;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    #[inline]
    fn call(&mut self, request: Req) -> Self::Future {
        // The attempts come first: if `call` panics, they are there to be dropped.
        let attempts = self.policy.attempts();
        let fresh = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, fresh);
        let (request, kept) = self.repeat.first(request, attempts.left() > 0);
        ResponseFuture {
            state: State::Calling { future: inner.call(request) },
            inner,
            kept,
            attempts,
            protocol: self.protocol.clone(),
            repeat: self.repeat.clone(),
        }
    }
}

pin_project! {
    /// The future of a [`RetryService`].
    #[must_use = "futures do nothing unless polled"]
    pub struct ResponseFuture<S, Req, P, H, R>
    where
        R: Repeat<Req>,
        S: Service<R::Sent>,
        H: Handle<Shared>,
    {
        #[pin]
        state: State<S::Future, R::Sent>,
        inner: S,
        kept: Option<R::Kept>,
        attempts: Attempts<H>,
        protocol: P,
        repeat: R,
    }
}

pin_project! {
    #[project = StateProjection]
    enum State<F, Sent> {
        Calling { #[pin] future: F },
        Waiting { #[pin] sleep: Sleep, request: Option<Sent> },
        Readying { request: Option<Sent> },
        Done,
    }
}

impl<S, Req, P, H, R> ResponseFuture<S, Req, P, H, R>
where
    R: Repeat<Req> + RepeatAfter<S::Response, S::Error>,
    S: Service<R::Sent>,
    P: Protocol<S::Response, S::Error>,
    H: Handle<Shared>,
{
    /// The next request and the wait before it, or `None` if the call is over.
    #[inline]
    fn judge(
        mut self: Pin<&mut Self>,
        output: &Result<S::Response, S::Error>,
    ) -> Option<(Duration, R::Sent)> {
        let outcome = self.protocol.classify(output);
        let next = if is_repeatable(outcome) { self.as_mut().next_request(output) } else { None };
        let this = self.project();
        let Some(request) = next else {
            this.attempts.settle(outcome);
            return None;
        };
        let wait = this.attempts.wait_after(outcome, this.protocol.retry_after(output))?;
        Some((wait, request))
    }

    #[cold]
    fn next_request(
        self: Pin<&mut Self>,
        output: &Result<S::Response, S::Error>,
    ) -> Option<R::Sent> {
        let mut this = self.project();
        if this.attempts.left() == 0 || !this.repeat.allows(output) {
            return None;
        }
        // The future of the failed attempt may hold the body that the next one needs.
        this.state.set(State::Done);
        let next = Next::after(this.attempts, this.repeat.never_sent(output));
        let (request, kept) = this.repeat.again(this.kept.take()?, next)?;
        *this.kept = kept;
        Some(request)
    }

    #[inline]
    fn advance(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<S::Response, S::Error>> {
        loop {
            let mut this = self.as_mut().project();
            match this.state.as_mut().project() {
                StateProjection::Calling { future } => {
                    let output = ready!(future.poll(cx));
                    let Some((wait, request)) = self.as_mut().judge(&output) else {
                        return Poll::Ready(output);
                    };
                    // The answer goes before the wait: it may hold a connection.
                    drop(output);
                    let (sleep, request) = (sleep(wait), Some(request));
                    self.as_mut().project().state.set(State::Waiting { sleep, request });
                }
                StateProjection::Waiting { sleep, request } => {
                    ready!(sleep.poll(cx));
                    let request = request.take();
                    this.state.set(State::Readying { request });
                }
                StateProjection::Readying { request } => {
                    if let Some(error) = this.attempts.give_up_if_late() {
                        return Poll::Ready(this.protocol.reject(error));
                    }
                    if let Err(error) = ready!(this.inner.poll_ready(cx)) {
                        let output = Err(error);
                        this.attempts.settle(this.protocol.classify(&output));
                        return Poll::Ready(output);
                    }
                    #[allow(clippy::expect_used, reason = "put there with the state")]
                    let request = request.take().expect("a request to send");
                    this.attempts.begin();
                    let future = this.inner.call(request);
                    this.state.set(State::Calling { future });
                }
                #[allow(clippy::panic, reason = "the contract of `Future` forbids it")]
                StateProjection::Done => panic!("polled after it was ready"),
            }
        }
    }
}

impl<S, Req, P, H, R> Future for ResponseFuture<S, Req, P, H, R>
where
    R: Repeat<Req> + RepeatAfter<S::Response, S::Error>,
    S: Service<R::Sent>,
    P: Protocol<S::Response, S::Error>,
    H: Handle<Shared>,
{
    type Output = Result<S::Response, S::Error>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.as_mut().project().attempts.enter();
        let answer = self.as_mut().advance(cx);
        self.project().attempts.leave();
        answer
    }
}
