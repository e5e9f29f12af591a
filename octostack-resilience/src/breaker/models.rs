//! How the models here are explored, and how much that was.
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Runs `model` under every interleaving of its threads with at most three preemptions, and prints
/// how many those were.
pub(super) fn explore(name: &str, model: impl Fn() + Send + Sync + 'static) {
    let executions = Arc::new(AtomicU64::new(0));
    let count = executions.clone();
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(move || {
        count.fetch_add(1, Ordering::Relaxed);
        model();
    });
    println!("breaker, {name}: {} executions", executions.load(Ordering::Relaxed));
}
