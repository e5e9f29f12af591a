//! A thread with a runtime of its own: what works there is not held up by what blocks elsewhere.

use std::future::Future;
use std::io;
use std::sync::mpsc;
use std::time::Duration;
use tokio::runtime::{Builder, Handle};
use tokio::sync::{oneshot, watch};

/// The thread; it ends when this is dropped or told to.
pub(super) struct Thread {
    handle: Handle,
    stop: watch::Sender<bool>,
}

impl Thread {
    pub(super) fn start() -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let (stop, mut stopped) = watch::channel(false);
        std::thread::Builder::new().name("secrets".to_owned()).spawn(move || {
            runtime.block_on(async {
                let _ = stopped.wait_for(|stop| *stop).await;
            });
            runtime.shutdown_background(); // a name that is being looked up holds nobody up
        })?;
        Ok(Self { handle, stop })
    }

    /// Runs `make` as if it were there, for what asks where it is.
    pub(super) fn within<T>(&self, make: impl FnOnce() -> T) -> T {
        let _there = self.handle.enter();
        make()
    }

    pub(super) fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        self.handle.spawn(work);
    }

    /// Has it done there, and waits for it.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Option<T> {
        let (done, result) = oneshot::channel();
        self.spawn(async move {
            let _ = done.send(work.await);
        });
        result.await.ok()
    }

    /// The same for a thread that may wait. `None` if this one has ended.
    pub(super) fn wait<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Option<T> {
        let (done, result) = mpsc::sync_channel(1);
        self.spawn(async move {
            let _ = done.send(work.await);
        });
        result.recv().ok()
    }

    /// The same for so long at most.
    pub(super) fn wait_for<T: Send + 'static>(
        &self,
        limit: Duration,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Option<T> {
        let (done, result) = mpsc::sync_channel(1);
        self.spawn(async move {
            let _ = done.send(work.await);
        });
        result.recv_timeout(limit).ok()
    }

    pub(super) fn stop(&self) {
        self.stop.send_replace(true);
    }
}

impl Drop for Thread {
    fn drop(&mut self) {
        self.stop();
    }
}
