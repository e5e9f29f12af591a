//! The time limit of a call whose answer has a body.
use super::Shared;
use super::reach::Clocked;
use super::run::{Run, fires_at};
use crate::error::{BoxError, Phase};
use crate::extent::Extent;
use crate::handle::Handle;
use crate::protocol::BodyProtocol;
use crate::unwind::ending_on_panic;
use bytes::Bytes;
use http::Response;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::time::Sleep;

/// A call ends with the body of its answer, which has to come in time too; made by
/// [`until_body_end()`](super::TimeoutLayer::until_body_end).
#[derive(Clone, Copy, Debug, Default)]
pub struct BodyInTime;

impl<B, P, H> Extent<Response<B>, Clocked<P, H>> for BodyInTime
where
    B: Body,
    H: Handle<Shared>,
{
    const AT_HEAD: bool = false;

    type Response = Response<TimedBody<B, P, H>>;

    fn hold(&self, answer: Response<B>, clocked: Clocked<P, H>) -> Self::Response {
        answer.map(|body| TimedBody::new(body, clocked))
    }

    fn pass(&self, answer: Response<B>) -> Self::Response {
        answer.map(|body| TimedBody { body: Some(body), timer: None, clocked: None })
    }
}

pin_project! {
    /// A body that has to end in time. One that does not is ended as the protocol says it: with a
    /// status in the trailers for gRPC, else with a [`PolicyError`](crate::PolicyError).
    #[derive(Debug)]
    pub struct TimedBody<B, P, H: Handle<Shared>> {
        // `None` once it was cut off.
        #[pin]
        body: Option<B>,
        // Made at the first wait; in a box, so that a body that can be moved still can.
        timer: Option<Pin<Box<Option<Sleep>>>>,
        // There until the call has ended.
        clocked: Option<Clocked<P, H>>,
    }
}

impl<B: Body, P, H: Handle<Shared>> TimedBody<B, P, H> {
    fn new(body: B, clocked: Clocked<P, H>) -> Self {
        let clocked = if body.is_end_stream() {
            clocked.end();
            None
        } else {
            Some(clocked)
        };
        Self { body: Some(body), timer: None, clocked }
    }
}

/// For answers that layers outside make themselves.
impl<B: Default, P, H: Handle<Shared>> Default for TimedBody<B, P, H> {
    fn default() -> Self {
        Self { body: Some(B::default()), timer: None, clocked: None }
    }
}

/// For answers that layers outside make themselves.
impl<B: From<Bytes>, P, H: Handle<Shared>> From<Bytes> for TimedBody<B, P, H> {
    fn from(bytes: Bytes) -> Self {
        Self { body: Some(bytes.into()), timer: None, clocked: None }
    }
}

impl<B, P, H> Body for TimedBody<B, P, H>
where
    B: Body,
    B::Error: Into<BoxError>,
    P: BodyProtocol,
    H: Handle<Shared>,
{
    type Data = B::Data;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, BoxError>>> {
        let mut this = self.project();
        let Some(mut body) = this.body.as_mut().as_pin_mut() else { return Poll::Ready(None) };
        let Some(clocked) = this.clocked.as_mut() else {
            return body.poll_frame(cx).map_err(Into::into);
        };
        let entered = clocked.run.enter(clocked.until);
        let frame =
            ending_on_panic(&mut clocked.run, Run::panicked, || body.as_mut().poll_frame(cx));
        drop(entered);
        let Poll::Ready(frame) = frame else {
            // The time goes on from where the head of the answer left it.
            let until = clocked.until.map(|until| tokio::time::sleep_until(until.into()));
            let timer = this.timer.get_or_insert_with(|| Box::pin(until));
            let cut = clocked.run.poll_timer(timer.as_mut(), || Phase::Body, cx);
            clocked.until = fires_at(timer.as_ref().get_ref().as_ref());
            return cut.map(|error| {
                let cut = clocked.protocol.cut(error);
                this.body.set(None);
                Some(cut.map(Frame::trailers))
            });
        };
        let is_last = match &frame {
            None | Some(Err(_)) => true,
            Some(Ok(frame)) => frame.is_trailers() || body.is_end_stream(),
        };
        if is_last && let Some(clocked) = this.clocked.take() {
            clocked.end();
        }
        Poll::Ready(frame.map(|frame| frame.map_err(Into::into)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map(Body::size_hint).unwrap_or_default()
    }
}
