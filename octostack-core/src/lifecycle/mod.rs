//! From start to end: phases, signals, and an end that loses nothing.
//!
//! A process under an orchestrator is ended all the time: at each deploy, each scale-down. What it
//! does between SIGTERM and exit decides whether clients notice. Two things go wrong by default.
//! Traffic keeps coming after SIGTERM, since load balancers learn of it later than the process;
//! and an idle keep-alive connection is closed just when the next request is on its way.
//!
//! So the end is a sequence, and [`Lifecycle::run`] is it:
//!
//! 1. The phase becomes [`Draining`](Phase::Draining): readiness probes fail, liveness does not.
//! 2. Lame duck, but not after SIGINT or a start that failed: listeners still accept, and HTTP/1
//!    answers carry `Connection: close` ([`Step::Retire`]).
//! 3. Drain: listeners empty their backlog and close, connections finish what has begun, streams
//!    are told to end ([`Step::Drain`], [`Shutdown`]). Every 5 s an event says what is waited for.
//!    Streams that do not end are cut after their grace ([`Step::CutStreams`]), the rest at the
//!    deadline ([`Step::Cut`]); what is cut is counted.
//! 4. Background tasks are told to end, and joined.
//! 5. Resources close, the last registered first.
//! 6. Telemetry is flushed.
//!
//! Background tasks are [supervised](Lifecycle::task): they start in order, again when they fail, and
//! end in the reverse order.
//!
//! Each part has its limit in [`LifecycleConfig`]. A second signal ends everything at once. What
//! must outlive the end, such as the admin listener, is ended by its owner after `run` returns:
//! give it a [`Stop`] of a [`Stopper`] of its own.
//!
//! ```
//! # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
//! use octostack_core::Registry;
//! use octostack_core::lifecycle::{Lifecycle, LifecycleConfig, Phase, Signal, Signals, Step};
//!
//! // `Signals::install()?` in a real service, before anything else.
//! let (kill, signals) = Signals::manual();
//! let lifecycle = Lifecycle::new(LifecycleConfig::default(), &Registry::new());
//!
//! lifecycle.spawn("ticker", |stop| async move {
//!     stop.reached(Step::Drain).await; // a loop would select on it
//! });
//! lifecycle.on_close("pool", || async { /* pool.close().await */ });
//! lifecycle.ready();
//! assert_eq!(lifecycle.phase(), Phase::Ready);
//!
//! kill.send(Signal::Interrupt).unwrap();
//! let outcome = lifecycle.run(signals).await;
//! assert_eq!(outcome.exit_code(), 0);
//! assert_eq!(lifecycle.phase(), Phase::Stopped);
//! # });
//! ```
mod config;
mod drain;
mod file_lock;
mod handle;
mod hooks;
mod listening;
#[cfg_attr(not(unix), path = "no_notify.rs")]
mod notify;
mod outcome;
mod phase;
mod run;
mod shutdown;
mod signal;
mod stop;
mod tasks;

pub use config::LifecycleConfig;
pub use file_lock::{FileLock, FileLockError};
pub use handle::Lifecycle;
pub use listening::Listening;
pub use notify::{Notify, NotifyError};
pub use outcome::{Cause, Drained, Outcome};
pub use phase::Phase;
pub use shutdown::{Shutdown, UntilTold};
pub use signal::{Signal, Signals};
pub use stop::{Step, Stop, Stopper};
pub use tasks::{EveryBuilder, Interval, Restart, Task, TaskBuilder, TaskError, WhenFailed};
