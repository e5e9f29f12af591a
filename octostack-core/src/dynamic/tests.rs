use super::Dynamic;
use std::sync::Arc;

#[test]
fn a_reader_follows_and_a_clone_shares() {
    let value = Dynamic::new("a");
    let mut reader = value.reader();
    assert_eq!(*reader.get(), "a");
    assert_eq!(value.clone().store("b"), 2);
    assert_eq!(*reader.get(), "b");
    assert_eq!(reader.versioned().generation, 2);
    assert_eq!(value.load().value, "b");
}

#[test]
fn the_old_value_is_dropped_once_nobody_holds_it() {
    let first = Arc::new(());
    let value = Dynamic::new(first.clone());
    let mut reader = value.reader();
    value.store(Arc::new(()));
    assert_eq!(Arc::strong_count(&first), 2, "the reader has not looked yet");
    reader.get();
    assert_eq!(Arc::strong_count(&first), 1);
}

#[test]
fn the_drop_of_an_old_value_may_use_the_dynamic() {
    struct Curious(Option<Dynamic<Curious>>);
    impl Drop for Curious {
        fn drop(&mut self) {
            if let Some(value) = self.0.take() {
                value.store(Curious(None)); // would deadlock under the writer's lock
            }
        }
    }
    let value = Dynamic::new(Curious(None));
    value.store(Curious(Some(value.clone())));
    assert_eq!(value.store(Curious(None)), 3);
    assert_eq!(value.generation(), 4);
}

#[test]
fn threads_see_generations_in_order() {
    let value = Dynamic::new(1_u64);
    std::thread::scope(|scope| {
        for _ in 0..3 {
            let mut reader = value.reader();
            scope.spawn(move || {
                let mut last = 0;
                while last < 2_000 {
                    let seen = reader.versioned();
                    assert!(seen.generation >= last);
                    assert_eq!(seen.generation, seen.value);
                    last = seen.generation;
                }
            });
        }
        for next in 2..=2_000 {
            value.store(next);
        }
    });
}
