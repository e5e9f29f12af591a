use super::{End, Observe, ObserveLayer, Outcome, Report};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use proptest::prelude::*;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use tower::{Layer, Service, service_fn};

/// Keeps what it hears.
#[derive(Clone, Debug, Default)]
struct Log(Arc<Mutex<Heard>>);

#[derive(Debug, Default)]
struct Heard {
    started: usize,
    streams: Vec<End>,
    ends: Vec<End>,
    /// Values of `x-said` in headers and trailers, before the end.
    said: Vec<HeaderValue>,
    /// How deep inside `within` we are now.
    depth: usize,
    polls: usize,
}

impl Observe for Log {
    type Report = Self;
    fn start<B>(&self, _: &mut Request<B>) -> Self {
        self.0.lock().unwrap().started += 1;
        self.clone()
    }
}

impl Report for Log {
    fn within<T>(&mut self, poll: impl FnOnce() -> T) -> T {
        /// Also left by a panic.
        struct Inside<'a>(&'a Log);
        impl Drop for Inside<'_> {
            fn drop(&mut self) {
                self.0.0.lock().unwrap().depth -= 1;
            }
        }
        self.0.lock().unwrap().depth += 1;
        let inside = Inside(self);
        let output = poll();
        drop(inside);
        self.0.lock().unwrap().polls += 1;
        output
    }
    fn response(&mut self, headers: &HeaderMap) {
        self.hear(headers);
    }
    fn trailers(&mut self, trailers: &HeaderMap) {
        self.hear(trailers);
    }
    fn streaming(&mut self, headers: &End) {
        self.0.lock().unwrap().streams.push(headers.clone());
    }
    fn finish(&mut self, end: &End) {
        self.0.lock().unwrap().ends.push(end.clone());
    }
}

impl Log {
    fn hear(&self, headers: &HeaderMap) {
        let mut heard = self.0.lock().unwrap();
        assert!(heard.ends.is_empty(), "after the end");
        heard.said.extend(headers.get_all("x-said").iter().cloned());
    }

    /// The one end of the one request.
    fn end(&self) -> (Outcome, Option<u16>) {
        let heard = self.0.lock().unwrap();
        assert_eq!((heard.started, heard.ends.len()), (1, 1), "{heard:?}");
        let end = &heard.ends[0];
        (end.outcome, end.status.map(|status| status.as_u16()))
    }

    fn in_flight(&self) -> usize {
        let heard = self.0.lock().unwrap();
        heard.started - heard.ends.len()
    }
}

/// One step of a future or a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Pending,
    Data(usize),
    Trailers,
    Error,
    Panic,
}

/// A body that does what it is told and then ends.
#[derive(Debug, Default)]
struct Script {
    steps: VecDeque<Step>,
    exact: Option<u64>,
    /// Says that it is at its end when there is nothing left.
    knows_its_end: bool,
}

impl Script {
    fn new(steps: &[Step]) -> Self {
        let steps = steps.iter().copied().collect();
        Self { steps, ..Self::default() }
    }
}

