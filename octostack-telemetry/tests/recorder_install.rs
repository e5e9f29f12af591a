//! The recorder of a process, which there is one of: hence one test in a file of its own.
#![cfg(feature = "metrics")]

use octostack_core::Registry;
use octostack_telemetry::metrics::Metrics;
use octostack_telemetry::metrics::facade::{counter, with_local_recorder};

#[test]
fn the_first_that_is_installed_stays() {
    let page = || Metrics::builder().registry(&Registry::new()).build();
    let (first, second) = (page(), page());
    counter!("jobs").increment(1); // nobody listens
    first.recorder().install().expect("nothing else is installed in this process");
    let refused = second.recorder().install().expect_err("there is one already");
    assert!(refused.to_string().contains("another recorder"), "{refused}");

    counter!("jobs").increment(1);
    std::thread::spawn(|| counter!("jobs").increment(1)).join().expect("no panic");
    // One for a while, on this thread only.
    with_local_recorder(&second.recorder(), || counter!("jobs").increment(1));
    assert!(first.encode().contains("\njobs_total 2\n"), "{}", first.encode());
    assert!(second.encode().contains("\njobs_total 1\n"), "{}", second.encode());
}
