//! The wait for a place: first come first served, up to a limit and no longer than the caller
//! waits itself, given up when dropped.
use super::permit::Permit;
use super::permits::Answer;
use super::{Bulkhead, Shared};
use crate::deadline::Scope;
use crate::error::PolicyError;
use crate::handle::Handle;
use octostack_core::{Clock, SystemClock};
use pin_project_lite::pin_project;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Instant;
use timer::{Timer, end_by, timer};

/// What a bulkhead says to a call at once.
pub(super) enum Asked<H: Handle<Shared>> {
    Permitted(Permit<H>),
    Queued(Wait<H>),
    Rejected(PolicyError),
}

impl<H: Handle<Shared>> Asked<H> {
    #[inline]
    pub(super) fn ask(policy: &Bulkhead<H>) -> Self {
        let handle = &policy.shared;
        match handle.ask(true) {
            Answer::Placed => Self::Permitted(Permit::new(handle.clone(), true)),
            Answer::Passed => Self::Permitted(Permit::new(handle.clone(), false)),
            Answer::Queued(number) => Self::queued(handle.clone(), number),
            Answer::Refused => Self::Rejected(handle.full()),
        }
    }

    /// Only who has to wait asks for how long its caller does: a free place is taken without a look
    /// at the clock, and a call that is too late for it was refused by the timeout around it.
    #[cold]
    fn queued(handle: H, number: u64) -> Self {
        let now = SystemClock.now();
        let caller = Scope::current().deadline(&now);
        let end = now + handle.max_wait();
        let mut place = Place { waiting: Some((handle, number)) };
        match caller {
            Some(deadline) if deadline <= now => Self::Rejected(place.too_late()),
            Some(deadline) => Self::Queued(Wait::new(place, caller, end.min(deadline))),
            None => Self::Queued(Wait::new(place, caller, end)),
        }
    }
}

pin_project! {
    /// The wait of one call.
    pub(super) struct Wait<H: Handle<Shared>> {
        place: Place<H>,
        // Until when its caller waits, if that is known.
        caller: Option<Instant>,
        // Whether the one who polls was asked for that too.
        asked: bool,
        #[pin]
        timer: Timer,
    }
}

impl<H: Handle<Shared>> Wait<H> {
    fn new(place: Place<H>, caller: Option<Instant>, end: Instant) -> Self {
        Self { place, caller, asked: false, timer: timer(end) }
    }
}

impl<H: Handle<Shared>> Future for Wait<H> {
    type Output = Result<Permit<H>, PolicyError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        // Who polls may know better than who made the call: `deadline::by(end, bulkhead.call(…))`.
        if !std::mem::replace(this.asked, true)
            && let Some(deadline) = Scope::current().deadline(&SystemClock)
        {
            *this.caller = Some(this.caller.map_or(deadline, |known| known.min(deadline)));
            end_by(this.timer.as_mut(), deadline);
        }
        let has_come = this.place.poll(cx).is_ready();
        if !has_come {
            ready!(this.timer.poll(cx));
        }
        // A place that has come wins over a wait that took too long, but not over a caller who has
        // given up: the next in the queue has more use for it.
        Poll::Ready(if this.caller.is_some_and(|deadline| deadline <= SystemClock.now()) {
            Err(this.place.too_late())
        } else if has_come {
            Ok(this.place.enter())
        } else {
            this.place.time_out()
        })
    }
}

/// A place in the queue, given up when it is dropped.
struct Place<H: Handle<Shared>> {
    waiting: Option<(H, u64)>,
}

impl<H: Handle<Shared>> Place<H> {
    /// Whether it has come. The queue is left later: a foreign waker may panic while it is stored.
    fn poll(&self, cx: &Context<'_>) -> Poll<()> {
        match &self.waiting {
            Some((handle, number)) => handle.permits.poll(*number, cx),
            None => Poll::Ready(()),
        }
    }

    /// Takes the place that has come.
    fn enter(&mut self) -> Permit<H> {
        Permit::new(self.take().0, true)
    }

    fn time_out(&mut self) -> Result<Permit<H>, PolicyError> {
        let (handle, number) = self.take();
        if handle.permits.give_up(number) {
            Ok(Permit::new(handle, true))
        } else {
            Err(handle.full())
        }
    }

    /// Nobody waits for the call any more: a place that has come goes on to the next.
    fn too_late(&mut self) -> PolicyError {
        let (handle, number) = self.take();
        if handle.permits.give_up(number) {
            handle.permits.leave();
        }
        handle.too_late()
    }

    #[allow(clippy::expect_used, reason = "the contract of `Future` forbids it")]
    fn take(&mut self) -> (H, u64) {
        self.waiting.take().expect("polled after it was ready")
    }
}

