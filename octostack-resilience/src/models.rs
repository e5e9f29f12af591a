//! How models are explored, and how much that was.
use std::sync::{Arc, Mutex, PoisonError};

/// Runs `model` under every interleaving of its threads with at most three preemptions, or as many
/// as `LOOM_MAX_PREEMPTIONS` says, and prints how many those were.
pub(crate) fn explore(model: impl Fn() + Send + Sync + 'static) {
    let executions = Arc::new(Mutex::new(0_u64));
    let count = executions.clone();
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound.get_or_insert(3);
    builder.check(move || {
        *count.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        model();
    });
    let executions = executions.lock().unwrap_or_else(PoisonError::into_inner);
    // Tests run in threads that are called like them.
    let thread = std::thread::current();
    println!("{}: {executions} executions", thread.name().unwrap_or("a model"));
}
