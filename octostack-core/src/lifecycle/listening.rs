use super::{Drained, Lifecycle, Step, Stop};
use crate::sync::lock;

/// A listener that the end waits for, from [`Lifecycle::listener`]; dropping it says that it has
/// finished.
///
/// This is how a server that knows nothing of a [`Lifecycle`] takes part in it, such as
/// `axum::serve` or that of tonic: it is told of the drain by [`draining`](Self::draining), and
/// [`run`](Self::run) gives it the time that the drain has.
///
/// ```
/// use octostack_core::Registry;
/// use octostack_core::lifecycle::{Lifecycle, LifecycleConfig, Signal, Signals};
/// # async fn serve_until(end: impl Future<Output = ()>) -> std::io::Result<()> {
/// #     end.await;
/// #     Ok(())
/// # }
///
/// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
/// # let (kill, signals) = Signals::manual();
/// let lifecycle = Lifecycle::new(LifecycleConfig::default(), &Registry::new());
/// let listening = lifecycle.listener();
/// // axum::serve(socket, router).with_graceful_shutdown(listening.draining())
/// let server = serve_until(listening.draining());
/// let serving = tokio::spawn(listening.run(server));
/// lifecycle.ready();
///
/// # kill.send(Signal::Interrupt).unwrap();
/// let outcome = lifecycle.run(signals).await;
/// assert_eq!(outcome.exit_code(), 0);
/// assert!(matches!(serving.await, Ok(Some(Ok(())))));
/// # });
/// ```
#[derive(Debug)]
pub struct Listening {
    lifecycle: Lifecycle,
}

impl Listening {
    pub(super) fn new(lifecycle: Lifecycle) -> Self {
        lifecycle.shared.listening.send_modify(|n| *n += 1);
        Self { lifecycle }
    }

    /// Finishes, and reports what had to be cut.
    pub fn finish(self, drained: Drained) {
        let mut sum = lock(&self.lifecycle.shared.drained);
        sum.cut_connections += drained.cut_connections;
        sum.cut_requests += drained.cut_requests;
    }

    /// What ends this listener.
    pub fn stop(&self) -> Stop {
        self.lifecycle.stop()
    }

    /// Waits until the listener is to take nothing new and to finish what it has: what other
    /// servers call a signal for their shutdown. It holds no borrow.
    pub fn draining(&self) -> impl Future<Output = ()> + Send + use<> {
        self.stop().reached(Step::Drain)
    }

    /// Runs a server to its end, or drops it when the time of the drain is up. `None` is the
    /// latter; it counts as one cut connection, since such a server does not tell how many it had,
    /// and the process then exits with 3.
    ///
    /// A server that has put its connections into tasks of their own, as `axum::serve` does, leaves
    /// those behind; they end with the runtime. One that ends before it was told to, with an error
    /// or without, does not end the service: see [`Lifecycle::fail`].
    pub fn run<S: IntoFuture>(self, server: S) -> impl Future<Output = Option<S::Output>> + use<S> {
        let (server, cut) = (server.into_future(), self.stop().reached(Step::Cut));
        async move {
            tokio::select! {
                biased;
                output = server => Some(output),
                () = cut => {
                    self.finish(Drained { cut_connections: 1, cut_requests: 0 });
                    None
                }
            }
        }
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.lifecycle.shared.listening.send_modify(|n| *n -= 1);
    }
}
