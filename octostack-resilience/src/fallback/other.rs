use super::alternative::{Alternative, Keep};
use crate::retry::{Next, Repeat};
use pin_project_lite::pin_project;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tower_service::Service;

/// Lets another service answer the same request; made by
/// [`Fallback::service`](super::Fallback::service).
#[derive(Clone, Copy, Debug)]
pub struct Other<S, R> {
    pub(super) service: S,
    pub(super) repeat: R,
}

impl<Req, S: Clone, R: Repeat<Req>> Keep<Req> for Other<S, R> {
    type Sent = R::Sent;
    type Kept = R::Kept;

    #[inline]
    fn first(&self, request: Req, keep: bool) -> (R::Sent, Option<R::Kept>) {
        self.repeat.first(request, keep)
    }
}

impl<Req, S, R> Alternative<Req, S::Response, S::Error> for Other<S, R>
where
    R: Repeat<Req>,
    S: Service<R::Sent> + Clone,
{
    type Future = OtherCall<S, R::Sent>;

    fn answer(
        &self,
        kept: R::Kept,
        failed: Result<S::Response, S::Error>,
    ) -> Result<Self::Future, Result<S::Response, S::Error>> {
        match self.repeat.again(kept, Next { number: 2, last: true, unsent: false }) {
            Some((request, _)) => {
                drop(failed); // before the wait for another answer: it may hold a connection
                Ok(OtherCall::Readying { next: Some((self.service.clone(), request)) })
            }
            None => Err(failed),
        }
    }
}

pin_project! {
    /// The call of the other service, once that is ready.
    #[project = OtherProjection]
    #[must_use = "futures do nothing unless polled"]
    #[doc(hidden)]
    pub enum OtherCall<S: Service<Sent>, Sent> {
        Readying { next: Option<(S, Sent)> },
        Running { #[pin] future: S::Future },
    }
}

impl<S: Service<Sent>, Sent> Future for OtherCall<S, Sent> {
    type Output = Result<S::Response, S::Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        loop {
            let future = match self.as_mut().project() {
                OtherProjection::Running { future } => return future.poll(cx),
                OtherProjection::Readying { next } => {
                    let Some((service, _)) = next else { return Poll::Pending };
                    if let Err(error) = ready!(service.poll_ready(cx)) {
                        return Poll::Ready(Err(error));
                    }
                    let Some((mut service, request)) = next.take() else { return Poll::Pending };
                    service.call(request)
                }
            };
            self.set(Self::Running { future });
        }
    }
}
