use std::fmt;

/// As what is counted whatever has no name of its own: unknown flags, whose keys come from who
/// knows where, and variants past those that are counted by name.
pub(crate) const OTHER: &str = "_OTHER";

/// Why a flag has the value that it has. OpenFeature's reasons, and one more for what an operator
/// has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Reason {
    /// The flag has no rule: everybody gets its default variant.
    Static,
    /// The rule named no variant, or there is none: the default variant, else the default in code.
    Default,
    /// The rule named the variant.
    TargetingMatch,
    /// The flag is switched off: the default in code.
    Disabled,
    /// An operator chose the variant for a time.
    Override,
    /// Something is wrong: the default in code. [`ErrorCode`] says what.
    Error,
}

impl Reason {
    /// All reasons, in the order of `as usize`.
    pub(crate) const ALL: [Self; 6] = [
        Self::Static,
        Self::Default,
        Self::TargetingMatch,
        Self::Disabled,
        Self::Override,
        Self::Error,
    ];

    /// As semantic conventions write it: `targeting_match`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Static => "static",
            Self::Default => "default",
            Self::TargetingMatch => "targeting_match",
            Self::Disabled => "disabled",
            Self::Override => "override",
            Self::Error => "error",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// What went wrong when a flag was evaluated. The names are OpenFeature's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorCode {
    /// No flag has this key.
    FlagNotFound,
    /// The flag is broken; `/flagz` says where.
    ParseError,
    /// The value is of another type than the one asked for.
    TypeMismatch,
    /// The rule named a variant that the flag does not have.
    General,
}

impl ErrorCode {
    /// As OpenFeature writes it: `FLAG_NOT_FOUND`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::FlagNotFound => "FLAG_NOT_FOUND",
            Self::ParseError => "PARSE_ERROR",
            Self::TypeMismatch => "TYPE_MISMATCH",
            Self::General => "GENERAL",
        }
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
