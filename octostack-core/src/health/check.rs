use super::standing::Status;
use super::state::State;
use super::{CheckKind, Examine, Schedule};
use crate::inspect::{Inspect, Metric, Sink, Value};
use crate::sync::lock;
use crate::{Clock, SystemClock, duration};
use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::task::Poll;
use std::time::{Duration, Instant};

/// One check: what to run, when, and what it has found.
pub(super) struct Check {
    pub(super) name: String,
    pub(super) kind: CheckKind,
    pub(super) schedule: Schedule,
    pub(super) state: Mutex<State>,
    what: Box<dyn Examine>,
}

impl Check {
    pub(super) fn new(
        name: String,
        kind: CheckKind,
        schedule: Schedule,
        what: impl Examine,
    ) -> Self {
        Self {
            name,
            kind,
            state: Mutex::new(State::new(schedule.initial, SystemClock.now())),
            schedule,
            what: Box::new(what),
        }
    }

    /// Runs it once: a timeout and a panic are failures.
    pub(super) async fn attempt(&self) -> Result<(), String> {
        let mut run = None;
        let guarded = std::future::poll_fn(|cx| {
            let poll = catch_unwind(AssertUnwindSafe(|| {
                run.get_or_insert_with(|| self.what.examine()).as_mut().poll(cx)
            }));
            poll.unwrap_or_else(|payload| Poll::Ready(Err(panicked(payload.as_ref()))))
        });
        let limit = self.schedule.timeout;
        tokio::time::timeout(limit, guarded)
            .await
            .unwrap_or_else(|_| Err(format!("no answer within {}", duration::format(limit))))
    }
}

fn panicked(payload: &(dyn Any + Send)) -> String {
    let text = payload
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    format!("the check panicked: {}", text.unwrap_or("no message"))
}

/// How long ago, in whole seconds.
fn ago(then: Instant) -> String {
    let elapsed = SystemClock.now().saturating_duration_since(then);
    duration::format(Duration::from_secs(elapsed.as_secs()))
}

impl Inspect for Check {
    fn name(&self) -> &str {
        &self.name
    }

    fn kind(&self) -> &'static str {
        "health_check"
    }

    fn status(&self) -> Value {
        let state = lock(&self.state).clone();
        Value::map([
            ("status", Value::from(state.status.as_str())),
            ("kind", self.kind.as_str().into()),
            ("for", ago(state.since).into()),
            ("reason", state.reason.into()),
            ("last_result", (state.runs > 0).then(|| ago(state.heard)).into()),
            ("runs", state.runs.into()),
            ("failures", state.failures.into()),
            ("interval", self.schedule.interval.into()),
            ("timeout", self.schedule.timeout.into()),
        ])
    }

    fn collect(&self, sink: &mut dyn Sink) {
        static STATUS: Metric = Metric::gauge(
            "octostack_health_check_status",
            "1 for a check that passes, 0 for one that fails or has no result yet.",
        );
        let passing = lock(&self.state).status == Status::Passing;
        let value = f64::from(u8::from(passing));
        sink.sample(&STATUS, &[("check", &self.name)], value);
    }

    fn abnormal(&self) -> Option<String> {
        let state = lock(&self.state).clone();
        (state.status == Status::Failing).then(|| {
            let reason = state.reason.unwrap_or_default();
            format!("failing since {}: {reason}", ago(state.since))
        })
    }
}
