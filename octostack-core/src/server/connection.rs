use super::activity::{Activity, Protocol};
use super::link::Link;
use crate::SystemClock;
use crate::clock::Clock;
use crate::lifecycle::{Step, Stop};
use crate::sync::lock;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::{Mutex, OnceLock};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};
use tokio::task::coop::has_budget_remaining;
use tokio::time::sleep_until;

/// How long a peer may take to answer the ping that goes with GOAWAY. Until then it may have begun
/// a request that has not arrived here.
const PONG_TIMEOUT: Duration = Duration::from_secs(1);

/// How long streams get to notice that their time is over, and to be reset alone on HTTP/2. Those
/// whose client does not read do not notice: nobody polls them.
const STREAMS_NOTICE: Duration = Duration::from_millis(50);

/// How long a connection may go on in a crowd, whatever goes on, on a listener that bounds it.
struct Turn<'a> {
    link: &'a Link,
    /// When it was first seen in the crowd that there is.
    start: Mutex<Option<Instant>>,
}

impl Turn<'_> {
    fn ends(&self, activity: &Activity) -> Option<Instant> {
        let time = self.link.listener.turn?;
        let mut start = lock(&self.start);
        if !self.link.listener.is_crowded() {
            *start = None;
            return None;
        }
        if activity.is_kept() {
            return None;
        }
        Some(*start.get_or_insert_with(|| SystemClock.now()) + time)
    }

    fn is_over(&self) -> bool {
        self.link.ask(|a| self.ends(a)).is_some_and(|end| end <= SystemClock.now())
    }
}

/// Why [`timed`] returned.
enum End {
    /// The connection is done.
    Finished,
    /// What it waited for beside the connection has happened.
    Told,
    /// The connection has waited long enough.
    Due,
}

/// Serves one connection to its end, which `stop` brings about if nothing else does.
///
/// `close` asks it to end as its protocol provides: GOAWAY on HTTP/2, and on HTTP/1 no more
/// requests, which closes an idle connection at once. So on HTTP/1 that is only done when nothing
/// was heard for `grace`: a request that crosses the close is lost, and a client has no way to know
/// whether it was carried out.
pub(super) async fn drive<C: Future>(
    mut connection: Pin<&mut C>,
    close: impl FnOnce(Pin<&mut C>),
    link: &Link,
    stop: &Stop,
    grace: impl FnOnce() -> Duration,
) {
    let config = &link.config;
    let unread = Unread { stop, since: OnceLock::new() };
    let turn = Turn { link, start: Mutex::default() };
    let serving = |activity: &Activity| {
        let due = activity.due(config, || link.listener.is_crowded());
        due.into_iter().chain(turn.ends(activity)).min()
    };
    let is_stalled = || link.ask(|a| a.is_stalled(config, SystemClock.now()));
    match timed(connection.as_mut(), link, (stop, Step::Drain), serving).await {
        End::Finished => return,
        End::Due if is_stalled() || turn.is_over() => return,
        End::Due => {}
        End::Told => {
            let (start, grace) = (SystemClock.now(), grace());
            let draining = |activity: &Activity| match activity.protocol() {
                Protocol::Http2 => Some(start),
                Protocol::Http1 | Protocol::Unknown => {
                    let unread = unread.due(activity).into_iter().chain(activity.stalls(config));
                    activity.due_in_drain(start, grace).into_iter().chain(unread).min()
                }
            };
            match timed(connection.as_mut(), link, (stop, Step::Cut), draining).await {
                End::Finished => return,
                End::Due if is_stalled() => return link.cut(),
                End::Due if link.ask(|a| a.protocol() != Protocol::Http2 && a.only_streams()) => {
                    return link.cut();
                }
                End::Due => {}
                End::Told => return link.cut(),
            }
        }
    }

    close(connection.as_mut());
    let start = SystemClock.now();
    let pongs = link.ask(Activity::pongs);
    let closing = |activity: &Activity| {
        let due = match activity.protocol() {
            _ if !activity.is_quiet() => {
                unread.due(activity).into_iter().chain(activity.stalls(config)).min()
            }
            // h2 will end the connection when the last stream has been sent: words of our own, which
            // are in no request any more, may wait for room.
            Protocol::Http2 if activity.pongs() > pongs => {
                activity.due_in_drain(start, config.send_timeout)
            }
            // A peer that asks on and does not answer the ping gets its answers, and is left.
            Protocol::Http2 => activity.due_in_drain(start, PONG_TIMEOUT),
            // Half a request, or none: hyper would wait for the rest.
            Protocol::Http1 | Protocol::Unknown => Some(start),
        };
        due.into_iter().chain(turn.ends(activity)).min()
    };
    match timed(connection, link, (stop, Step::Cut), closing).await {
        End::Finished => {}
        // What the drain had to cut, or what was given up as at any time.
        End::Due if stop.step() < Step::Drain => {}
        End::Due | End::Told => link.cut(),
    }
}

