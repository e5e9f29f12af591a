/// What it means when a check fails; see the [module docs](super).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CheckKind {
    /// This instance is at fault: it is not ready.
    Local,
    /// Something that all instances use is at fault: degraded, still ready.
    Shared,
    /// Something that all instances use is at fault, and without it none of them is of use: not
    /// ready. If it fails, it fails for all, and nobody is left to take the traffic.
    Required,
    /// Worth showing and nothing else.
    Informational,
}

impl CheckKind {
    /// Its name on status pages.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Shared => "shared",
            Self::Required => "required",
            Self::Informational => "informational",
        }
    }
}

/// What a check says after its thresholds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Status {
    Unknown,
    Passing,
    Failing,
}

impl Status {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Passing => "passing",
            Self::Failing => "failing",
        }
    }
}

/// What all checks together say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Standing {
    /// Nothing is wrong.
    Good,
    /// A shared check fails: still ready.
    Degraded,
    /// A local or required check fails or has no result yet: not ready.
    Unready,
}

impl Standing {
    /// Its name on status pages.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Degraded => "degraded",
            Self::Unready => "unready",
        }
    }

    /// What one check adds to the whole.
    pub(super) const fn of(kind: CheckKind, status: Status) -> Self {
        match (kind, status) {
            (CheckKind::Local | CheckKind::Required, Status::Failing | Status::Unknown) => {
                Self::Unready
            }
            (CheckKind::Shared, Status::Failing) => Self::Degraded,
            _ => Self::Good,
        }
    }

    pub(super) const fn from_u8(number: u8) -> Self {
        match number {
            0 => Self::Good,
            1 => Self::Degraded,
            _ => Self::Unready,
        }
    }
}
