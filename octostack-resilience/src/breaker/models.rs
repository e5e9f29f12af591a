//! How the models here are explored, and how much that was.
use std::sync::{Arc, Mutex, PoisonError};

/// Runs `model` under every interleaving of its threads with at most three preemptions, and prints
/// how many those were.
pub(super) fn explore(name: &str, model: impl Fn() + Send + Sync + 'static) {
    let executions = Arc::new(Mutex::new(0_u64));
    let count = executions.clone();
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(move || {
        *count.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        model();
    });
    let executions = executions.lock().unwrap_or_else(PoisonError::into_inner);
    println!("breaker, {name}: {executions} executions");
}
