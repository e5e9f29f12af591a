//! The runtime that some peers want around them.
use std::sync::OnceLock;
use tokio::runtime::{Builder, EnterGuard, Runtime};

/// One thread beside those that are measured, asleep unless a peer has work for it.
pub(crate) fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_time().build();
        runtime.unwrap_or_else(|error| panic!("no thread for the runtime: {error}"))
    })
}

/// Lets this thread make timers: those of tower and tower-resilience are made with each call, and
/// need the runtime for it, though they are never waited for.
pub(crate) fn enter() -> EnterGuard<'static> {
    runtime().enter()
}
