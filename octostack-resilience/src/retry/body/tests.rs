use super::{Replay, ReplayBody, State};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue};
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt, Empty, Full};
use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

/// A body of given frames.
#[derive(Default)]
struct Frames(VecDeque<Result<Frame<Bytes>, &'static str>>);

impl Body for Frames {
    type Data = Bytes;
    type Error = &'static str;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, &'static str>>> {
        Poll::Ready(self.0.pop_front())
    }
}

#[allow(clippy::unnecessary_wraps, reason = "the frames of a body are results")]
fn data(text: &'static str) -> Result<Frame<Bytes>, &'static str> {
    Ok(Frame::data(Bytes::from_static(text.as_bytes())))
}

fn trailers() -> HeaderMap {
    HeaderMap::from_iter([(http::header::ETAG, HeaderValue::from_static("x"))])
}

fn frames(
    frames: impl IntoIterator<Item = Result<Frame<Bytes>, &'static str>>,
) -> (ReplayBody<Frames>, Replay<Frames>) {
    ReplayBody::record(Frames(frames.into_iter().collect()), 8)
}

/// The next frame as text; trailers as `trailers`.
fn next<B: Body<Data = Bytes> + Unpin>(body: &mut B) -> Option<Result<String, B::Error>> {
    let mut cx = Context::from_waker(Waker::noop());
    let Poll::Ready(frame) = Pin::new(body).poll_frame(&mut cx) else { panic!("pending") };
    let text = |frame: Frame<Bytes>| match frame.into_data() {
        Ok(data) => String::from_utf8(data.into()).unwrap(),
        Err(_) => "trailers".to_owned(),
    };
    frame.map(|frame| frame.map(text))
}

fn all<B: Body<Data = Bytes, Error = &'static str> + Unpin>(body: &mut B) -> Vec<String> {
    std::iter::from_fn(|| next(body).map(Result::unwrap)).collect()
}

#[test]
fn sends_everything_again_as_often_as_asked() {
    let (mut body, replay) = frames([data("ab"), data("cd"), Ok(Frame::trailers(trailers()))]);
    assert_eq!(all(&mut body), ["ab", "cd", "trailers"]);
    for _ in 0..3 {
        let mut again = replay.body().expect("a body that was sent whole can be sent again");
        assert_eq!(again.size_hint().exact(), Some(4));
        assert_eq!(all(&mut again), ["ab", "cd", "trailers"]);
        assert!(again.is_end_stream());
    }
}

#[test]
fn goes_on_with_what_the_first_attempt_did_not_read() {
    let (mut body, replay) = frames([data("ab"), data("cd"), data("ef")]);
    assert_eq!(next(&mut body), Some(Ok("ab".to_owned())));
    assert!(replay.body().is_none(), "it is still being sent");
    drop(body);
    let mut second = replay.body().unwrap();
    assert_eq!(next(&mut second), Some(Ok("ab".to_owned())));
    assert_eq!(next(&mut second), Some(Ok("cd".to_owned())));
    drop(second);
    assert_eq!(all(&mut replay.body().unwrap()), ["ab", "cd", "ef"]);
}

#[test]
fn a_body_that_outgrows_the_tape_arrives_whole_and_only_once() {
    let (mut body, replay) = frames([data("abcd"), data("efgh"), data("i"), data("j")]);
    assert_eq!(all(&mut body), ["abcd", "efgh", "i", "j"]);
    drop(body);
    assert!(replay.body().is_none());
    let (body, replay) = ReplayBody::record(Full::new(Bytes::from_static(b"123456789")), 8);
    assert_eq!(body.size_hint().exact(), Some(9));
    drop(body);
    let mut unread = replay.body().expect("nobody has begun to read it");
    assert_eq!(next(&mut unread), Some(Ok("123456789".to_owned())));
    drop(unread);
    assert!(replay.body().is_none(), "its size is known to be too large");
}

#[test]
fn a_replay_that_outgrows_the_tape_arrives_whole() {
    let (mut body, replay) = frames([data("abcd"), data("efgh"), data("i")]);
    assert_eq!(next(&mut body), Some(Ok("abcd".to_owned())));
    drop(body);
    let mut again = replay.body().unwrap();
    assert_eq!(all(&mut again), ["abcd", "efgh", "i"]);
    drop(again);
    assert!(replay.body().is_none());
}

#[test]
fn a_body_that_failed_is_not_sent_again() {
    let (mut body, replay) = frames([data("ab"), Err("disk"), data("cd")]);
    assert_eq!(next(&mut body), Some(Ok("ab".to_owned())));
    assert_eq!(next(&mut body), Some(Err("disk")));
    assert_eq!(next(&mut body), None);
    drop(body);
    assert!(replay.body().is_none());
}

#[test]
fn nothing_is_kept_once_nobody_can_ask_for_it() {
    let (mut body, replay) = frames([data("a"), data("b"), data("c")]);
    assert_eq!(next(&mut body), Some(Ok("a".to_owned())));
    assert!(matches!(body.state, State::Taped(_)));
    drop(replay);
    assert_eq!(next(&mut body), Some(Ok("b".to_owned())));
    assert!(matches!(body.state, State::Once(_)));
    assert_eq!(all(&mut body), ["c"]);
}

#[test]
fn an_empty_body_stays_empty() {
    let (body, replay) = ReplayBody::record(Empty::<Bytes>::new(), 8);
    assert!(body.is_end_stream());
    let again = replay.body().unwrap();
    assert!(again.is_end_stream());
    assert_eq!(again.size_hint().exact(), Some(0));
}

#[test]
fn tells_its_size_before_it_is_read() {
    let (body, replay) = ReplayBody::record(Full::new(Bytes::from_static(b"12345")), 8);
    assert_eq!(body.size_hint().exact(), Some(5), "content-length depends on it");
    drop(body);
    let again = replay.body().unwrap();
    assert_eq!(again.size_hint().exact(), Some(5));
    let (body, _replay) = frames([data("ab")]);
    let hint: SizeHint = body.size_hint();
    assert_eq!((hint.lower(), hint.upper()), (0, None));
}

#[tokio::test]
async fn passes_a_body_on_that_is_not_recorded() {
    let body = ReplayBody::from(Full::new(Bytes::from_static(b"12")));
    assert_eq!(body.collect().await.unwrap().to_bytes(), "12");
}
