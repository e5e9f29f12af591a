use super::{Step, Stop};
use futures_core::Stream;
use pin_project_lite::pin_project;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

/// Tells what lasts long that it is to end: event streams, long polls, a WebSocket,
/// streams of gRPC.
///
/// A request that takes a second may finish when the end begins; a stream would not, and holds up
/// the drain until it is cut. So it ends itself when it is [told](Self::told), in the way that its
/// protocol provides, and its client connects again, to an instance that stays. It is told when the
/// listener closes; after [`stream_grace`](super::LifecycleConfig::stream_grace) it is cut.
///
/// Made by [`Lifecycle::shutdown_token`](super::Lifecycle::shutdown_token). Clones are cheap.
///
/// ```
/// # use std::convert::Infallible;
/// use octostack_core::lifecycle::{Shutdown, Step, Stopper};
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let stopper = Stopper::new();
/// let shutdown = Shutdown::new(stopper.stop());
///
/// // A long poll: what comes first, news or the end.
/// let news = std::future::pending::<&str>();
/// # let stopping = tokio::spawn(async move { stopper.advance(Step::Drain) });
/// match shutdown.until(news).await {
///     Some(news) => println!("200: {news}"),
///     None => println!("204: ask again"),
/// }
/// assert!(shutdown.is_told());
/// # });
/// ```
#[derive(Clone)]
pub struct Shutdown {
    stop: Stop,
}

impl Shutdown {
    /// A token that goes by these steps.
    pub const fn new(stop: Stop) -> Self {
        Self { stop }
    }

    /// Whether it is to end: one atomic load.
    #[inline]
    pub fn is_told(&self) -> bool {
        self.stop.step() >= Step::Drain
    }

    /// Waits until it is to end. The future holds no borrow.
    pub fn told(&self) -> impl Future<Output = ()> + Send + use<> {
        self.stop.reached(Step::Drain)
    }

    /// Waits until its time to end is over: a server cuts it now. The future holds no borrow.
    pub fn over(&self) -> impl Future<Output = ()> + Send + use<> {
        self.stop.reached(Step::CutStreams)
    }

    /// Runs `work` until it is done, or drops it when it is to end: `None`. What is done in the
    /// same moment counts as done.
    ///
    /// Nothing of `work` happens any more after that, so it should be something that can be
    /// dropped at each `await`, such as waiting for a message.
    pub async fn until<F: Future>(&self, work: F) -> Option<F::Output> {
        tokio::select! {
            biased;
            output = work => Some(output),
            () = self.told() => None,
        }
    }

    /// `stream`, which ends when it is told: between two items, never within one.
    ///
    /// ```
    /// # use octostack_core::lifecycle::Shutdown;
    /// # use futures_core::Stream;
    /// fn prices(all: impl Stream<Item = u32>, shutdown: &Shutdown) -> impl Stream<Item = u32> {
    ///     shutdown.stream(all)
    /// }
    /// ```
    pub fn stream<S: Stream>(&self, stream: S) -> UntilTold<S> {
        UntilTold {
            stream: Some(stream),
            shutdown: self.clone(),
            told: Box::pin(self.told()),
            last: None,
        }
    }
}

impl fmt::Debug for Shutdown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Shutdown").field(&self.stop.step()).finish()
    }
}

pin_project! {
    /// A stream that ends when it is told; made by [`Shutdown::stream`].
    ///
    /// When it ends by that, the stream within is dropped.
    pub struct UntilTold<S: Stream> {
        // Until it has ended.
        #[pin]
        stream: Option<S>,
        shutdown: Shutdown,
        told: Pin<Box<dyn Future<Output = ()> + Send>>,
        last: Option<S::Item>,
    }
}

impl<S: Stream> UntilTold<S> {
    /// Sends `last` before it ends, if it ends because it was told: the status of a gRPC stream,
    /// or an event that says when to connect again.
    ///
    /// ```
    /// # use octostack_core::lifecycle::Shutdown;
    /// # use futures_core::Stream;
    /// # struct Status;
    /// # impl Status { fn unavailable(_: &str) -> Self { Self } }
    /// fn quotes<Q>(
    ///     all: impl Stream<Item = Result<Q, Status>>,
    ///     shutdown: &Shutdown,
    /// ) -> impl Stream<Item = Result<Q, Status>> {
    ///     // Clients of gRPC try `UNAVAILABLE` again, elsewhere.
    ///     shutdown.stream(all).ending_with(Err(Status::unavailable("this instance ends")))
    /// }
    /// ```
    pub fn ending_with(mut self, last: S::Item) -> Self {
        self.last = Some(last);
        self
    }
}

