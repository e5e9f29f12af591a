//! A request body that can be sent again.
//!
//! ```text
//! attempt 1   polls the body, and keeps each frame on a tape
//! dropped     or at its end: the tape, with what is left of the body, goes into the slot
//! attempt 2   takes the tape from the slot, plays it, and goes on with the rest of the body
//! ```
//!
//! Exactly one holds the tape, so no lock is held while the user's body is polled. A body that
//! outgrows the tape is passed on as it is, and its request cannot be repeated any more.
use bytes::{Buf, Bytes};
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

/// A body that keeps what it sends, up to a limit, so that another attempt can send it again.
///
/// What the inner service of a retry gets. It sends the data and trailers of the body it was made
/// from; `ReplayBody::from(body)` keeps nothing.
#[derive(Debug)]
pub struct ReplayBody<B> {
    state: State<B>,
}

#[derive(Debug)]
enum State<B> {
    /// Nothing (more) to send.
    Ended,
    /// Passed on as it is.
    Once(B),
    Taped(Player<B>),
}

/// Plays what is on the tape and records what comes after.
#[derive(Debug)]
struct Player<B> {
    /// There until it is put into the slot.
    tape: Option<Tape<B>>,
    slot: Arc<Slot<B>>,
    /// How many frames of the tape this attempt has sent.
    sent: usize,
}

#[derive(Debug)]
struct Tape<B> {
    /// What is not on the tape yet.
    rest: Option<B>,
    frames: Vec<Bytes>,
    trailers: Option<HeaderMap>,
    /// How many bytes still fit.
    room: usize,
}

/// Where the tape lies between two attempts.
type Slot<B> = Mutex<Option<Tape<B>>>;

/// Only whole tapes are moved in and out, so a panic of another holder left nothing half done.
fn take_hold<B>(slot: &Slot<B>) -> MutexGuard<'_, Option<Tape<B>>> {
    slot.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Makes the body of the next attempt.
#[derive(Debug)]
pub struct Replay<B> {
    /// `None` for a body without content.
    slot: Option<Arc<Slot<B>>>,
}

impl<B> From<B> for ReplayBody<B> {
    fn from(body: B) -> Self {
        Self { state: State::Once(body) }
    }
}

impl<B: Body> ReplayBody<B> {
    /// Records up to `room` bytes. Of a body that is known to be larger nothing is kept: it can be
    /// sent again only if nobody has begun to read it, as after a connection that was refused.
    pub(super) fn record(body: B, room: usize) -> (Self, Replay<B>) {
        if body.is_end_stream() {
            return (body.into(), Replay { slot: None });
        }
        let smallest = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
        let room = if smallest > room { 0 } else { room };
        let tape = Tape { rest: Some(body), frames: Vec::new(), trailers: None, room };
        let slot = Arc::new(Slot::new(None));
        let player = Player { tape: Some(tape), slot: slot.clone(), sent: 0 };
        (Self { state: State::Taped(player) }, Replay { slot: Some(slot) })
    }
}

impl<B> Replay<B> {
    /// The body once more, unless it outgrew the tape, failed, or is still being sent.
    pub(super) fn body(&self) -> Option<ReplayBody<B>> {
        let Some(slot) = &self.slot else {
            return Some(ReplayBody { state: State::Ended });
        };
        let tape = take_hold(slot).take()?;
        let player = Player { tape: Some(tape), slot: slot.clone(), sent: 0 };
        Some(ReplayBody { state: State::Taped(player) })
    }
}

/// What a [`Player`] does next.
enum Step<E> {
    Send(Frame<Bytes>),
    /// Send this; the rest does not fit on the tape, or nobody wants it any more.
    Untape(Bytes),
    /// The tape is complete and was sent.
    End,
    Fail(E),
}

