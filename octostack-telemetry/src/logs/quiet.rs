//! Threads whose own doings are neither logged nor traced.
use std::cell::Cell;

thread_local! {
    static QUIET: Cell<bool> = const { Cell::new(false) };
}

/// Whether what happens on this thread is neither logged nor traced.
#[inline]
pub(crate) fn is_quiet() -> bool {
    QUIET.try_with(Cell::get).unwrap_or(false)
}

/// Logs and traces nothing on this thread from now on. For the thread that sends telemetry: under a filter of
/// `debug` each batch would tell a page about its own way through HTTP/2.
#[cfg(feature = "otlp")]
pub(crate) fn quiet_thread() {
    QUIET.set(true);
}

/// Logs what `work` does all the same.
#[cfg(feature = "otlp")]
pub(crate) fn aloud(work: impl FnOnce()) {
    let quiet = QUIET.replace(false);
    work();
    QUIET.set(quiet);
}
