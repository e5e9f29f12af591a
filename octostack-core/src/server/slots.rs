use crate::sync::lock;
use std::sync::atomic::{AtomicIsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Places for connections, whose number can change while they are taken.
#[derive(Debug)]
pub(super) struct Slots {
    free: Arc<Semaphore>,
    size: Mutex<Size>,
    /// How many connections more there may be until it is crowded; below 0 those beyond that.
    spare: AtomicIsize,
}

/// One place in sixteen is for those who come and go, as with nginx, which closes idle connections
/// from there on; the last place, where there are fewer.
const fn crowd(total: usize) -> isize {
    (total - total / 16).cast_signed()
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Size {
    total: usize,
    /// Taken places that are too many: those who leave next take theirs with them.
    surplus: usize,
}

impl Slots {
    pub(super) fn new(total: usize) -> Self {
        let size = Mutex::new(Size { total, surplus: 0 });
        Self { free: Arc::new(Semaphore::new(total)), size, spare: crowd(total).into() }
    }

    /// There is a connection more, with a place or without.
    pub(super) fn come(&self) {
        self.spare.fetch_sub(1, Relaxed);
    }

    /// There is one less.
    pub(super) fn gone(&self) {
        self.spare.fetch_add(1, Relaxed);
    }

    /// Whether there are so many connections that none should keep its place without need: others
    /// may be waiting for it, or will be soon.
    pub(super) fn are_crowded(&self) -> bool {
        self.spare.load(Relaxed) <= 0
    }

    /// Waits for a place.
    pub(super) async fn take(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.free).acquire_owned().await.ok() // it is never closed
    }

    /// Gives a place back.
    pub(super) fn leave(&self, place: OwnedSemaphorePermit) {
        let mut size = lock(&self.size);
        if size.surplus > 0 {
            size.surplus -= 1;
            place.forget();
        }
    }

    /// How many there are to be. Nobody loses a place.
    pub(super) fn resize(&self, total: usize) {
        let mut size = lock(&self.size);
        let before = std::mem::replace(&mut size.total, total);
        self.spare.fetch_add(crowd(total) - crowd(before), Relaxed);
        if let Some(fewer) = before.checked_sub(total) {
            size.surplus += fewer - self.free.forget_permits(fewer);
        } else {
            let more = total - before;
            let kept = more.min(size.surplus);
            size.surplus -= kept;
            self.free.add_permits(more - kept);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Slots;
    use proptest::prelude::*;
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    fn try_take(slots: &Slots) -> Option<tokio::sync::OwnedSemaphorePermit> {
        match pin!(slots.take()).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(place) => place,
            Poll::Pending => None,
        }
    }

    #[test]
    fn who_waits_gets_one_of_the_new_places() {
        let slots = Slots::new(1);
        let place = try_take(&slots).unwrap();
        let mut waiting = pin!(slots.take());
        let mut cx = Context::from_waker(Waker::noop());
        assert!(waiting.as_mut().poll(&mut cx).is_pending());
        slots.resize(2);
        assert!(waiting.as_mut().poll(&mut cx).is_ready());
        slots.leave(place);
    }

    #[test]
    fn some_of_many_places_are_for_those_who_come_and_go() {
        let slots = Slots::new(7);
        let mut there = 0;
        for (total, crowd) in [(1, 1), (15, 15), (16, 15), (512, 480), (32, 30), (10_000, 9_375)] {
            slots.resize(total);
            for _ in there..crowd - 1 {
                slots.come();
            }
            for _ in crowd - 1..there {
                slots.gone();
            }
            assert!(!slots.are_crowded(), "{} of {total}", crowd - 1);
            slots.come();
            assert!(slots.are_crowded(), "{crowd} of {total}");
            there = crowd;
        }
    }

    #[derive(Clone, Debug)]
    enum Step {
        Take,
        Leave,
        Resize(usize),
    }

    proptest! {
        /// As if it were counted.
        #[test]
        fn there_are_as_many_as_was_said_last(steps in prop::collection::vec(
            prop_oneof![Just(Step::Take), Just(Step::Leave), (1_usize..6).prop_map(Step::Resize)],
            1..60,
        )) {
            let slots = Slots::new(3);
            let (mut total, mut taken) = (3, Vec::new());
            for step in steps {
                match step {
                    Step::Take => {
                        let place = try_take(&slots);
                        prop_assert_eq!(place.is_some(), taken.len() < total);
                        taken.extend(place);
                    }
                    Step::Leave => if let Some(place) = taken.pop() {
                        slots.leave(place);
                    },
                    Step::Resize(to) => {
                        slots.resize(to);
                        total = to;
                    }
                }
            }
        }
    }
}
