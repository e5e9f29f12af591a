use super::{ChaosConfig, Counts, Draw, Machine, Mode, Rules, Standing, replay};
use octostack_core::{Clock, SystemClock};
use proptest::prelude::{any, proptest};
use std::time::{Duration, Instant};

const LATENCY: Duration = Duration::from_millis(250);
const SECOND: Duration = Duration::from_secs(1);

fn settings(error_rate: f64, latency: Duration, latency_rate: f64) -> ChaosConfig {
    ChaosConfig { error_rate, latency, latency_rate, ..ChaosConfig::default() }
}

fn start() -> Instant {
    SystemClock.now()
}

/// What the next calls meet.
fn run(machine: &Machine, calls: usize, now: Instant) -> Vec<Option<(bool, Duration)>> {
    let draw = |_| machine.draw(|_| true, &now).map(|draw| (draw.error, draw.latency));
    (0..calls).map(draw).collect()
}

#[test]
fn does_nothing_while_it_is_not_armed() {
    for (mode, settings) in [
        (Mode::Enforce, ChaosConfig::default()),
        (Mode::Enforce, settings(0.0, LATENCY, 0.0)),
        (Mode::Disabled, settings(1.0, LATENCY, 1.0)),
    ] {
        let machine = Machine::new(mode, &settings, 7, start());
        assert!(!machine.armed());
        assert_eq!(machine.draw(|_| panic!("asked"), &start()), None);
        assert_eq!(machine.counts(), Counts::default());
        assert_eq!(machine.standing(&start()), Standing::Idle);
    }
}

#[test]
fn the_rates_are_exact_at_their_ends() {
    let of = |settings: &ChaosConfig| Rules::new(Mode::Enforce, settings, 7, start());
    let most = 1.0 - f64::EPSILON / 2.0;
    let all = of(&settings(1.0, LATENCY, 1.0));
    assert_eq!(all.decide([most, most, most]), (true, LATENCY));
    let none = of(&settings(0.0, LATENCY, 0.0));
    assert_eq!(none.decide([0.0, 0.0, 0.0]), (false, Duration::ZERO));
}

#[test]
fn shadow_mode_counts_and_does_nothing() {
    let machine = Machine::new(Mode::Shadow, &settings(1.0, LATENCY, 1.0), 7, start());
    assert_eq!(machine.draw(|_| true, &start()), None);
    let expected = Counts { passed: 1, shadow_errors: 1, shadow_delays: 1, ..Counts::default() };
    assert_eq!(machine.counts(), expected);
}

#[test]
fn who_is_not_meant_is_left_alone_and_is_no_part_of_the_sequence() {
    let now = start();
    let half = settings(0.5, Duration::ZERO, 1.0);
    let alone = Machine::new(Mode::Enforce, &half, 7, now);
    let mixed = Machine::new(Mode::Enforce, &half, 7, now);
    for _ in 0..100 {
        assert_eq!(mixed.draw(|_| false, &now), None);
        let same = (alone.draw(|_| true, &now), mixed.draw(|_| true, &now));
        assert_eq!(same.0, same.1);
    }
    assert_eq!((alone.counts().outside, mixed.counts().outside), (0, 100));
}

#[test]
fn it_expires_by_the_time_that_it_is_given() {
    let start = start();
    let short = ChaosConfig { expires_after: SECOND, ..settings(1.0, LATENCY, 1.0) };
    let machine = Machine::new(Mode::Enforce, &short, 7, start);
    let at = |millis| start + Duration::from_millis(millis);
    let latency = |millis| machine.draw(|_| true, &at(millis)).map(|draw| draw.latency);
    assert_eq!(latency(0), Some(LATENCY));
    assert_eq!(latency(900), Some(Duration::from_millis(100)), "not beyond the end");
    let left = Some(Duration::from_millis(1));
    let armed = Standing::Armed { seed: 7, drawn: 2, expires_in: left };
    assert_eq!(machine.standing(&at(999)), armed);
    assert_eq!(machine.standing(&at(1_000)), Standing::Expired);
    assert!(machine.armed(), "nobody has noticed yet");
    assert_eq!(latency(1_000), None);
    assert!(!machine.armed(), "one load again");
    assert_eq!(machine.standing(&at(5_000)), Standing::Expired);

    machine.apply(Mode::Enforce, &short, 7, at(5_000));
    assert_eq!(latency(5_500), Some(LATENCY));
}

