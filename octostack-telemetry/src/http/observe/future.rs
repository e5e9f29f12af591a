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
        // Until it is ready, as is the guard.
        #[pin]
        inner: Option<F>,
        guard: Option<Guard<R>>,
    }

    impl<F, R: Report> PinnedDrop for ResponseFuture<F, R> {
        fn drop(this: Pin<&mut Self>) {
            let mut this = this.project();
            if let Some(guard) = this.guard {
                guard.within_drop(|| this.inner.set(None));
            }
        }
    }
}

impl<F, R: Report> ResponseFuture<F, R> {
    pub(super) const fn new(inner: F, guard: Guard<R>) -> Self {
        Self { inner: Some(inner), guard: Some(guard) }
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
        let mut this = self.project();
        #[allow(clippy::panic, reason = "the contract of `Future` forbids it")]
        let Some(guard) = this.guard else { panic!("polled after it was ready") };
        let output = guard.within(|| {
            let inner = this.inner.as_mut().as_pin_mut();
            let output = inner.map_or(Poll::Pending, |inner| inner.poll(cx));
            if output.is_ready() {
                this.inner.set(None);
            }
            output
        });
        match output {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Ok(mut response)) => {
                let guard = this.guard.take_if(|guard| guard.headers(&mut response));
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
