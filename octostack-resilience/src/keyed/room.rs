//! How many keys there may be in all parts together: one count, taken by compare-and-swap, so that
//! there are never more and none is turned away while there are fewer.
use octostack_core::sync::atomic::{
    AtomicU64,
    Ordering::{AcqRel, Acquire, Relaxed},
};

/// See the [module docs](self).
pub(super) struct Room {
    taken: AtomicU64,
    most: AtomicU64,
}

impl Room {
    pub(super) fn new(most: u32) -> Self {
        Self { taken: AtomicU64::new(0), most: AtomicU64::new(most.into()) }
    }

    /// Takes a place for one more key, if there is one.
    pub(super) fn take(&self) -> bool {
        let most = self.most.load(Relaxed);
        if cfg!(octostack_planted_bug) {
            // The model checker must object: another thread may look at the same time.
            return self.taken.load(Acquire) < most && self.taken.fetch_add(1, AcqRel) < u64::MAX;
        }
        let one_more = |taken| (taken < most).then_some(taken + 1);
        self.taken.fetch_update(AcqRel, Acquire, one_more).is_ok()
    }

    /// Gives the place of a key back.
    pub(super) fn give(&self) {
        self.taken.fetch_sub(1, AcqRel);
    }

    /// Whether there are more keys than there may be, since it shrank.
    pub(super) fn is_over(&self) -> bool {
        self.taken.load(Acquire) > self.most.load(Relaxed)
    }

    /// Allows another number.
    pub(super) fn set(&self, most: u32) {
        self.most.store(most.into(), Relaxed);
    }
}

#[cfg(all(test, octostack_loom))]
mod loom_tests {
    use super::Room;
    use loom::sync::Arc;
    use loom::thread;

    #[test]
    fn planted_two_keys_never_share_the_last_place() {
        crate::models::explore(|| {
            let room = Arc::new(Room::new(1));
            let other = room.clone();
            let racing = thread::spawn(move || other.take());
            let mine = room.take();
            let theirs = racing.join().unwrap();
            assert!(mine != theirs, "one of both, and not none");
            assert!(!room.is_over());
        });
    }

    #[test]
    fn a_place_that_is_given_back_is_there_again() {
        crate::models::explore(|| {
            let room = Arc::new(Room::new(1));
            assert!(room.take());
            let other = room.clone();
            let racing = thread::spawn(move || other.give());
            let taken = room.take();
            racing.join().unwrap();
            assert!(taken || room.take());
            assert!(!room.take());
        });
    }
}
