//! Signals that come while the config is loaded, which may wait for whoever has a part of it.
use octostack_core::lifecycle::{Signal, Signals};
use std::io;
use std::panic::resume_unwind;
use std::thread::Builder;
use tokio::sync::oneshot;

/// As much as a main thread has.
const STACK: usize = 8 * 1024 * 1024;

/// What came first.
pub(crate) enum Start<T> {
    /// It is loaded; later signals are told by these.
    Loaded(T, Signals),
    /// The process is to end.
    Ended(Signal),
}

/// Runs `load` unless a signal wants the process to end: the first process of a container does not
/// end by itself.
///
/// # Errors
/// If the system has no thread to give, or no handler.
pub(crate) fn unless_ended<T: Send + 'static>(
    load: impl FnOnce() -> T + Send + 'static,
) -> io::Result<Start<T>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut signals = Signals::install()?;
        let (done, loaded) = oneshot::channel();
        let loading = Builder::new().name("loading".to_owned()).stack_size(STACK).spawn(|| {
            let _ = done.send(load());
        })?;
        tokio::select! {
            biased;
            loaded = loaded => match loaded {
                Ok(loaded) => Ok(Start::Loaded(loaded, signals)),
                // It has panicked.
                Err(_) => match loading.join() {
                    Err(panic) => resume_unwind(panic),
                    Ok(()) => Err(io::Error::other("nothing was loaded")),
                },
            },
            signal = signals.next() => Ok(Start::Ended(signal)),
        }
    })
}
