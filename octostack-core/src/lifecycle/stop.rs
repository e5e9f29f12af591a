use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use tokio::sync::watch;

/// How far the end of something has come. Steps only go up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Step {
    /// Not at all.
    Run,
    /// Everything still works, but whoever asks is told to go elsewhere next time.
    Retire,
    /// Take nothing new, finish what has begun.
    Drain,
    /// Streams have had their time: drop those that have not ended. Requests go on.
    CutStreams,
    /// Time is up: drop what has not finished.
    Cut,
}

impl Step {
    const fn from_u8(number: u8) -> Self {
        match number {
            0 => Self::Run,
            1 => Self::Retire,
            2 => Self::Drain,
            3 => Self::CutStreams,
            _ => Self::Cut,
        }
    }
}

/// Ends whatever holds a [`Stop`] of it, step by step.
///
/// Clones are cheap and move the same steps. Dropping it ends nothing.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// use octostack_core::lifecycle::{Step, Stopper};
///
/// let stopper = Stopper::new();
/// let stop = stopper.stop();
/// let worker = tokio::spawn(async move {
///     stop.reached(Step::Drain).await;
///     "finished"
/// });
///
/// stopper.advance(Step::Drain);
/// assert_eq!(worker.await.unwrap(), "finished");
/// # });
/// ```
#[derive(Clone)]
pub struct Stopper {
    shared: Arc<Shared>,
}

struct Shared {
    /// The same number as in `wake`, to be read without its lock.
    step: AtomicU8,
    wake: watch::Sender<Step>,
}

impl Stopper {
    /// A stopper at [`Step::Run`].
    pub fn new() -> Self {
        Self {
            shared: Arc::new(Shared {
                step: AtomicU8::new(Step::Run as u8),
                wake: watch::Sender::new(Step::Run),
            }),
        }
    }

    /// What is to be given to those that shall end.
    pub fn stop(&self) -> Stop {
        Stop { shared: Arc::clone(&self.shared) }
    }

    /// Goes on to `step`; returns whether it was ahead. Going back does nothing.
    pub fn advance(&self, step: Step) -> bool {
        self.shared.wake.send_if_modified(|current| {
            let ahead = step > *current;
            if ahead {
                *current = step;
                self.shared.step.store(step as u8, Ordering::Release);
            }
            ahead
        })
    }
}

impl Default for Stopper {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Stopper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Stopper").field(&self.stop().step()).finish()
    }
}

/// Tells its holder how far its end has come; made by [`Stopper::stop`]. Clones are cheap.
#[derive(Clone)]
pub struct Stop {
    shared: Arc<Shared>,
}

impl Stop {
    /// The step now: one atomic load.
    #[inline]
    pub fn step(&self) -> Step {
        Step::from_u8(self.shared.step.load(Ordering::Acquire))
    }

    /// Waits until `step` or a later one is reached. The future holds no borrow.
    pub fn reached(&self, step: Step) -> impl Future<Output = ()> + Send + use<> {
        let shared = Arc::clone(&self.shared);
        async move {
            let mut wake = shared.wake.subscribe();
            // `shared` keeps the sender alive, so the only way out is the step.
            while *wake.borrow_and_update() < step && wake.changed().await.is_ok() {}
        }
    }
}

impl fmt::Debug for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Stop").field(&self.step()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::{Step, Stopper};

    #[tokio::test(start_paused = true)]
    async fn goes_up_only_and_wakes() {
        let stopper = Stopper::new();
        let stop = stopper.stop();
        let waits = tokio::spawn(stop.reached(Step::Drain));
        tokio::task::yield_now().await;

        assert!(stopper.advance(Step::Retire));
        tokio::task::yield_now().await;
        assert!(!waits.is_finished(), "an earlier step is not the one");

        assert!(stopper.advance(Step::Cut), "skipping a step reaches it too");
        waits.await.unwrap();
        assert!(!stopper.advance(Step::Drain));
        assert_eq!(stop.step(), Step::Cut);
        stop.reached(Step::Run).await;
    }
}