impl<H: Handle<Shared>> Drop for Place<H> {
    fn drop(&mut self) {
        if let Some((handle, number)) = self.waiting.take()
            && handle.permits.give_up(number)
        {
            handle.permits.leave();
        }
    }
}

#[cfg(feature = "tokio")]
mod timer {
    use pin_project_lite::pin_project;
    use std::pin::Pin;
    use std::task::{Context, Poll};
    use std::time::Instant;
    use tokio::time::Sleep;

    pin_project! {
        /// Ends a wait. Registers with the runtime when first polled.
        pub(super) struct Timer {
            deadline: Instant,
            #[pin]
            sleep: Option<Sleep>,
        }
    }

    pub(super) fn timer(deadline: Instant) -> Timer {
        Timer { deadline, sleep: None }
    }

    /// Ends it earlier, before it is polled for the first time.
    pub(super) fn end_by(timer: Pin<&mut Timer>, deadline: Instant) {
        let ends = timer.project().deadline;
        *ends = deadline.min(*ends);
    }

    impl Future for Timer {
        type Output = ();

        fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
            let mut this = self.project();
            if this.sleep.is_none() {
                this.sleep.set(Some(tokio::time::sleep_until((*this.deadline).into())));
            }
            this.sleep.as_pin_mut().map_or(Poll::Pending, |sleep| sleep.poll(cx))
        }
    }
}

/// Nothing waits without a runtime: the settings refuse a queue.
#[cfg(not(feature = "tokio"))]
mod timer {
    use std::future::{Pending, pending};
    use std::pin::Pin;
    use std::time::Instant;

    pub(super) type Timer = Pending<()>;

    pub(super) fn timer(_: Instant) -> Timer {
        pending()
    }

    pub(super) fn end_by(_: Pin<&mut Timer>, _: Instant) {}
}

#[cfg(all(test, feature = "tokio", not(octostack_loom)))]
mod tests {
    use super::{Asked, Bulkhead};
    use octostack_core::inspect::Registry;
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::Arc;
    use std::task::{Context, Wake, Waker};
    use std::time::Duration;

    fn single() -> Bulkhead {
        let bulkhead = Bulkhead::builder("b").registry(&Registry::new());
        let bulkhead = bulkhead.max_concurrent(1).max_queue(1).max_wait(Duration::from_secs(1));
        bulkhead.build().expect("valid settings")
    }

    #[test]
    fn a_place_that_comes_between_the_last_look_and_the_end_of_the_wait_is_kept() {
        let bulkhead = single();
        let held = bulkhead.try_admit().unwrap();
        let Asked::Queued(mut wait) = Asked::ask(&bulkhead) else { panic!("not queued") };
        drop(held);
        let permit = wait.place.time_out().unwrap();
        assert_eq!((bulkhead.in_flight(), bulkhead.queued()), (1, 0));
        drop(permit);
        drop(wait);
        assert_eq!((bulkhead.in_flight(), bulkhead.queued()), (0, 0));
    }

    /// Foreign code that fails where it is least expected.
    struct PanicsWhenReplaced;

    impl Wake for PanicsWhenReplaced {
        fn wake(self: Arc<Self>) {
            std::mem::forget(self);
        }
    }

    impl Drop for PanicsWhenReplaced {
        fn drop(&mut self) {
            panic!("in a waker");
        }
    }

    #[test]
    fn a_waker_that_panics_costs_no_place() {
        let bulkhead = single();
        let held = bulkhead.try_admit().unwrap();
        let Asked::Queued(wait) = Asked::ask(&bulkhead) else { panic!("not queued") };
        let poll = |waker| wait.place.poll(&Context::from_waker(&waker)).is_ready();
        assert!(!poll(Waker::from(Arc::new(PanicsWhenReplaced))));
        let replacing = AssertUnwindSafe(|| poll(Waker::noop().clone()));
        catch_unwind(replacing).expect_err("the old waker is dropped");
        assert_eq!((bulkhead.in_flight(), bulkhead.queued()), (1, 1), "it waits still");
        drop(wait);
        drop(held);
        assert_eq!((bulkhead.in_flight(), bulkhead.queued()), (0, 0));
    }

    #[test]
    fn who_leaves_the_queue_is_rejected_unless_the_place_had_come() {
        let bulkhead = single();
        let counts = || {
            let totals = bulkhead.shared.permits.totals();
            (totals.permitted, totals.rejected)
        };
        let held = bulkhead.try_admit().unwrap();
        drop(Asked::ask(&bulkhead));
        assert_eq!(counts(), (1, 1));
        let waiting = Asked::ask(&bulkhead);
        drop(held);
        drop(waiting);
        assert_eq!(counts(), (2, 1), "it had its place");
        assert_eq!(bulkhead.in_flight(), 0);
    }
}
