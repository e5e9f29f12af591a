use super::Shared;
use super::machine::Draw;
use crate::handle::Handle;
use pin_project_lite::pin_project;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::time::{Instant, Sleep, sleep_until};

/// How often a call that is held back looks whether chaos is over. Cheap at the number of calls
/// that a service holds, and soon enough for whoever pressed the switch.
const LOOK: Duration = Duration::from_millis(100);

pin_project! {
    /// Ends when the latency is over, or when what injected it is.
    pub(super) struct Hold<H> {
        #[pin]
        sleep: Sleep,
        until: Instant,
        generation: u64,
        shared: H,
    }
}

impl<H: Handle<Shared>> Hold<H> {
    /// A wait, unless there is nothing to wait for.
    pub(super) fn new(shared: &H, draw: Draw) -> Option<Self> {
        if draw.latency.is_zero() {
            return None;
        }
        let now = Instant::now();
        let until = now + draw.latency;
        let sleep = sleep_until(until.min(now + LOOK));
        Some(Self { sleep, until, generation: draw.generation, shared: shared.clone() })
    }
}

impl<H: Handle<Shared>> Future for Hold<H> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut this = self.project();
        loop {
            ready!(this.sleep.as_mut().poll(cx));
            let now = this.sleep.deadline(); // or a little later; then it goes round once more
            if now >= *this.until || !this.shared.lasts(*this.generation) {
                return Poll::Ready(());
            }
            this.sleep.as_mut().reset((*this.until).min(now + LOOK));
        }
    }
}
