use crate::sync::lock;
use std::pin::Pin;
use std::sync::Mutex;
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

/// What a call gets even if those before it took all the time: most need no more.
const LEAST: Duration = Duration::from_millis(20);

type Call = Box<dyn FnOnce() -> Pin<Box<dyn Future<Output = ()> + Send>> + Send>;

/// Calls for the end, last registered first.
#[derive(Default)]
pub(super) struct Hooks(Mutex<Vec<(String, Call)>>);

impl Hooks {
    pub(super) fn push<F, Fut>(&self, name: String, call: F)
    where
        F: FnOnce() -> Fut + Send + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        lock(&self.0).push((name, Box::new(move || Box::pin(call()))));
    }

    /// Makes all calls, one after the other. Returns the names of those that panicked or did not
    /// finish in time: before `deadline`, which is for all together.
    pub(super) async fn run(&self, deadline: Instant) -> Vec<String> {
        let mut failed = Vec::new();
        loop {
            let Some((name, call)) = lock(&self.0).pop() else {
                return failed;
            };
            let deadline = deadline.max(Instant::now() + LEAST);
            // A task of its own, so that a panic of one does not keep the next from closing.
            let mut running = tokio::spawn(async move { call().await });
            match timeout_at(deadline, &mut running).await {
                Ok(Ok(())) => {}
                Ok(Err(_panicked)) => failed.push(name),
                Err(_late) => {
                    running.abort();
                    failed.push(name);
                }
            }
        }
    }
}
