use super::body::length;
use super::guard::Guard;
use super::{Outcome, Report, ResponseBody};
use http::Response;
use http_body::Body;
use pin_project_lite::pin_project;
use std::pin::Pin;
use std::task::{Context, Poll};

pin_project! {
    /// Future of an [`ObserveService`](super::ObserveService).
    #[derive(Debug)]
    #[must_use = "futures do nothing unless polled"]
    pub struct ResponseFuture<F, R: Report> {
        #[pin]
        inner: F,
        guard: Option<Guard<R>>,
    }
}

impl<F, R: Report> ResponseFuture<F, R> {
    pub(super) const fn new(inner: F, guard: Guard<R>) -> Self {
        Self { inner, guard: Some(guard) }
    }
}

impl<F, B, E, R> Future for ResponseFuture<F, R>
where
    F: Future<Output = Result<Response<B>, E>>,
    B: Body,
    R: Report,
{
    type Output = Result<Response<ResponseBody<B, R>>, E>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let inner = this.inner;
        // A future that is polled again after its end has no guard: the inner one will complain.
        let output = match this.guard {
            Some(guard) => guard.within(|| inner.poll(cx)),
            None => inner.poll(cx),
        };
        match output {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Ok(response)) => {
                let guard = this.guard.take_if(|guard| guard.headers(&response));
                if let Some(ended) = this.guard.take() {
                    ended.finish(Outcome::Completed);
                }
                let length = guard.as_ref().and_then(|_| length(&response));
                Poll::Ready(Ok(response.map(|body| ResponseBody::new(body, guard, length))))
            }
            Poll::Ready(Err(error)) => {
                if let Some(guard) = this.guard.take() {
                    guard.finish(Outcome::Failed);
                }
                Poll::Ready(Err(error))
            }
        }
    }
}