impl Body for Script {
    type Data = Bytes;
    type Error = &'static str;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        Poll::Ready(match self.steps.pop_front() {
            None => None,
            Some(Step::Pending) => return Poll::Pending,
            Some(Step::Data(n)) => Some(Ok(Frame::data(vec![b'x'; n].into()))),
            Some(Step::Trailers) => {
                let trailers = [("x-said", "trailers")].map(|(k, v)| (k.parse(), v.parse()));
                let trailers = trailers.map(|(k, v)| (k.unwrap(), v.unwrap()));
                Some(Ok(Frame::trailers(HeaderMap::from_iter(trailers))))
            }
            Some(Step::Error) => Some(Err("broken")),
            Some(Step::Panic) => panic!("in the body"),
        })
    }

    fn is_end_stream(&self) -> bool {
        self.knows_its_end && self.steps.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        self.exact.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

/// What the service does before its response: the last step is its end.
async fn respond(steps: Vec<Step>, response: Response<Script>) -> Result<Response<Script>, ()> {
    for step in steps {
        match step {
            Step::Pending => tokio::task::yield_now().await,
            Step::Panic => panic!("in the future"),
            Step::Error => return Err(()),
            Step::Data(_) | Step::Trailers => {}
        }
    }
    Ok(response)
}

/// Sends one request, polls as often as allowed, then drops everything. Returns what was heard.
fn drive(method: Method, future: &[Step], response: Response<Script>, polls: usize) -> Log {
    let log = Log::default();
    let mut given = Some((future.to_vec(), response));
    let mut service = ObserveLayer::new(log.clone()).layer(service_fn(move |_: Request<()>| {
        let (steps, response) = given.take().unwrap();
        respond(steps, response)
    }));
    let request = Request::builder().method(method).body(()).unwrap();
    let mut cx = Context::from_waker(Waker::noop());
    let mut left = polls;
    let _ = catch_unwind(AssertUnwindSafe(|| {
        let mut future = Box::pin(service.call(request));
        assert_eq!(log.in_flight(), 1);
        let response = loop {
            if left == 0 {
                return;
            }
            left -= 1;
            match future.as_mut().poll(&mut cx) {
                Poll::Pending => {}
                Poll::Ready(Err(())) => return,
                Poll::Ready(Ok(response)) => break response,
            }
        };
        drop(future);
        let mut body = pin!(response.into_body());
        while left > 0 {
            left -= 1;
            if let Poll::Ready(None | Some(Err(_))) = body.as_mut().poll_frame(&mut cx) {
                return;
            }
        }
    }));
    assert_eq!(log.in_flight(), 0, "{log:?}");
    log
}

const ALL: usize = usize::MAX;

fn ok(steps: &[Step]) -> Response<Script> {
    Response::new(Script::new(steps))
}

#[test]
fn a_body_that_is_read_to_its_end_completes() {
    use Step::{Data, Pending, Trailers};
    let log = drive(Method::GET, &[Pending], ok(&[Data(3), Pending, Data(4)]), ALL);
    assert_eq!(log.end(), (Outcome::Completed, Some(200)));
    // Servers do not poll after trailers.
    let log = drive(Method::GET, &[], ok(&[Data(3), Trailers]), 3);
    assert_eq!(log.end(), (Outcome::Completed, Some(200)));
}

#[test]
fn every_way_to_break_off_has_its_own_outcome() {
    use Step::{Data, Error, Panic, Pending};
    let get =
        |future: &[Step], body: &[Step], polls| drive(Method::GET, future, ok(body), polls).end();
    assert_eq!(get(&[], &[], 0), (Outcome::Cancelled, None), "never polled");
    assert_eq!(get(&[Pending, Pending], &[], 2), (Outcome::Cancelled, None));
    assert_eq!(get(&[Pending, Error], &[], ALL), (Outcome::Failed, None));
    assert_eq!(get(&[Pending, Panic], &[], ALL), (Outcome::Panicked, None));
    assert_eq!(get(&[], &[Data(1)], 1), (Outcome::Cancelled, Some(200)), "body never polled");
    assert_eq!(get(&[], &[Data(1), Data(1)], 2), (Outcome::Cancelled, Some(200)));
    assert_eq!(get(&[], &[Data(1), Error], ALL), (Outcome::BodyFailed, Some(200)));
    assert_eq!(get(&[], &[Data(1), Panic], ALL), (Outcome::Panicked, Some(200)));
}

#[test]
fn a_service_that_panics_in_call_is_a_panic() {
    let log = Log::default();
    let mut service = ObserveLayer::new(log.clone()).layer(service_fn(
        |_: Request<()>| -> std::future::Ready<Result<Response<Script>, ()>> { panic!("in call") },
    ));
    let called = catch_unwind(AssertUnwindSafe(|| drop(service.call(Request::new(())))));
    assert!(called.is_err());
    assert_eq!(log.end(), (Outcome::Panicked, None));
}

#[test]
fn a_panic_that_was_caught_before_the_drop_is_still_one() {
    let log = Log::default();
    let mut service = ObserveLayer::new(log.clone())
        .layer(service_fn(|_: Request<()>| respond(vec![Step::Panic], ok(&[]))));
    let mut future = Box::pin(service.call(Request::new(())));
    let mut cx = Context::from_waker(Waker::noop());
    let polled = catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(&mut cx).is_ready()));
    assert!(polled.is_err());
    drop(future); // nothing unwinds here any more
    assert_eq!(log.end(), (Outcome::Panicked, None));
}

