/// How a call ended, as a policy sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Outcome {
    /// The service did its work.
    Success,
    /// The service failed, or a policy ended the call.
    Failure,
    /// Says nothing about the health of the service: a policy further in refused the call, or the
    /// classifier said so.
    Ignored,
    /// The service asked for less: HTTP 429 or 503, gRPC `RESOURCE_EXHAUSTED`.
    Overloaded,
    /// The caller went away before the call ended.
    Cancelled,
}

impl Outcome {
    /// All outcomes.
    pub const ALL: [Self; 5] =
        [Self::Success, Self::Failure, Self::Ignored, Self::Overloaded, Self::Cancelled];

    /// Its name in metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Failure => "failure",
            Self::Ignored => "ignored",
            Self::Overloaded => "overloaded",
            Self::Cancelled => "cancelled",
        }
    }

    /// What a permit that is dropped unsettled stands for: a panic is the service's failure,
    /// anything else is the caller's cancellation.
    pub(crate) fn of_drop() -> Self {
        if std::thread::panicking() { Self::Failure } else { Self::Cancelled }
    }
}
