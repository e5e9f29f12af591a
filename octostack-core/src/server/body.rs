use super::link::{InFlight, Link};
use crate::lifecycle::Step;
use crate::server::BoxError;
use bytes::{Buf, Bytes};
use http_body::{Body, Frame, SizeHint};
use http_body_util::{LengthLimitError, Limited};
use hyper::body::Incoming;
use pin_project_lite::pin_project;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

/// The body of a request, no longer than
/// [`max_body_bytes`](super::ServerConfig::max_body_bytes).
///
/// A longer one ends with [`LengthLimitError`], which Axum's extractors answer with 413. Whatever
/// the service makes of it, the server answers 413 if no response has begun.
pub struct RequestBody {
    inner: Limited<Incoming>,
    exceeded: Option<Exceeded>,
    /// Told if the body is dropped before its end.
    link: Option<Arc<Link>>,
}

/// Whether the body of a request was longer than the limit.
#[derive(Clone, Debug, Default)]
pub(super) struct Exceeded(Arc<AtomicBool>);

impl Exceeded {
    pub(super) fn get(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl RequestBody {
    /// A body that ends with an error above `max` bytes. `exceeded` hears of it, which is only
    /// worth an allocation where the length is not known beforehand.
    pub(super) fn new(
        inner: Incoming,
        max: Option<usize>,
        exceeded: Option<Exceeded>,
        link: &Arc<Link>,
    ) -> Self {
        Self {
            link: (!inner.is_end_stream()).then(|| Arc::clone(link)),
            inner: Limited::new(inner, max.unwrap_or(usize::MAX)),
            exceeded,
        }
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if self.exceeded.as_ref().is_some_and(Exceeded::get) {
            return Poll::Ready(None);
        }
        let frame = ready!(Pin::new(&mut self.inner).poll_frame(cx));
        match (&frame, &self.exceeded) {
            (None, _) => self.link = None,
            (Some(Err(error)), Some(exceeded)) if error.is::<LengthLimitError>() => exceeded.set(),
            _ => {}
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

impl Drop for RequestBody {
    fn drop(&mut self) {
        // A reader that knows the length does not ask for the end.
        if let Some(link) = self.link.take().filter(|_| !self.inner.is_end_stream()) {
            link.left_body_unread();
        }
    }
}

impl fmt::Debug for RequestBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RequestBody").field(&self.inner).finish()
    }
}

pin_project! {
    /// The service's body, or a few words of the server's own. Its request is in flight until this
    /// is dropped, and its last piece.
    pub(super) struct ResponseBody<B> {
        #[pin]
        inner: Inner<B>,
        streams: Option<Streams>,
        http1: bool,
        // Until the last piece has it.
        in_flight: Option<InFlight>,
    }
}

/// A piece of a body. The last one on HTTP/2 has the request with it: h2 keeps pieces for which the
/// peer has no room, so that nothing else tells when all of them are on their way.
pub(super) struct Piece {
    bytes: Bytes,
    waits: Option<Waits>,
}

/// Who hears that h2 has got rid of a part of a piece.
enum Waits {
    Last(InFlight),
    More(Arc<Link>),
}

impl Buf for Piece {
    fn remaining(&self) -> usize {
        self.bytes.remaining()
    }

    fn chunk(&self) -> &[u8] {
        self.bytes.chunk()
    }

    fn advance(&mut self, n: usize) {
        self.bytes.advance(n);
        // After the last byte it is about to be dropped.
        match self.waits.as_ref().filter(|_| !self.bytes.is_empty()) {
            Some(Waits::Last(in_flight)) => in_flight.shared().answer_moves(),
            Some(Waits::More(link)) => link.answer_moves(),
            None => {}
        }
    }
}

/// Frames that a stream may send when its time is over, if it has them at once: the message and
/// the status of a call that has taken longer. What always has more is cut after them.
const LAST_FRAMES: u8 = 4;

/// Of a response that may stream: when it is to be cut.
struct Streams {
    link: Arc<Link>,
    /// Boxed, and made when it first waits: most never do.
    over: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    frames_left: u8,
    /// Whether it has begun in time. If not, it is the answer to a request that took longer.
    in_time: bool,
}

impl Streams {
    fn new(link: Arc<Link>) -> Self {
        let in_time = link.stop.step() < Step::CutStreams;
        if in_time {
            link.stream_started();
        }
        Self { link, over: None, frames_left: LAST_FRAMES, in_time }
    }

    /// Whether it has no more frames to send. Called before each.
    fn is_spent(&mut self) -> bool {
        let over = self.link.stop.step() >= Step::CutStreams;
        let spent = over && self.frames_left == 0;
        self.frames_left -= u8::from(over && !spent);
        spent
    }

    fn poll_over(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let over = || Box::pin(self.link.stop.reached(Step::CutStreams)) as Pin<Box<_>>;
        self.over.get_or_insert_with(over).as_mut().poll(cx)
    }
}

impl Drop for Streams {
    fn drop(&mut self) {
        if self.in_time {
            self.link.stream_ended();
        }
    }
}

pin_project! {
    #[project = InnerProj]
    enum Inner<B> {
        Service { #[pin] body: B },
        Words { words: Option<Bytes> },
    }
}

impl<B: Body> Inner<B> {
    fn is_end_stream(&self) -> bool {
        match self {
            Self::Service { body } => body.is_end_stream(),
            Self::Words { words } => words.is_none(),
        }
    }
}

impl<B> ResponseBody<B> {
    /// A body of the service. If it `streams`, it is cut when the time for streams is over.
    pub(super) fn of_service(body: B, in_flight: InFlight, streams: bool, http1: bool) -> Self {
        let streams = streams.then(|| Streams::new(in_flight.link()));
        Self { inner: Inner::Service { body }, streams, http1, in_flight: Some(in_flight) }
    }

    pub(super) fn words(words: String, in_flight: InFlight) -> Self {
        let inner = Inner::Words { words: Some(Bytes::from(words)) };
        // They are few: they do not wait for room.
        Self { inner, streams: None, http1: true, in_flight: Some(in_flight) }
    }
}

impl<B: Body<Error: Into<BoxError>>> Body for ResponseBody<B> {
    type Data = Piece;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Piece>, BoxError>>> {
        let mut this = self.project();
        let Some(in_flight) = this.in_flight.as_mut() else {
            return Poll::Ready(None);
        };
        in_flight.has_room();
        let link = in_flight.shared();
        match this.inner.as_mut().project() {
            InnerProj::Service { body } => {
                let spent = this.streams.as_mut().is_some_and(Streams::is_spent);
                let frame = if spent { Poll::Pending } else { body.poll_frame(cx) };
                if let (Poll::Pending, Some(streams)) = (&frame, this.streams.as_mut())
                    && (spent || streams.poll_over(cx).is_ready())
                {
                    link.cut_stream();
                    this.inner.set(Inner::Words { words: None });
                    let why = "the service ends, and the time for streams to end is over";
                    return Poll::Ready(Some(Err(why.into())));
                }
                let frame = ready!(frame);
                // Free for `Bytes`, which nearly every body consists of.
                let whole = |mut data: B::Data| data.copy_to_bytes(data.remaining());
                let (http1, last) = (*this.http1, this.inner.is_end_stream());
                let held = this.in_flight;
                let piece = |data| {
                    let bytes = whole(data);
                    let Some(in_flight) = held.as_mut().filter(|_| !http1) else {
                        return Piece { bytes, waits: None };
                    };
                    in_flight.wait_for_room();
                    let link = in_flight.link();
                    let waits = held.take_if(|_| last).map_or(Waits::More(link), Waits::Last);
                    Piece { bytes, waits: Some(waits) }
                };
                Poll::Ready(frame.map(|frame| match frame {
                    Ok(frame) => Ok(frame.map_data(piece)),
                    Err(error) => Err(error.into()),
                }))
            }
            InnerProj::Words { words } => {
                let piece = |bytes| Ok(Frame::data(Piece { bytes, waits: None }));
                Poll::Ready(words.take().map(piece))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        match &self.inner {
            Inner::Service { body } => body.size_hint(),
            Inner::Words { words } => {
                SizeHint::with_exact(words.as_ref().map_or(0, |words| words.len() as u64))
            }
        }
    }
}