#[test]
fn one_that_is_dropped_by_the_panic_of_another_was_cancelled() {
    let log = Log::default();
    let mut service = ObserveLayer::new(log.clone())
        .layer(service_fn(|_: Request<()>| respond(vec![Step::Pending], ok(&[]))));
    let future = service.call(Request::new(()));
    let unwound = catch_unwind(AssertUnwindSafe(move || {
        let _future = future;
        panic!("of a neighbour on the same connection");
    }));
    assert!(unwound.is_err());
    assert_eq!(log.end(), (Outcome::Cancelled, None));
}

#[test]
fn a_body_that_a_server_would_not_poll_again_is_complete_when_dropped() {
    use Step::Data;
    let script = |exact, knows_its_end, steps: &[Step]| {
        Response::new(Script { exact, knows_its_end, ..Script::new(steps) })
    };
    let complete = (Outcome::Completed, Some(200));
    let cancelled = (Outcome::Cancelled, Some(200));
    let end = |response, polls| drive(Method::GET, &[], response, polls).end();
    assert_eq!(end(script(None, true, &[Data(5)]), 2), complete, "says that it has ended");
    assert_eq!(end(script(Some(8), false, &[Data(5), Data(3)]), 3), complete, "knew its size");
    assert_eq!(end(script(Some(8), false, &[Data(5), Data(3)]), 2), cancelled);

    let mut announced = script(None, false, &[Data(5), Data(3)]);
    announced.headers_mut().insert("content-length", 8.into());
    assert_eq!(end(announced, 3), complete, "stopped at the announced length");
    let mut announced = script(None, false, &[Data(5), Data(3)]);
    announced.headers_mut().insert("content-length", 9.into());
    assert_eq!(end(announced, 3), cancelled);
}

#[test]
fn responses_without_a_body_are_complete_with_their_headers() {
    // The script would have more to say, but no server asks.
    let end = |method, status: u16| {
        let mut response = ok(&[Step::Data(1)]);
        *response.status_mut() = StatusCode::from_u16(status).unwrap();
        drive(method, &[], response, 1).end()
    };
    assert_eq!(end(Method::HEAD, 200), (Outcome::Completed, Some(200)));
    assert_eq!(end(Method::GET, 204), (Outcome::Completed, Some(204)));
    assert_eq!(end(Method::GET, 304), (Outcome::Completed, Some(304)));
    assert_eq!(end(Method::GET, 200), (Outcome::Cancelled, Some(200)));
}

