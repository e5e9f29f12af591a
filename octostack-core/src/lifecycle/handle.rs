use super::hooks::Hooks;
use super::tasks::Tasks;
use super::{Cause, Drained, LifecycleConfig, Listening, Outcome, Phase, Shutdown, Stop, Stopper};
use crate::inspect::{Event, Inspect, Metric, Problem, Registry, Sink, Value};
use crate::requests::Requests;
use crate::sync::lock;
use std::fmt;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex};
use tokio::sync::watch;

/// A service's life: its phase, and everything that has to end with it; see the
/// [module docs](super).
///
/// Clones are cheap and share the life.
#[derive(Clone)]
pub struct Lifecycle {
    pub(super) shared: Arc<Shared>,
}

pub(super) struct Shared {
    pub(super) config: Mutex<LifecycleConfig>,
    pub(super) registry: Registry,
    /// The phase of `state`, to be read without its lock.
    phase: AtomicU8,
    state: watch::Sender<State>,
    /// What ends listeners and connections.
    pub(super) requests: Stopper,
    /// What is in flight, as far as layers put it in.
    pub(super) in_flight: Requests,
    /// Number of listeners that have not finished.
    pub(super) listening: watch::Sender<usize>,
    /// What the finished ones report, added up.
    pub(super) drained: Mutex<Drained>,
    /// The first wish to end, from inside.
    pub(super) asked: watch::Sender<Option<Cause>>,
    /// Whether the end takes longer than it can, as seen from outside of the runtime.
    pub(super) overdue: watch::Sender<bool>,
    pub(super) tasks: Tasks,
    pub(super) closers: Hooks,
    pub(super) flushers: Hooks,
}

struct State {
    phase: Phase,
    degraded: Option<String>,
}

impl State {
    /// Which of the two phases that serve it is.
    const fn ready_phase(&self) -> Phase {
        if self.degraded.is_none() { Phase::Ready } else { Phase::Degraded }
    }
}

impl Lifecycle {
    /// A life that is [starting](Phase::Starting), and that `registry` shows.
    pub fn new(config: LifecycleConfig, registry: &Registry) -> Self {
        let shared = Arc::new(Shared {
            config: Mutex::new(config),
            registry: registry.clone(),
            phase: AtomicU8::new(Phase::Starting as u8),
            state: watch::Sender::new(State { phase: Phase::Starting, degraded: None }),
            requests: Stopper::new(),
            in_flight: Requests::new(),
            listening: watch::Sender::new(0),
            drained: Mutex::default(),
            asked: watch::Sender::new(None),
            overdue: watch::Sender::new(false),
            tasks: Tasks::new(registry.clone()),
            closers: Hooks::default(),
            flushers: Hooks::default(),
        });
        registry.register(&shared);
        Self { shared }
    }

    /// The time limits.
    pub fn config(&self) -> LifecycleConfig {
        lock(&self.shared.config).clone()
    }

    /// Sets other time limits. An end that has begun keeps those that it began with, but for
    /// [`idle_grace`](LifecycleConfig::idle_grace), which connections read when the drain begins.
    ///
    /// # Errors
    /// Everything that is wrong, as [`LifecycleConfig::validate`] tells it. Nothing has changed
    /// then.
    pub fn reconfigure(&self, config: LifecycleConfig) -> Result<(), Vec<Problem>> {
        config.validate()?;
        *lock(&self.shared.config) = config;
        Ok(())
    }

    /// The phase now: one atomic load.
    #[inline]
    pub fn phase(&self) -> Phase {
        Phase::from_u8(self.shared.phase.load(Ordering::Acquire))
    }

    /// Says that the service can serve: `starting -> ready`, or `-> degraded` if something is not
    /// well already. Returns whether the phase changed; it does not once the end has begun.
    pub fn ready(&self) -> bool {
        self.transition(None, |state| {
            let next = state.ready_phase();
            (state.phase == Phase::Starting).then_some(next)
        })
        .is_some()
    }