impl<B: Body + Unpin> Player<B> {
    fn poll_step(&mut self, cx: &mut Context<'_>) -> Poll<Step<B::Error>> {
        let Some(tape) = &mut self.tape else {
            return Poll::Ready(Step::End);
        };
        if let Some(frame) = tape.frame(self.sent) {
            self.sent += 1;
            return Poll::Ready(Step::Send(frame));
        }
        let Some(rest) = &mut tape.rest else {
            return Poll::Ready(Step::End);
        };
        let frame = match ready!(Pin::new(&mut *rest).poll_frame(cx)) {
            None => {
                tape.rest = None;
                return Poll::Ready(Step::End);
            }
            Some(Err(error)) => return Poll::Ready(Step::Fail(error)),
            Some(Ok(frame)) => frame,
        };
        let is_over = rest.is_end_stream();
        let frame = match frame.into_data() {
            Ok(mut data) => {
                let data = data.copy_to_bytes(data.remaining());
                if data.len() > tape.room || Arc::strong_count(&self.slot) == 1 {
                    return Poll::Ready(Step::Untape(data));
                }
                tape.room -= data.len();
                // An endless body of empty frames must not fill the memory.
                if !data.is_empty() {
                    tape.frames.push(data.clone());
                    self.sent += 1;
                }
                Frame::data(data)
            }
            Err(frame) => match frame.into_trailers() {
                Ok(trailers) => {
                    tape.trailers = Some(trailers.clone());
                    self.sent += 1;
                    Frame::trailers(trailers)
                }
                // There are no other kinds of frames today; one that comes is not kept.
                Err(frame) => frame.map_data(|_| Bytes::new()),
            },
        };
        if is_over {
            tape.rest = None;
        }
        Poll::Ready(Step::Send(frame))
    }

    fn is_complete(&self) -> bool {
        self.tape.as_ref().is_none_or(|tape| tape.rest.is_none() && self.sent >= tape.len())
    }
}

impl<B> Tape<B> {
    fn len(&self) -> usize {
        self.frames.len() + usize::from(self.trailers.is_some())
    }

    fn frame(&self, number: usize) -> Option<Frame<Bytes>> {
        match self.frames.get(number) {
            Some(data) => Some(Frame::data(data.clone())),
            None if number == self.frames.len() => self.trailers.clone().map(Frame::trailers),
            None => None,
        }
    }
}

impl<B> Drop for Player<B> {
    fn drop(&mut self) {
        // A body that panicked is not polled again.
        if let Some(tape) = self.tape.take()
            && !std::thread::panicking()
        {
            *take_hold(&self.slot) = Some(tape);
        }
    }
}

impl<B: Body + Unpin> Body for ReplayBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let player = match &mut self.state {
            State::Ended => return Poll::Ready(None),
            State::Once(body) => {
                let frame = ready!(Pin::new(body).poll_frame(cx));
                let to_bytes = |mut data: B::Data| data.copy_to_bytes(data.remaining());
                return Poll::Ready(frame.map(|frame| Ok(frame?.map_data(to_bytes))));
            }
            State::Taped(player) => player,
        };
        let (next, answer) = match ready!(player.poll_step(cx)) {
            // The tape goes into the slot at the end, not when the body is dropped: connections
            // may keep a body that they have sent.
            Step::Send(frame) if player.is_complete() => (State::Ended, Some(Ok(frame))),
            Step::Send(frame) => return Poll::Ready(Some(Ok(frame))),
            Step::End => (State::Ended, None),
            Step::Untape(data) => {
                let rest = player.tape.take().and_then(|tape| tape.rest);
                (rest.map_or(State::Ended, State::Once), Some(Ok(Frame::data(data))))
            }
            Step::Fail(error) => {
                player.tape = None;
                (State::Ended, Some(Err(error)))
            }
        };
        self.state = next;
        Poll::Ready(answer)
    }

    fn is_end_stream(&self) -> bool {
        match &self.state {
            State::Ended => true,
            State::Once(body) => body.is_end_stream(),
            State::Taped(player) => player.is_complete(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        let tape = match &self.state {
            State::Ended => return SizeHint::with_exact(0),
            State::Once(body) => return body.size_hint(),
            State::Taped(player) => player.tape.as_ref().map(|tape| (tape, player.sent)),
        };
        let mut hint = SizeHint::with_exact(0);
        if let Some((tape, sent)) = tape {
            let taped: usize = tape.frames.iter().skip(sent).map(Bytes::len).sum();
            let rest = tape.rest.as_ref().map_or(SizeHint::with_exact(0), Body::size_hint);
            if let Some(upper) = rest.upper() {
                hint.set_upper(upper + taped as u64);
            } else {
                hint = SizeHint::new();
            }
            hint.set_lower(rest.lower() + taped as u64);
        }
        hint
    }
}

#[cfg(test)]
mod tests;
