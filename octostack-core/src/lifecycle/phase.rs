use std::fmt;

/// Where a service is in its life; see the [module docs](super).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Phase {
    /// Not yet able to serve.
    Starting,
    /// Serves, and all is well.
    Ready,
    /// Serves, but something that it shares with others is not well.
    Degraded,
    /// Finishes what it has begun; wants no new work.
    Draining,
    /// Done; the process is about to end.
    Stopped,
}

impl Phase {
    /// All phases, in the order of a life.
    pub const ALL: [Self; 5] =
        [Self::Starting, Self::Ready, Self::Degraded, Self::Draining, Self::Stopped];

    /// Its name on status pages and in labels.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Ready => "ready",
            Self::Degraded => "degraded",
            Self::Draining => "draining",
            Self::Stopped => "stopped",
        }
    }

    /// Whether new work should be sent here: ready and degraded.
    pub const fn is_ready(self) -> bool {
        matches!(self, Self::Ready | Self::Degraded)
    }

    /// Whether the end has begun: draining and stopped.
    pub const fn is_ending(self) -> bool {
        matches!(self, Self::Draining | Self::Stopped)
    }

    /// Whether `next` may follow. A phase never follows itself, and nothing follows the end.
    pub(super) const fn allows(self, next: Self) -> bool {
        match (self, next) {
            (Self::Starting, Self::Ready | Self::Degraded | Self::Draining)
            | (Self::Ready, Self::Degraded | Self::Draining)
            | (Self::Degraded, Self::Ready | Self::Draining)
            | (Self::Draining, Self::Stopped) => true,
            // Named, so that a new phase has to be thought about here.
            (Self::Starting | Self::Ready | Self::Degraded | Self::Draining | Self::Stopped, _) => {
                false
            }
        }
    }

    pub(super) const fn from_u8(number: u8) -> Self {
        match number {
            0 => Self::Starting,
            1 => Self::Ready,
            2 => Self::Degraded,
            3 => Self::Draining,
            _ => Self::Stopped,
        }
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::Phase::{self, Degraded, Draining, Ready, Starting, Stopped};

    #[test]
    fn follows_the_contract() {
        let allowed = [
            (Starting, Ready),
            (Starting, Degraded),
            (Starting, Draining),
            (Ready, Degraded),
            (Ready, Draining),
            (Degraded, Ready),
            (Degraded, Draining),
            (Draining, Stopped),
        ];
        for from in Phase::ALL {
            for to in Phase::ALL {
                assert_eq!(from.allows(to), allowed.contains(&(from, to)), "{from} -> {to}");
            }
        }
    }

    #[test]
    fn survives_its_number() {
        for phase in Phase::ALL {
            assert_eq!(Phase::from_u8(phase as u8), phase);
        }
    }
}
