use crate::sync::lock;
use std::sync::{Arc, Mutex};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Places for connections, whose number can change while they are taken.
#[derive(Debug)]
pub(super) struct Slots {
    free: Arc<Semaphore>,
    size: Mutex<Size>,
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
        Self { free: Arc::new(Semaphore::new(total)), size }
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
