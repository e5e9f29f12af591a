//! Threads whose own doings are not logged.
use std::cell::Cell;

thread_local! {
    static QUIET: Cell<bool> = const { Cell::new(false) };
}

/// Whether what happens on this thread is not logged.
#[inline]
pub(super) fn is_quiet() -> bool {
    QUIET.try_with(Cell::get).unwrap_or(false)
}

/// Logs nothing on this thread from now on. For the thread that sends telemetry: under a filter of
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
