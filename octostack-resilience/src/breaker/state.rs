//! The word that holds the whole state, so that one load decides and one store changes it.
//!
//! ```text
//! generation:32 | timed:1 | mode:8 | state:8       0 in the low half: closed and enforcing
//! ```
//!
//! `timed`: slow calls are told, so that admission has to read the clock.
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

/// In the low half.
pub(super) const TIMED: u32 = 1 << 16;

/// What the word holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Word {
    pub(super) generation: u32,
    pub(super) mode: Mode,
    pub(super) state: State,
    pub(super) timed: bool,
}

impl Word {
    pub(super) const fn pack(self) -> u64 {
        let timed = if self.timed { TIMED } else { 0 };
        (self.generation as u64) << 32 | timed as u64 | (self.mode as u64) << 8 | self.state as u64
    }

    #[allow(clippy::cast_possible_truncation, reason = "takes fields out of the packed word")]
    pub(super) const fn unpack(packed: u64) -> Self {
        let state = match packed & 0xff {
            1 => State::Open,
            2 => State::HalfOpen,
            _ => State::Closed,
        };
        let mode = Mode::from_u8((packed >> 8 & 0xff) as u8);
        Self { generation: (packed >> 32) as u32, mode, state, timed: packed as u32 & TIMED != 0 }
    }
}
