//! SIGTERM at any moment after exec: while settings are read, while ports open, while it serves.
//!
//! The process always ends with 0 and within its budget. The one thing it cannot know of is a signal
//! that comes before its own first instructions: until a handler is there, the system ends a process
//! without asking it (and as process 1 of a container, ignores the signal). Those are counted apart,
//! and there must not be many.
use crate::process::{Process, now};
use rustix::process::Signal;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

/// Moments are from 0 to this after exec.
const WINDOW: Duration = Duration::from_millis(300);

/// When it is ready, more or less, on a machine that is not busy.
const START: Duration = Duration::from_millis(20);

/// How long the end may take without requests: the budget for them is 20 s, and nothing uses it.
const BUDGET: Duration = Duration::from_secs(5);

/// How many at a time.
const THREADS: usize = 4;

/// A generator of moments that a seed repeats (`xorshift64*`).
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }
}

fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().expect("a number"))
}

/// What became of one process.
#[derive(Clone, Copy, Debug)]
struct Run {
    moment: Duration,
    /// Whether its handler was there when the signal was sent.
    handled: bool,
    /// Whether it had said that it is ready.
    ready: bool,
    code: Option<i32>,
    end: Duration,
}

fn run(moment: Duration) -> Run {
    let start = now();
    let process = Process::spawn(&[], &[]);
    thread::park_timeout(moment.saturating_sub(start.elapsed())); // nobody unparks it
    let handled = process.handles(Signal::TERM);
    let sent = now();
    process.signal(Signal::TERM);
    let exit = process.exit();
    let is_ready = |line: &serde_json::Value| line["message"] == "starting -> ready";
    let ready = exit.lines.iter().any(is_ready);
    Run { moment, handled, ready, code: exit.code, end: sent.elapsed() }
}

#[test]
fn a_signal_at_any_moment_ends_it_well() {
    let runs = usize::try_from(variable("OCTOSTACK_SIGNALS").unwrap_or(100)).expect("a count");
    let seed = variable("OCTOSTACK_SEED").unwrap_or_else(|| u64::from(std::process::id()) + 1);
    println!("signals: seed {seed} (OCTOSTACK_SEED repeats it)");
    let mut chance = Chance(seed.max(1));
    // Half of them while it starts.
    let mut within = |window: Duration| {
        let micros = u64::try_from(window.as_micros()).expect("it is short");
        Duration::from_micros(chance.next() % micros)
    };
    let moments: Vec<_> =
        (0..runs).map(|n| within(if n.is_multiple_of(2) { START } else { WINDOW })).collect();

    let (next, done) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                while let Some(moment) = moments.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let run = run(*moment);
                    done.lock().unwrap_or_else(PoisonError::into_inner).push(run);
                }
            });
        }
    });
    let done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    judge(&done);
}

fn judge(done: &[Run]) {
    let (handled, before): (Vec<Run>, Vec<Run>) = done.iter().partition(|run| run.handled);
    let ready = handled.iter().filter(|run| run.ready).count();
    let longest = handled.iter().map(|run| run.end).max().unwrap_or_default();
    let latest = before.iter().map(|run| run.moment).max().unwrap_or_default();
    println!(
        "signals: {} runs; {} handled, {ready} of them ready, the longest end took {longest:?}; \
         {} came before the first handler, the last of them after {latest:?}",
        done.len(),
        handled.len(),
        before.len(),
    );
    let bad: Vec<_> =
        handled.iter().filter(|run| run.code != Some(0) || run.end > BUDGET).collect();
    assert!(bad.is_empty(), "{bad:?}");
    assert!(handled.len() * 3 > done.len(), "its handlers come late: {latest:?}");
    assert!(ready > 0 && ready < handled.len(), "the moments hit one part only");
    // Either the system ended it or, in the meantime, it was there.
    let odd: Vec<_> = before.iter().filter(|run| !matches!(run.code, None | Some(0))).collect();
    assert!(odd.is_empty(), "{odd:?}");
}