/// When a connection is cut on which nothing goes on but streams, which did not notice.
struct Unread<'a> {
    stop: &'a Stop,
    /// When it was first asked for, after their time.
    since: OnceLock<Instant>,
}

impl Unread<'_> {
    fn due(&self, activity: &Activity) -> Option<Instant> {
        if self.stop.step() < Step::CutStreams || !activity.only_streams() {
            return None;
        }
        Some(*self.since.get_or_init(|| SystemClock.now()) + STREAMS_NOTICE)
    }
}

/// Drives the connection until it ends, until `stop` has come to `until`, or until the instant that
/// `due` gives.
///
/// `due` is asked whenever the connection has nothing to do. The timer is only moved when it is
/// needed earlier, so that a busy connection does not touch it: when it fires too early, it is set
/// again.
///
/// A task is polled at each read, and to wait for `stop` and for the timer takes locks. So both are
/// asked to wake the task once, and then only looked at.
async fn timed<C: Future>(
    mut connection: Pin<&mut C>,
    link: &Link,
    (stop, until): (&Stop, Step),
    due: impl Fn(&Activity) -> Option<Instant>,
) -> End {
    let mut told = pin!(stop.reached(until));
    let mut timer = pin!(sleep_until(far_off(SystemClock.now()).into()));
    let (mut awaits_stop, mut awaits_timer) = (Awaits::default(), Awaits::default());
    poll_fn(|cx| {
        // The connection first: what it has to do is never dropped for a timer.
        if connection.as_mut().poll(cx).is_ready() {
            return Poll::Ready(End::Finished);
        }
        // Nobody is woken before the first step, so that whoever waits since before it still does.
        let runs = stop.step() == Step::Run;
        if !(runs && awaits_stop.already(cx)) && told.as_mut().poll(cx).is_ready() {
            return Poll::Ready(End::Told);
        }
        let Some(at) = link.ask(&due) else {
            return Poll::Pending;
        };
        if at < timer.deadline().into_std() {
            timer.as_mut().reset(at.into());
            awaits_timer = Awaits::default();
        }
        while timer.is_elapsed() || !awaits_timer.already(cx) {
            if timer.as_mut().poll(cx).is_pending() {
                break;
            }
            let now = SystemClock.now();
            if at <= now {
                return Poll::Ready(End::Due);
            }
            timer.as_mut().reset(at.into());
            awaits_timer = Awaits::default();
        }
        Poll::Pending
    })
    .await
}

/// Which task something is going to wake.
#[derive(Default)]
struct Awaits(Option<Waker>);

impl Awaits {
    /// Whether that is the task of `cx`; it is from now on.
    fn already(&mut self, cx: &Context<'_>) -> bool {
        let already = self.0.as_ref().is_some_and(|waker| waker.will_wake(cx.waker()));
        if !already {
            // Without budget a future of tokio's takes no waker; it has the task polled again.
            self.0 = has_budget_remaining().then(|| cx.waker().clone());
        }
        already
    }
}

/// Later than any timeout, near enough for the timer.
fn far_off(now: Instant) -> Instant {
    now + Duration::from_secs(60 * 60 * 24 * 365)
}
