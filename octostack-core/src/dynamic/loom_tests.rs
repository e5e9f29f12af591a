//! Every interleaving of one writer and a reader.
use super::Dynamic;
use loom::thread;

#[test]
fn a_reader_never_goes_back_and_sees_the_last_store_in_the_end() {
    loom::model(|| {
        let value = Dynamic::new(1_u64);
        let mut reader = value.reader();
        let writer = value.clone();
        let writing = thread::spawn(move || {
            writer.store(2);
            writer.store(3);
        });
        let mut last = 0;
        for _ in 0..3 {
            let seen = reader.versioned();
            assert!(seen.generation >= last, "went back from {last} to {}", seen.generation);
            assert_eq!(seen.value, seen.generation, "a mix of two generations");
            last = seen.generation;
        }
        writing.join().unwrap();
        assert_eq!(*reader.get(), 3);
    });
}

#[test]
fn planted_who_sees_the_new_number_finds_the_new_value() {
    loom::model(|| {
        let value = Dynamic::new(1_u64);
        let writer = value.clone();
        let writing = thread::spawn(move || writer.store(2));
        let number = value.generation();
        assert!(value.load().generation >= number);
        writing.join().unwrap();
    });
}

#[test]
fn two_writers_take_turns() {
    loom::model(|| {
        let value = Dynamic::new(1_u64);
        let other = value.clone();
        let writing = thread::spawn(move || other.store(10));
        let mine = value.store(20);
        let theirs = writing.join().unwrap();
        assert_eq!(mine + theirs, 2 + 3, "each generation is given once");
        let last = value.load();
        assert_eq!(last.generation, 3);
        assert_eq!(value.generation(), 3);
        assert_eq!(last.value, if mine == 3 { 20 } else { 10 });
    });
}