    /// Says what is not well, or with `None` that all is: `ready <-> degraded`.
    ///
    /// While starting, the word is kept for [`ready`](Self::ready). Returns whether the phase
    /// changed.
    pub fn set_degraded(&self, why: Option<String>) -> bool {
        let text = why.clone();
        self.transition(text.as_deref(), |state| {
            state.degraded = why;
            let next = state.ready_phase();
            (state.phase != Phase::Starting).then_some(next)
        })
        .is_some()
    }

    /// What is not well, if the service is or would start degraded.
    pub fn degraded(&self) -> Option<String> {
        self.shared.state.borrow().degraded.clone()
    }

    /// Goes on to `next`. Returns the phase that this ended, if there was a change.
    pub(super) fn enter(&self, next: Phase, why: &str) -> Option<Phase> {
        self.transition(Some(why), |_| Some(next))
    }

    /// Goes on to the last phase, and says how it has ended. Logs make more of what is not clean.
    pub(super) fn stopped(&self, outcome: &Outcome) {
        let change = self.change(Some(&outcome.to_string()), |_| Some(Phase::Stopped));
        if let Some((_, event)) = change {
            let clean = outcome.exit_code() == 0;
            self.shared.registry.emit(if clean { event } else { event.with("clean", false) });
        }
    }

    fn transition(
        &self,
        why: Option<&str>,
        next: impl FnOnce(&mut State) -> Option<Phase>,
    ) -> Option<Phase> {
        let (from, event) = self.change(why, next)?;
        self.shared.registry.emit(event);
        Some(from)
    }

    /// The one place where the phase changes. The watch's lock orders the changes; observers are to
    /// hear of them after it.
    fn change(
        &self,
        why: Option<&str>,
        next: impl FnOnce(&mut State) -> Option<Phase>,
    ) -> Option<(Phase, Event)> {
        let mut change = None;
        self.shared.state.send_if_modified(|state| {
            let to = next(state).filter(|to| state.phase.allows(*to));
            let Some(to) = to else {
                return false;
            };
            change = Some((state.phase, to));
            state.phase = to;
            self.shared.phase.store(to as u8, Ordering::Release);
            true
        });
        let (from, to) = change?;
        let mut message = format!("{from} -> {to}");
        if let Some(why) = why {
            message = format!("{message}: {why}");
        }
        let event = Event::new("transition", "lifecycle", message)
            .with("from", from.as_str())
            .with("to", to.as_str());
        Some((from, event))
    }

    /// Waits until the service is not starting any more: it serves, or its end has begun.
    pub fn started(&self) -> impl Future<Output = ()> + Send + use<> {
        let shared = Arc::clone(&self.shared);
        async move {
            let mut state = shared.state.subscribe();
            let _ = state.wait_for(|state| state.phase != Phase::Starting).await;
        }
    }

    /// Waits for the next change of the phase, from when this is called.
    pub fn changed(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut state = self.shared.state.subscribe();
        let seen = state.borrow_and_update().phase;
        async move {
            if state.wait_for(|state| state.phase != seen).await.is_err() {
                std::future::pending::<()>().await; // nobody is left who could change it
            }
        }
    }

    /// Waits until the end begins. From then on take no new long work; what has begun may finish.
    pub fn draining(&self) -> impl Future<Output = ()> + Send + use<> {
        let shared = Arc::clone(&self.shared);
        async move {
            let mut state = shared.state.subscribe();
            // `shared` keeps the sender alive, so the only way out is the phase.
            let _ = state.wait_for(|state| state.phase.is_ending()).await;
        }
    }

    /// What listeners and long-lived responses end by: [`Step::Retire`](super::Step::Retire) in the lame-duck time,
    /// [`Step::Drain`](super::Step::Drain) when the listener closes and streams should end,
    /// [`Step::CutStreams`](super::Step::CutStreams) when those that have not are dropped, [`Step::Cut`](super::Step::Cut) at the
    /// deadline.
    pub fn stop(&self) -> Stop {
        self.shared.requests.stop()
    }

    /// What streams and whatever else waits for long are told to end by.
    pub fn shutdown_token(&self) -> Shutdown {
        Shutdown::new(self.stop())
    }

