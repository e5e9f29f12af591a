//! What recording through the facade allocates: nothing, once a series is there.
#![cfg(feature = "metrics")]

use octostack_core::Registry;
use octostack_telemetry::metrics::Metrics;
use octostack_telemetry::metrics::facade::{
    counter, describe_counter, gauge, histogram, with_local_recorder,
};

fn page() -> Metrics {
    Metrics::builder().registry(&Registry::new()).build()
}

#[test]
fn nothing_through_a_handle() {
    let metrics = page();
    let (created, idle, wait) = with_local_recorder(&metrics.recorder(), || {
        (counter!("created", "kind" => "a"), gauge!("idle"), histogram!("wait"))
    });
    let record = || {
        created.increment(1);
        created.absolute(7);
        idle.increment(1);
        idle.set(3);
        wait.record(0.2);
        wait.record_many(f64::NAN, 2);
    };
    record();
    assert_eq!(allocation_counter::measure(record).count_total, 0);
}

#[test]
fn nothing_through_a_macro_whose_labels_are_literals() {
    let metrics = page();
    let record = || {
        describe_counter!("created", "Created.");
        counter!("created", "kind" => "a").increment(1);
        gauge!("idle").set(3);
        histogram!("wait", "kind" => "b").record(0.2);
    };
    with_local_recorder(&metrics.recorder(), || {
        record();
        record(); // the handle is remembered since the first
        let found = allocation_counter::measure(record);
        assert_eq!(found.count_total, 0);
    });
}

/// A histogram that keeps its samples would grow here.
#[test]
fn the_room_that_is_taken_does_not_grow_with_the_traffic() {
    let metrics = page();
    with_local_recorder(&metrics.recorder(), || {
        let traffic = || {
            for i in 0..100_000_u32 {
                histogram!("wait").record(f64::from(i) / 1e3);
                counter!("created").increment(1);
            }
        };
        histogram!("wait").record(0);
        counter!("created").increment(1);
        let found = allocation_counter::measure(traffic);
        assert_eq!(found.bytes_max, 0);
    });
    assert!(metrics.encode().contains("\nwait_count 100001\n"));
}