impl<S: Stream> Stream for UntilTold<S> {
    type Item = S::Item;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<S::Item>> {
        let mut this = self.project();
        let Some(stream) = this.stream.as_mut().as_pin_mut() else {
            return Poll::Ready(None);
        };
        // One that always has an item would never be told otherwise.
        if !this.shutdown.is_told() {
            match stream.poll_next(cx) {
                Poll::Ready(Some(item)) => return Poll::Ready(Some(item)),
                Poll::Ready(None) => {
                    this.stream.set(None);
                    return Poll::Ready(None);
                }
                Poll::Pending => {}
            }
            if this.told.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
        }
        this.stream.set(None);
        Poll::Ready(this.last.take())
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        // It may end at any time, and say one thing more.
        let upper = self.stream.as_ref().and_then(|stream| stream.size_hint().1);
        (0, upper.and_then(|upper| upper.checked_add(usize::from(self.last.is_some()))))
    }
}

impl<S: Stream> fmt::Debug for UntilTold<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UntilTold")
            .field("shutdown", &self.shutdown)
            .field("has_ended", &self.stream.is_none())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::{Shutdown, UntilTold};
    use crate::lifecycle::{Step, Stopper};
    use futures_core::Stream;
    use std::collections::VecDeque;
    use std::future::poll_fn;
    use std::pin::{Pin, pin};
    use std::sync::Arc;
    use std::task::{Context, Poll, Waker};

    /// Gives what it has, then ends or waits for ever.
    struct Items {
        left: VecDeque<u32>,
        ends: bool,
        _alive: Arc<()>,
    }

    impl Stream for Items {
        type Item = u32;
        fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<u32>> {
            match self.left.pop_front() {
                None if !self.ends => Poll::Pending,
                item => Poll::Ready(item),
            }
        }
    }

    fn items(ends: bool) -> (Items, Arc<()>) {
        let alive = Arc::new(());
        (Items { left: [1, 2, 3].into(), ends, _alive: Arc::clone(&alive) }, alive)
    }

    async fn next(stream: &mut Pin<&mut UntilTold<Items>>) -> Option<u32> {
        poll_fn(|cx| stream.as_mut().poll_next(cx)).await
    }

    #[tokio::test]
    async fn a_stream_that_is_told_says_its_last_word_and_drops_what_it_had() {
        let stopper = Stopper::new();
        let shutdown = Shutdown::new(stopper.stop());
        let (inner, alive) = items(false);
        let mut stream = pin!(shutdown.stream(inner).ending_with(9));
        assert_eq!(stream.size_hint(), (0, None));
        assert_eq!(next(&mut stream).await, Some(1));
        stopper.advance(Step::Retire);
        assert_eq!(next(&mut stream).await, Some(2), "it goes on in the lame-duck time");
        stopper.advance(Step::Drain);
        assert_eq!(next(&mut stream).await, Some(9), "also one that has more to say at once");
        assert_eq!(Arc::strong_count(&alive), 1);
        assert_eq!(next(&mut stream).await, None);
        assert_eq!(next(&mut stream).await, None);
    }

    #[tokio::test]
    async fn a_stream_that_waits_is_woken() {
        let stopper = Stopper::new();
        let (mut inner, _alive) = items(false);
        inner.left.clear();
        let mut stream = Box::pin(Shutdown::new(stopper.stop()).stream(inner));
        let waiting =
            tokio::spawn(async move { poll_fn(|cx| stream.as_mut().poll_next(cx)).await });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        stopper.advance(Step::Drain);
        assert_eq!(waiting.await.unwrap(), None);
    }

    #[tokio::test]
    async fn a_stream_that_ends_by_itself_has_no_last_word() {
        let stopper = Stopper::new();
        let (inner, _alive) = items(true);
        let mut stream = pin!(Shutdown::new(stopper.stop()).stream(inner).ending_with(9));
        let mut seen = Vec::new();
        while let Some(item) = next(&mut stream).await {
            seen.push(item);
        }
        assert_eq!(seen, [1, 2, 3]);
        stopper.advance(Step::Drain);
        assert_eq!(next(&mut stream).await, None);
    }

    #[test]
    fn work_that_is_done_counts_also_if_it_is_told() {
        let stopper = Stopper::new();
        let shutdown = Shutdown::new(stopper.stop());
        stopper.advance(Step::CutStreams);
        let mut cx = Context::from_waker(Waker::noop());
        let done = pin!(shutdown.until(async { 1 })).poll(&mut cx);
        assert_eq!(done, Poll::Ready(Some(1)));
        let dropped = pin!(shutdown.until(std::future::pending::<u32>())).poll(&mut cx);
        assert_eq!(dropped, Poll::Ready(None));
        assert!(pin!(shutdown.over()).poll(&mut cx).is_ready());
    }
}
