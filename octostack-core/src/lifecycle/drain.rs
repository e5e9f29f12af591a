//! The part of the end in which requests finish: what it waits for, and what is cut.
use super::config::CUT_GRACE;
use super::{Lifecycle, LifecycleConfig, Outcome, Step, outcome};
use crate::inspect::{Event, Value};
use crate::requests::Stage;
use crate::sync::lock;
use crate::{Clock, SystemClock};
use std::pin::pin;
use std::time::Duration;
use tokio::time::{Instant, timeout, timeout_at};

/// How often it is told what the drain waits for.
const TELL: Duration = Duration::from_secs(5);

/// The most requests that are told at once.
const TOLD: usize = 20;

/// The most of them that the sentence for people names.
const NAMED: usize = 3;

impl Lifecycle {
    /// Waits for the listeners, says what holds them up, and cuts what takes too long.
    pub(super) async fn drain(&self, config: &LifecycleConfig, outcome: &mut Outcome) {
        let shared = &self.shared;
        shared.requests.advance(Step::Drain);
        let start = Instant::now();
        let deadline = start + config.drain_timeout;
        let mut streams = Some(start + config.stream_grace).filter(|until| *until < deadline);
        let mut tell = start + TELL;
        let mut done = pin!(self.listeners_done());
        let mut ignored = 0;
        loop {
            let next = streams.into_iter().fold(deadline.min(tell), Instant::min);
            if timeout_at(next, &mut done).await.is_ok() {
                break;
            }
            if next == deadline {
                self.cut(Step::Cut, outcome);
                if timeout(CUT_GRACE, &mut done).await.is_err() {
                    let message = "a listener did not end when it was cut";
                    shared.registry.emit(Event::new("drain", "lifecycle", message));
                    // It does not tell how much it had, and that ends with the process.
                    ignored = *shared.listening.borrow();
                }
                break;
            }
            if streams.take_if(|until| *until == next).is_some() {
                self.cut(Step::CutStreams, outcome);
            }
            if next == tell {
                self.tell_what_is_waited_for(deadline);
                tell += TELL;
            }
        }
        outcome.drained = *lock(&shared.drained);
        outcome.drained.cut_connections += ignored;
    }

    async fn listeners_done(&self) {
        let mut listening = self.shared.listening.subscribe();
        // `self` keeps the sender alive, so the only way out is the number.
        let _ = listening.wait_for(|n| *n == 0).await;
    }

    /// Goes on to a step that cuts, and remembers what that hits.
    fn cut(&self, step: Step, outcome: &mut Outcome) {
        let shared = &self.shared;
        // Before it: afterwards they are gone.
        let hit = match step {
            Step::CutStreams => shared.in_flight.by_route(&[Stage::Stream, Stage::Upgraded]),
            _ => shared.in_flight.by_route(&[]),
        };
        shared.requests.advance(step);
        if hit.is_empty() {
            return;
        }
        let what = if step == Step::CutStreams { "streams" } else { "requests" };
        let message = format!("cut {what}: {}", outcome::routes(&hit));
        let routes = hit.iter().map(|(route, count)| (route.clone(), Value::from(*count)));
        let event = Event::new("requests_cut", "lifecycle", message);
        shared.registry.emit(event.with("routes", Value::map(routes)));
        for (route, count) in hit {
            match outcome.cut_routes.iter_mut().find(|(known, _)| *known == route) {
                Some((_, sum)) => *sum += count,
                None => outcome.cut_routes.push((route, count)),
            }
        }
        outcome.cut_routes.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    }

    fn tell_what_is_waited_for(&self, deadline: Instant) {
        let now = SystemClock.now();
        let seen = self.shared.in_flight.oldest(TOLD, Duration::ZERO, now);
        let listeners = *self.shared.listening.borrow();
        let left = Duration::from_secs((deadline.into_std() - now).as_secs());
        let mut message = format!("the drain waits for {} requests", seen.total);
        let oldest = seen.requests.iter().take(NAMED).map(ToString::to_string);
        let oldest: Vec<_> = oldest.collect();
        if oldest.is_empty() {
            // What no layer has put into the table, or connections that are being closed.
            message = format!("the drain waits for connections of {listeners} listeners");
        } else {
            message = format!("{message}; the oldest: {}", oldest.join(", "));
        }
        let requests: Vec<_> = seen.requests.iter().map(crate::requests::Request::status).collect();
        let event = Event::new("drain_waiting", "lifecycle", message)
            .with("total", seen.total)
            .with("listeners", listeners)
            .with("left", left)
            .with("requests", requests);
        self.shared.registry.emit(event);
    }
}
