use super::super::provider::{LeaseId, ProviderErrorKind as Kind};
use super::*;
use crate::{Clock, SystemClock};
use proptest::prelude::*;

const MINUTE: Duration = Duration::from_secs(60);

fn lease(ttl: Duration) -> Lease {
    Lease { id: Some(LeaseId::new("lease")), ttl, renewable: true }
}

fn leased(now: Instant, ttl: Duration, on_error: OnError) -> Life {
    Life::new(now, Some(&lease(ttl)), None, on_error, 0.5)
}

fn due(life: &Life, now: Instant) -> (f64, Task) {
    let (at, task) = life.next().expect("something is to be done");
    (at.saturating_duration_since(now).as_secs_f64(), task)
}

fn is_valid(life: &Life, now: Instant) -> bool {
    life.expires().is_none_or(|expires| now < expires)
}

#[test]
fn a_lease_is_renewed_at_two_thirds_and_replaced_once_it_meets_a_limit() {
    let start = SystemClock.now();
    let mut life = leased(start, MINUTE, OnError::default());
    assert_eq!(due(&life, start), (40.0, Task::Renew(MINUTE)));

    let now = start + Duration::from_secs(40);
    life.renewed(now, MINUTE, true, 0.5);
    assert_eq!(life.expires(), Some(now + MINUTE));
    assert_eq!(due(&life, now), (40.0, Task::Renew(MINUTE)));

    let now = now + Duration::from_secs(40);
    life.renewed(now, Duration::from_secs(30), true, 0.5);
    assert_eq!(due(&life, now), (20.0, Task::Fetch), "while ten seconds are left");
    assert_eq!(life.expires(), Some(now + Duration::from_secs(30)));

    life.renewed(now, Duration::from_secs(55), true, 0.5);
    assert!(matches!(due(&life, now).1, Task::Renew(MINUTE)), "that is rounding");
    life.renewed(now, MINUTE, false, 0.5);
    assert_eq!(due(&life, now).1, Task::Fetch);
}

#[test]
fn without_a_lease_it_is_looked_at_again_or_never() {
    let now = SystemClock.now();
    let life = Life::new(now, None, Some(MINUTE), OnError::default(), 0.0);
    assert_eq!(due(&life, now), (54.0, Task::Fetch));
    assert_eq!((life.expires(), is_valid(&life, now + 1000 * MINUTE)), (None, true));
    assert_eq!(Life::new(now, None, None, OnError::default(), 0.0).next(), None);
}

#[test]
fn a_lease_that_cannot_be_renewed_is_replaced() {
    let now = SystemClock.now();
    for lease in [Lease { renewable: false, ..lease(MINUTE) }, Lease { id: None, ..lease(MINUTE) }]
    {
        let life = Life::new(now, Some(&lease), None, OnError::default(), 0.5);
        assert_eq!(due(&life, now), (40.0, Task::Fetch));
    }
    let for_ever = Life::new(now, Some(&lease(Duration::MAX)), None, OnError::default(), 0.5);
    assert_eq!((for_ever.next(), for_ever.expires()), (None, None));
}

#[test]
fn failures_leave_room_for_more_attempts_and_what_is_over_is_fetched() {
    let start = SystemClock.now();
    let mut life = leased(start, MINUTE, OnError::default());
    let mut now = start + Duration::from_secs(40);
    let mut attempts = 0;
    while is_valid(&life, now) {
        attempts += 1;
        match life.next().expect("something is to be done").1 {
            Task::Renew(_) => life.renewal_failed(now, Kind::Unavailable, None, 1.0),
            Task::Fetch => life.fetch_failed(now, Kind::Unavailable, None, 1.0),
        }
        now = life.next().expect("something is to be done").0;
    }
    assert!((6..60).contains(&attempts), "{attempts}");
    assert!(now < start + MINUTE + Duration::from_secs(1), "and goes on right away");
    assert_eq!(due(&life, now).1, Task::Fetch);
    life.fetch_failed(now, Kind::Unavailable, None, 1.0);
    assert!(due(&life, now).0 <= 60.0, "for as long as it takes");
}

