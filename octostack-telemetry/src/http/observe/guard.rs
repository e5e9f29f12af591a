use super::{End, Observe, Outcome, Report};
use http::{HeaderMap, Method, Request, Response, StatusCode, header};
use http_body::Body;
use octostack_core::{Clock, SystemClock};
use std::mem;
use std::time::Instant;

/// Follows one request and reports its end exactly once, at the latest when dropped.
#[derive(Debug)]
pub(super) struct Guard<R: Report> {
    report: R,
    started: Instant,
    method: MethodRule,
    status: Option<StatusCode>,
    streaming: bool,
    phase: Phase,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Waiting,
    /// Inside the service or the body. A guard dropped in this phase was left by a panic: that
    /// holds too if something catches the panic before it drops the future, when
    /// `thread::panicking` would say no.
    Polling,
    Reported,
}

/// What the method says about the response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum MethodRule {
    Head,
    Connect,
    Other,
}

impl<R: Report> Guard<R> {
    #[inline]
    pub(super) fn start<B>(observe: &impl Observe<Report = R>, request: &mut Request<B>) -> Self {
        // The clock first, so that the time of the report's own start counts as well.
        let started = SystemClock.now();
        let method = match *request.method() {
            Method::HEAD => MethodRule::Head,
            Method::CONNECT => MethodRule::Connect,
            _ => MethodRule::Other,
        };
        let mut report = observe.start(request);
        report.arrived(started);
        Self { report, started, method, status: None, streaming: false, phase: Phase::Waiting }
    }

    /// Runs one call or poll of what is observed.
    #[inline]
    pub(super) fn within<T>(&mut self, poll: impl FnOnce() -> T) -> T {
        self.phase = Phase::Polling;
        let output = self.report.within(poll);
        self.phase = Phase::Waiting;
        output
    }

    /// Runs the drop of what is observed and did not end, so that its destructors are inside too.
    #[inline]
    pub(super) fn within_drop(&mut self, drop: impl FnOnce()) {
        let phase = mem::replace(&mut self.phase, Phase::Polling);
        self.report.within(drop);
        self.phase = phase;
    }

    /// Takes note of the headers. Returns whether a body is to follow them.
    #[inline]
    pub(super) fn headers<B: Body>(&mut self, response: &mut Response<B>) -> bool {
        let status = response.status();
        self.status = Some(status);
        self.report.response(response.headers());
        let bodiless = matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        self.streaming = status == StatusCode::SWITCHING_PROTOCOLS
            || (self.method == MethodRule::Connect && status.is_success());
        if self.streaming {
            self.report.upgrade(response.extensions_mut());
        }
        if !self.streaming
            && (bodiless || self.method == MethodRule::Head || response.body().is_end_stream())
        {
            return false;
        }
        self.streaming = self.streaming || is_event_stream(response);
        if self.streaming {
            let headers = self.end(Outcome::Completed);
            self.report.streaming(&headers);
        }
        true
    }

    #[inline]
    pub(super) fn trailers(&mut self, trailers: &HeaderMap) {
        self.report.trailers(trailers);
    }

    #[inline]
    pub(super) fn finish(mut self, outcome: Outcome) {
        self.report(outcome);
    }

    #[inline]
    fn report(&mut self, outcome: Outcome) {
        // First, so that a report that panics against its contract is not called again by `drop`.
        self.phase = Phase::Reported;
        let end = self.end(outcome);
        self.report.finish(&end);
    }

    /// Whether a panic of what is observed has left it.
    #[inline]
    pub(super) fn is_panicked(&self) -> bool {
        self.phase == Phase::Polling
    }

    #[inline]
    fn end(&self, outcome: Outcome) -> End {
        let elapsed = SystemClock.now().saturating_duration_since(self.started);
        End { outcome, status: self.status, elapsed, streaming: self.streaming }
    }
}

impl<R: Report> Drop for Guard<R> {
    #[inline]
    fn drop(&mut self) {
        match self.phase {
            Phase::Waiting => self.report(Outcome::Cancelled),
            Phase::Polling => self.report(Outcome::Panicked),
            Phase::Reported => {}
        }
    }
}

#[inline]
fn is_event_stream<B>(response: &Response<B>) -> bool {
    const KIND: &[u8] = b"text/event-stream";
    let Some(value) = response.headers().get(header::CONTENT_TYPE) else {
        return false;
    };
    let value = value.as_bytes();
    value.len() >= KIND.len() && value[..KIND.len()].eq_ignore_ascii_case(KIND)
}
