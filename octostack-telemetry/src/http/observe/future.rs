use super::guard::Guard;
use super::{Outcome, Report, ResponseBody};
use http::Response;
use http_body::Body;
use pin_project_lite::pin_project;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

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
        Self {
            inner,
            guard: Some(guard),
        }
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
        let output = match this.guard {
            Some(guard) => ready!(guard.within(|| inner.poll(cx))),
            // Polled again after its end: for the inner future to complain about.
            None => ready!(inner.poll(cx)),
        };
        let guard = this.guard.take();
        Poll::Ready(match output {
            Ok(response) => {
                let guard = guard.and_then(|guard| guard.headers(&response));
                let length = guard.as_ref().and_then(|_| super::body::length(&response));
                Ok(response.map(|body| ResponseBody::new(body, guard, length)))
            }
            Err(error) => {
                if let Some(mut guard) = guard {
                    guard.finish(Outcome::Failed);
                }
                Err(error)
            }
        })
    }
}