#[test]
fn a_stream_is_heard_of_at_its_headers_and_again_at_its_end() {
    let events = |kind: &str| {
        let mut response = ok(&[Step::Data(1), Step::Data(1)]);
        response.headers_mut().insert("content-type", kind.parse().unwrap());
        response
    };
    for kind in ["text/event-stream", "Text/Event-Stream; charset=utf-8"] {
        let log = drive(Method::GET, &[], events(kind), 2);
        assert_eq!(log.end(), (Outcome::Cancelled, Some(200)));
        let heard = log.0.lock().unwrap();
        assert_eq!(heard.streams.len(), 1);
        assert_eq!(heard.streams[0].outcome, Outcome::Completed);
        assert!(heard.streams[0].streaming && heard.ends[0].streaming);
    }
    let log = drive(Method::GET, &[], events("text/plain"), ALL);
    assert!(log.0.lock().unwrap().streams.is_empty());

    let mut upgrade = ok(&[]);
    *upgrade.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let log = drive(Method::GET, &[], upgrade, ALL);
    assert_eq!(log.0.lock().unwrap().streams.len(), 1);
    let log = drive(Method::CONNECT, &[], ok(&[]), ALL);
    assert_eq!(log.0.lock().unwrap().streams.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn the_time_runs_from_the_call_to_the_end_of_the_body() {
    let log = Log::default();
    let mut service = ObserveLayer::new(log.clone()).layer(service_fn(|_: Request<()>| async {
        tokio::time::sleep(Duration::from_millis(20)).await;
        Ok::<_, ()>(ok(&[Step::Data(1)]))
    }));
    let future = service.call(Request::new(()));
    tokio::time::sleep(Duration::from_millis(1)).await; // waits for its first poll
    let mut body = future.await.unwrap().into_body();
    tokio::time::sleep(Duration::from_millis(300)).await;
    let mut cx = Context::from_waker(Waker::noop());
    while let Poll::Ready(Some(_)) = Pin::new(&mut body).poll_frame(&mut cx) {}
    tokio::time::sleep(Duration::from_secs(5)).await; // kept around after its end
    drop(body);
    assert_eq!(log.0.lock().unwrap().ends[0].elapsed, Duration::from_millis(321));
}

#[test]
fn a_pair_hears_the_same_and_the_second_is_inside_the_first() {
    let (outer, inner) = (Log::default(), Log::default());
    let (a, b) = (outer.clone(), inner.clone());
    let pair = ObserveLayer::new((outer.clone(), inner.clone()));
    let mut service = pair.layer(service_fn(move |_: Request<()>| {
        assert_eq!(a.0.lock().unwrap().depth, 1);
        assert_eq!(b.0.lock().unwrap().depth, 1);
        respond(vec![], ok(&[Step::Data(1)]))
    }));
    drop(service.call(Request::new(())));
    let (outer, inner) = (outer.0.lock().unwrap(), inner.0.lock().unwrap());
    assert_eq!(outer.ends, inner.ends, "also to the nanosecond");
    // The call, and the drop of what it gave.
    assert_eq!((outer.depth, inner.depth, outer.polls), (0, 0, 2));
}

#[test]
fn a_pair_hears_headers_and_trailers_before_the_end() {
    let (outer, inner) = (Log::default(), Log::default());
    let pair = ObserveLayer::new((outer.clone(), inner.clone()));
    let mut service = pair.layer(service_fn(|_: Request<()>| {
        let mut response = ok(&[Step::Data(1), Step::Trailers]);
        response.headers_mut().insert("x-said", HeaderValue::from_static("headers"));
        respond(vec![], response)
    }));
    let mut cx = Context::from_waker(Waker::noop());
    let Poll::Ready(response) = pin!(service.call(Request::new(()))).poll(&mut cx) else {
        panic!("waits for something");
    };
    let mut body = pin!(response.unwrap().into_body());
    while let Poll::Ready(Some(_)) = body.as_mut().poll_frame(&mut cx) {}
    for log in [&outer, &inner] {
        let heard = log.0.lock().unwrap();
        assert_eq!(heard.said, ["headers", "trailers"]);
        assert_eq!(heard.ends.len(), 1);
    }
}

#[test]
fn a_pair_hears_of_a_stream_together() {
    let (outer, inner) = (Log::default(), Log::default());
    let pair = ObserveLayer::new((outer.clone(), inner.clone()));
    let mut service = pair.layer(service_fn(|_: Request<()>| {
        let mut response = ok(&[]);
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        respond(vec![], response)
    }));
    let mut cx = Context::from_waker(Waker::noop());
    let response = pin!(service.call(Request::new(()))).poll(&mut cx);
    for log in [&outer, &inner] {
        let heard = log.0.lock().unwrap();
        assert_eq!((heard.streams.len(), heard.ends.len()), (1, 0));
    }
    drop(response);
    assert_eq!((outer.in_flight(), inner.in_flight()), (0, 0));
}

#[test]
fn every_poll_runs_within_the_report() {
    let log = drive(Method::GET, &[Step::Pending], ok(&[Step::Data(1)]), ALL);
    // The call, two polls of the future, two of the body.
    assert_eq!(log.0.lock().unwrap().polls, 5);
}

/// A future and a body that notes, when it is dropped, how deep inside the report that was.
struct Dropped(Log, Arc<Mutex<Vec<usize>>>, Option<Step>);

impl Drop for Dropped {
    fn drop(&mut self) {
        self.1.lock().unwrap().push(self.0.0.lock().unwrap().depth);
    }
}

impl Dropped {
    /// Pending, unless told to panic.
    fn step(&self) {
        assert_ne!(self.2, Some(Step::Panic), "as asked");
    }
}

impl Future for Dropped {
    type Output = Result<Response<Script>, ()>;
    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Self::Output> {
        self.step();
        Poll::Pending
    }
}

impl Body for Dropped {
    type Data = Bytes;
    type Error = ();
    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, ()>>> {
        self.step();
        Poll::Pending
    }
}

#[test]
fn what_is_given_up_is_dropped_within_the_report_and_before_its_end() {
    for (step, outcome) in [(None, Outcome::Cancelled), (Some(Step::Panic), Outcome::Panicked)] {
        let (log, depths) = (Log::default(), Arc::default());
        let make = || Dropped(log.clone(), Arc::clone(&depths), step);
        let mut cx = Context::from_waker(Waker::noop());
        // The panic is over when the future is dropped: its drop does not make it a cancelled one.
        let mut service = ObserveLayer::new(log.clone()).layer(service_fn(|_: Request<()>| make()));
        let mut future = Box::pin(service.call(Request::new(())));
        let _ = catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(&mut cx).is_ready()));
        drop(future);
        assert_eq!(log.end(), (outcome, None));

        *log.0.lock().unwrap() = Heard::default();
        let mut service = ObserveLayer::new(log.clone()).layer(service_fn(|_: Request<()>| {
            std::future::ready(Ok::<_, ()>(Response::new(make())))
        }));
        let answer = pin!(service.call(Request::new(()))).poll(&mut cx);
        let Poll::Ready(Ok(response)) = answer else { panic!("no response") };
        let mut body = Box::pin(response.into_body());
        let _ = catch_unwind(AssertUnwindSafe(|| body.as_mut().poll_frame(&mut cx).is_ready()));
        drop(body);
        assert_eq!(log.end(), (outcome, Some(200)));
        assert_eq!(*depths.lock().unwrap(), [1, 1], "{outcome:?}");
    }
}