#[test]
fn what_becomes_of_it_after_an_error_is_as_chosen() {
    let start = SystemClock.now();
    let now = start + Duration::from_secs(40);
    for (on_error, kind, valid) in [
        (OnError::Drop, Kind::Unavailable, false),
        (OnError::Drop, Kind::Gone, false),
        (OnError::Retain, Kind::Unavailable, true),
        (OnError::Retain, Kind::Refused, true),
        (OnError::Retain, Kind::Gone, true),
        (OnError::RetainOnIoError, Kind::Unavailable, true),
        (OnError::RetainOnIoError, Kind::Refused, true),
        (OnError::RetainOnIoError, Kind::Gone, false),
    ] {
        let mut life = leased(start, MINUTE, on_error);
        life.renewal_failed(now, kind, None, 0.5);
        assert_eq!(is_valid(&life, now), valid, "{on_error:?} {kind:?}");
        let (pause, task) = due(&life, now);
        if kind == Kind::Unavailable && valid {
            assert_eq!(task, Task::Renew(MINUTE));
        } else {
            assert_eq!(task, Task::Fetch);
        }
        if kind != Kind::Unavailable {
            assert!(pause < 1e-9, "it will not be renewed: {pause}");
        }
    }
    // A secret that was deleted is no reason to forget the one there is.
    for kind in [Kind::NotFound, Kind::Gone, Kind::Invalid] {
        let mut life = leased(start, MINUTE, OnError::RetainOnIoError);
        life.fetch_failed(now, kind, None, 0.5);
        assert!(is_valid(&life, now), "{kind:?}");
    }
}

#[test]
fn whoever_asks_to_be_left_alone_is_but_not_for_ever() {
    let now = SystemClock.now();
    let mut life = leased(now, 60 * MINUTE, OnError::default());
    life.fetch_failed(now, Kind::Unavailable, Some(Duration::from_secs(30)), 0.5);
    assert_eq!(due(&life, now), (30.0, Task::Fetch));
    life.fetch_failed(now, Kind::Unavailable, Some(Duration::MAX), 0.5);
    assert_eq!(due(&life, now), (60.0, Task::Fetch));
    let mut short = leased(now, MINUTE, OnError::default());
    short.fetch_failed(now, Kind::Unavailable, Some(Duration::MAX), 0.5);
    assert_eq!(due(&short, now), (15.0, Task::Fetch), "there is time for more before the end");
}

#[test]
fn a_retired_one_is_kept_alive_and_not_replaced() {
    let now = SystemClock.now();
    let mut life = leased(now, MINUTE, OnError::default());
    life.retire();
    assert_eq!(due(&life, now).1, Task::Renew(MINUTE));
    life.renewed(now, Duration::from_secs(20), true, 0.5);
    life.retire();
    assert_eq!(life.next(), None);
}

#[derive(Clone, Debug)]
enum Happens {
    Renewed(u64, bool),
    Failed(Kind, Option<u64>),
    Fetched(u64),
}

fn happens() -> impl Strategy<Value = Happens> {
    let kind = prop_oneof![
        Just(Kind::Unavailable),
        Just(Kind::Refused),
        Just(Kind::Gone),
        Just(Kind::NotFound)
    ];
    prop_oneof![
        (0..10_000_u64, any::<bool>())
            .prop_map(|(ttl, renewable)| Happens::Renewed(ttl, renewable)),
        (kind, prop::option::of(0..1000_u64)).prop_map(|(kind, wait)| Happens::Failed(kind, wait)),
        (1..10_000_u64).prop_map(Happens::Fetched),
    ]
}

proptest! {
    /// Whatever happens: as long as nothing fails the next step comes while the secret is valid,
    /// and there always is a next step.
    #[test]
    fn the_next_step_comes_in_time(
        ttl in 1..10_000_u64,
        steps in prop::collection::vec((happens(), 0.0..1.0_f64), 1..30),
    ) {
        let mut now = SystemClock.now();
        let mut life = leased(now, Duration::from_secs(ttl), OnError::RetainOnIoError);
        for (step, chance) in steps {
            let (at, task) = life.next().expect("a lease always has a next step");
            prop_assert!(at >= now && at <= now + Duration::from_secs(30 * 24 * 3600));
            if life.failures() == 0 {
                let soon = now + SHORTEST_PAUSE;
                prop_assert!(life.expires().is_none_or(|end| at <= end.max(soon)), "{life:?}");
            }
            now = at;
            match (step, task) {
                (Happens::Failed(kind, wait), task) => {
                    let wait = wait.map(Duration::from_secs);
                    match task {
                        Task::Renew(_) => life.renewal_failed(now, kind, wait, chance),
                        Task::Fetch => life.fetch_failed(now, kind, wait, chance),
                    }
                    let pause = life.next().expect("a next step").0 - now;
                    prop_assert!(pause <= LONGEST_PAUSE);
                }
                (Happens::Renewed(ttl, renewable), Task::Renew(_)) => {
                    life.renewed(now, Duration::from_secs(ttl), renewable, chance);
                }
                (Happens::Fetched(ttl) | Happens::Renewed(ttl, _), _) => {
                    life = leased(now, Duration::from_secs(ttl), OnError::RetainOnIoError);
                }
            }
        }
    }
}
