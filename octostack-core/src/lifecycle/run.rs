use super::{Cause, Drained, Lifecycle, Outcome, Phase, Signal, Signals, Step};
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// How much longer than its budget an end may take before it is ended from outside.
const OVERDUE: Duration = Duration::from_secs(1);

impl Lifecycle {
    /// Waits for a signal, [`shutdown`](Self::shutdown) or [`fail`](Self::fail), then ends
    /// everything in order and says how it went; see the [module docs](super) for the order.
    ///
    /// A second signal ends it at once: what is left is in tasks that the caller drops with the
    /// runtime.
    pub async fn run(&self, mut signals: Signals) -> Outcome {
        let cause = self.cause(&mut signals).await;
        let start = Instant::now();
        let mut outcome = Outcome {
            cause,
            ended_by: None,
            overdue: false,
            took: Duration::ZERO,
            drained: Drained::default(),
            cut_routes: Vec::new(),
            aborted_tasks: Vec::new(),
            unclosed: Vec::new(),
            unflushed: Vec::new(),
        };
        // Before readiness turns: whoever has seen that it is false gets `Connection: close`.
        self.shared.requests.advance(Step::Retire);
        let from = self.enter(Phase::Draining, &outcome.cause.to_string());
        let served = from.is_some_and(Phase::is_ready);
        let mut overdue = self.shared.overdue.subscribe();
        let (at_once, overdue) = tokio::select! {
            biased;
            signal = signals.next() => (Some(signal), false),
            Ok(_) = overdue.wait_for(|overdue| *overdue) => (None, true),
            () = self.end(&mut outcome, served) => (None, false),
        };
        if at_once.is_some() || overdue {
            outcome.cut_routes = self.shared.in_flight.by_route(&[]);
            self.shared.requests.advance(Step::Cut);
        }
        if overdue {
            outcome.drained.cut_requests += self.shared.in_flight.count();
        }
        (outcome.ended_by, outcome.overdue) = (at_once, overdue);
        outcome.took = start.elapsed();
        self.stopped(&outcome);
        outcome
    }

    /// Sees to it that [`run`](Self::run) ends even if all threads of its runtime are blocked, so
    /// that no clock runs there: it then ends a second after its
    /// [budget](super::LifecycleConfig::budget). Run it on a runtime of its own thread.
    pub async fn guard(&self) {
        self.draining().await;
        sleep(self.config().budget() + OVERDUE).await;
        self.shared.overdue.send_replace(true);
    }

    async fn cause(&self, signals: &mut Signals) -> Cause {
        let mut asked = self.shared.asked.subscribe();
        tokio::select! {
            biased;
            signal = signals.next() => Cause::Signal(signal),
            Ok(cause) = asked.wait_for(Option::is_some) => match &*cause {
                Some(cause) => cause.clone(),
                None => unreachable!("just waited for it"),
            },
        }
    }

    /// Waits until something says that it cannot go on.
    async fn failed(&self) {
        let mut asked = self.shared.asked.subscribe();
        // `self` keeps the sender alive, so the only way out is the word.
        let _ = asked.wait_for(|asked| matches!(asked, Some(Cause::Failed(_)))).await;
    }

    /// The order of the end. Each part has its own limit, so that a slow one takes no time from
    /// those after it.
    async fn end(&self, outcome: &mut Outcome, served: bool) {
        let shared = &self.shared;
        let config = self.config();
        let lame_duck = match outcome.cause {
            // Somebody at a terminal waits for it; no load balancer is behind that.
            Cause::Signal(Signal::Interrupt) => Duration::ZERO,
            // The start has failed: nobody was ever sent here, and nothing gets ready any more.
            Cause::Failed(_) if !served => Duration::ZERO,
            // What starts goes on to do so, and may serve sockets that were passed on; if that
            // fails, it is not waited for any longer.
            Cause::Signal(_) | Cause::Requested(_) | Cause::Failed(_) => {
                config.effective_lame_duck()
            }
        };
        if !lame_duck.is_zero() {
            tokio::select! {
                () = sleep(lame_duck) => {}
                () = self.failed(), if !served => {}
            }
        }

        self.drain(&config, outcome).await;

        let deadline = Instant::now() + config.task_timeout;
        outcome.aborted_tasks = shared.tasks.end(deadline).await;
        let deadline = Instant::now() + config.close_timeout;
        outcome.unclosed = shared.closers.run(deadline).await;
        let deadline = Instant::now() + config.flush_timeout;
        outcome.unflushed = shared.flushers.run(deadline).await;
    }
}
