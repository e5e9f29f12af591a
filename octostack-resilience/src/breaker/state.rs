//! The word that holds the whole state, so that one load decides and one store changes it.
//!
//! ```text
//! generation:32 | mode:8 | state:8       0 in the low half: closed and enforcing
//! ```
use octostack_core::inspect::Mode;

/// State of a circuit breaker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum State {
    /// Calls pass, and their results are watched.
    Closed,
    /// Calls are rejected.
    Open,
    /// A few calls pass to find out whether the service is back.
    HalfOpen,
}

impl State {
    /// All states.
    pub const ALL: [Self; 3] = [Self::Closed, Self::Open, Self::HalfOpen];

    /// Its name in metrics and on status pages.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::HalfOpen => "half_open",
        }
    }
}

/// Generation 0 marks words that were never written.
pub(super) const fn next_generation(generation: u32) -> u32 {
    match generation.wrapping_add(1) {
        0 => 1,
        next => next,
    }
}

/// Generation, mode and state in one word.
pub(super) const fn pack(generation: u32, mode: Mode, state: State) -> u64 {
    (generation as u64) << 32 | (mode as u64) << 8 | state as u64
}

/// The fields of [`pack`].
pub(super) const fn unpack(packed: u64) -> (u32, Mode, State) {
    let state = match packed & 0xff {
        1 => State::Open,
        2 => State::HalfOpen,
        _ => State::Closed,
    };
    ((packed >> 32) as u32, Mode::from_u8((packed >> 8 & 0xff) as u8), state)
}