#[test]
fn what_was_decided_lasts_until_settings_change_or_expire() {
    let start = start();
    let short = ChaosConfig { expires_after: SECOND, ..settings(1.0, LATENCY, 1.0) };
    let machine = Machine::new(Mode::Enforce, &short, 7, start);
    let Some(Draw { generation, .. }) = machine.draw(|_| true, &start) else { panic!("idle") };
    assert!(machine.lasts(generation));
    machine.apply(Mode::Enforce, &short, 7, start);
    assert!(!machine.lasts(generation), "decided by what is no longer there");
}

#[test]
fn a_share_is_a_share_of_the_calls() {
    let now = start();
    for (rate, seed) in [(0.01, 1), (0.1, 2), (0.5, 3), (0.9, 4)] {
        let machine = Machine::new(Mode::Enforce, &settings(rate, LATENCY, rate), seed, now);
        let calls = 100_000;
        run(&machine, calls, now);
        // Six standard deviations of a binomial distribution.
        let (mean, n) = (rate * calls as f64, calls as f64);
        let off = 6.0 * (n * rate * (1.0 - rate)).sqrt();
        for count in [machine.counts().errors, machine.counts().delays] {
            assert!((count as f64 - mean).abs() < off, "{count} of {calls} at {rate}");
        }
    }
}

proptest! {
    #[test]
    fn a_number_below_the_rate_is_a_fault(
        error_rate in 0.0..=1.0, latency_rate in 0.0..=1.0, draws in any::<[u32; 3]>(),
        jitter in 0_u64..5_000,
    ) {
        let numbers = draws.map(|n| f64::from(n) / (f64::from(u32::MAX) + 1.0));
        let jitter = Duration::from_millis(jitter);
        let settings = ChaosConfig {
            latency_jitter: jitter, ..settings(error_rate, LATENCY, latency_rate)
        };
        let rules = Rules::new(Mode::Enforce, &settings, 7, start());
        let (error, latency) = rules.decide(numbers);
        assert_eq!(error, numbers[0] < error_rate);
        assert_eq!(!latency.is_zero(), numbers[1] < latency_rate);
        if !latency.is_zero() {
            assert!((LATENCY..=LATENCY + jitter).contains(&latency), "{latency:?}");
        }
    }

    #[test]
    fn an_equal_seed_is_an_equal_run_also_when_it_is_applied_again(
        seed in 1_u32.., rate in 0.0..=1.0, before in 0_usize..50,
    ) {
        let now = start();
        let settings = ChaosConfig { latency_jitter: SECOND, ..settings(rate, LATENCY, rate) };
        let machine = Machine::new(Mode::Enforce, &settings, seed, now);
        let first = run(&machine, 50, now);
        machine.apply(Mode::Enforce, &settings, seed ^ 1, now);
        run(&machine, before, now);
        machine.apply(Mode::Enforce, &settings, seed, now);
        assert_eq!(run(&machine, 50, now), first);
        // By its number alone.
        let rules = Rules::new(Mode::Enforce, &settings, seed, now);
        let (error, latency) = rules.decide(replay::numbers(seed, 49));
        let expected = (error || !latency.is_zero()).then_some((error, latency));
        if settings.injects() {
            assert_eq!(first[49], expected);
        }
    }

    #[test]
    fn nothing_at_rate_zero_and_everything_at_rate_one(seed in 1_u32.., calls in 1_usize..200) {
        let now = start();
        let machine = Machine::new(Mode::Enforce, &settings(0.0, LATENCY, 1.0), seed, now);
        assert!(run(&machine, calls, now).iter().all(|fault| *fault == Some((false, LATENCY))));
        let machine = Machine::new(Mode::Enforce, &settings(1.0, LATENCY, 0.0), seed, now);
        let all = run(&machine, calls, now);
        assert!(all.iter().all(|fault| *fault == Some((true, Duration::ZERO))));
    }
}