    /// The requests in flight. Layers fill it, such as `http::in_flight` of `octostack-telemetry`;
    /// the drain logs what it waits for by it.
    pub fn requests(&self) -> &Requests {
        &self.shared.in_flight
    }

    /// Begins the end as SIGTERM would.
    pub fn shutdown(&self, why: impl Into<String>) {
        self.ask(Cause::Requested(why.into()));
    }

    /// Begins the end because the service cannot go on; the process then exits with 1.
    pub fn fail(&self, why: impl Into<String>) {
        self.ask(Cause::Failed(why.into()));
    }

    fn ask(&self, cause: Cause) {
        self.shared.asked.send_if_modified(|asked| {
            let first = asked.is_none();
            if first {
                *asked = Some(cause);
            }
            first
        });
    }

    /// Enters a listener: the end waits for it, up to the deadline.
    ///
    /// [`Server::serve`](crate::server::Server::serve) does this; call it for a server that is not
    /// ours, and let the [`Listening`] run it.
    #[cfg_attr(not(feature = "server"), allow(rustdoc::broken_intra_doc_links))]
    pub fn listener(&self) -> Listening {
        Listening::new(self.clone())
    }

    /// Runs `task` in the background until the requests have drained. Its [`Stop`] then reaches
    /// [`Step::Drain`](super::Step::Drain), and it has [`task_timeout`](LifecycleConfig::task_timeout) to return
    /// before it is aborted. A panic ends it and is an event; for what should start again see
    /// [`task`](Self::task).
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn spawn<F, Fut>(&self, name: impl Into<String>, task: F)
    where
        F: FnOnce(Stop) -> Fut,
        Fut: Future<Output = ()> + Send + 'static,
    {
        self.shared.tasks.spawn(self, name.into(), task);
    }

    /// Closes a resource after requests and tasks have ended. The last one registered closes
    /// first, since it may use the earlier ones. Together they have
    /// [`close_timeout`](LifecycleConfig::close_timeout); one that is not closed by then, or panics,
    /// makes the [exit code](super::Outcome::exit_code) 3.
    pub fn on_close<F, Fut>(&self, name: impl Into<String>, close: F)
    where
        F: FnOnce() -> Fut + Send + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        self.shared.closers.push(name.into(), close);
    }

    /// Sends what telemetry still holds, after everything that could add to it. What is not sent
    /// within [`flush_timeout`](LifecycleConfig::flush_timeout) is named in the outcome, and changes
    /// no exit code.
    pub fn on_flush<F, Fut>(&self, name: impl Into<String>, flush: F)
    where
        F: FnOnce() -> Fut + Send + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        self.shared.flushers.push(name.into(), flush);
    }
}

impl fmt::Debug for Lifecycle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lifecycle")
            .field("phase", &self.phase())
            .field("listeners", &*self.shared.listening.borrow())
            .finish_non_exhaustive()
    }
}

static PHASE: Metric = Metric::gauge(
    "octostack_lifecycle_phase",
    "1 for the phase that the service is in, 0 for the others.",
);

impl Inspect for Shared {
    fn name(&self) -> &'static str {
        "lifecycle"
    }

    fn kind(&self) -> &'static str {
        "lifecycle"
    }

    fn status(&self) -> Value {
        let state = self.state.borrow();
        Value::map([
            ("phase", state.phase.as_str().into()),
            ("degraded", state.degraded.clone().into()),
            ("listeners", (*self.listening.borrow()).into()),
            ("requests_in_flight", self.in_flight.count().into()),
            ("tasks", self.tasks.names().into()),
        ])
    }

    fn collect(&self, sink: &mut dyn Sink) {
        let now = Phase::from_u8(self.phase.load(Ordering::Acquire));
        for phase in Phase::ALL {
            let value = if phase == now { 1.0 } else { 0.0 };
            sink.sample(&PHASE, &[("phase", phase.as_str())], value);
        }
    }

    fn abnormal(&self) -> Option<String> {
        let state = self.state.borrow();
        match (&state.degraded, state.phase) {
            (Some(why), _) => Some(format!("degraded: {why}")),
            (None, phase) if phase.is_ending() => Some(phase.as_str().to_owned()),
            (None, _) => None,
        }
    }
}