fn steps(of: &'static [Step]) -> impl Strategy<Value = Vec<Step>> {
    prop::collection::vec(prop::sample::select(of), 0..6)
}

proptest! {
    /// Whatever the service does and whenever the server stops: one end for one start, and the
    /// one that a reader of the script would name.
    #[test]
    fn started_is_finished_and_in_flight(
        future in steps(&[Step::Pending, Step::Pending, Step::Error, Step::Panic]),
        body in steps(&[Step::Pending, Step::Data(3), Step::Trailers, Step::Error, Step::Panic]),
        polls in 0..12_usize,
    ) {
        let log = drive(Method::GET, &future, ok(&body), polls);
        let (mut left, mut end) = (polls, None);
        if left == 0 {
            end = Some((Outcome::Cancelled, None));
        }
        for step in future {
            if end.is_some() {
                break;
            }
            match step {
                Step::Error => end = Some((Outcome::Failed, None)),
                Step::Panic => end = Some((Outcome::Panicked, None)),
                _ => {
                    left -= 1;
                    if left == 0 {
                        end = Some((Outcome::Cancelled, None));
                    }
                }
            }
        }
        left = left.saturating_sub(1); // the poll that gave the response
        let frames = body.iter().copied().map(Some).chain([None]);
        for step in frames {
            if end.is_some() {
                break;
            }
            let outcome = match step {
                _ if left == 0 => Outcome::Cancelled,
                None | Some(Step::Trailers) => Outcome::Completed,
                Some(Step::Error) => Outcome::BodyFailed,
                Some(Step::Panic) => Outcome::Panicked,
                Some(Step::Pending | Step::Data(_)) => {
                    left -= 1;
                    continue;
                }
            };
            end = Some((outcome, Some(200)));
        }
        prop_assert_eq!(Some(log.end()), end);
    }
}
