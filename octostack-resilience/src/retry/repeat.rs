use super::Shared;
use super::attempts::Attempts;
use crate::handle::Handle;

/// How to send a request again: what to keep of it, and how to make the next one.
///
/// [`Cloned`] does it for anything that can be cloned, `HttpRequests` and `GrpcRequests` for HTTP.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot send a `{Req}` again",
    note = "requests that are `Clone` are cloned",
    note = "for `http::Request` use `.respond_http()` or `.respond_grpc()` on the layer",
    note = "for others implement `Repeat` and use `.repeat(...)` on the layer"
)]
pub trait Repeat<Req>: Clone {
    /// What the inner service gets.
    type Sent;

    /// What it takes to send the request again.
    type Kept;

    /// The first request. `keep` is `false` if there will be no other attempt. Keeps nothing if the
    /// request cannot or must not be repeated.
    fn first(&self, request: Req, keep: bool) -> (Self::Sent, Option<Self::Kept>);

    /// The next request, or `None` if that has turned out to be impossible. The future of the
    /// attempt before is gone.
    fn again(&self, kept: Self::Kept, next: Next) -> Option<(Self::Sent, Option<Self::Kept>)>;
}

/// Whether a failed attempt may be followed by another, going by its answer.
///
/// What the protocol calls a success is never repeated, whatever this says.
pub trait RepeatAfter<Res, Err> {
    /// `false` to leave it at this answer.
    fn allows(&self, output: &Result<Res, Err>) -> bool;

    /// Whether it is certain that the service never got the request: such a one may be sent again
    /// whatever it does.
    fn never_sent(&self, output: &Result<Res, Err>) -> bool {
        let _ = output;
        false
    }
}

/// The attempt that a request is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Next {
    /// Its number: 2 for the first repeat.
    pub number: u32,
    /// Whether it is the last one that the settings allow, so that nothing needs to be kept.
    pub last: bool,
    /// Whether it is certain that the service never got the request of the attempt before.
    pub unsent: bool,
}

impl Next {
    pub(super) fn after<H: Handle<Shared>>(attempts: &Attempts<H>, unsent: bool) -> Self {
        Self { number: attempts.number() + 1, last: attempts.left() <= 1, unsent }
    }
}

/// Clones requests and repeats all of them; the default.
///
/// Only for requests that may be executed twice: it cannot tell.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cloned;

impl<Req: Clone> Repeat<Req> for Cloned {
    type Sent = Req;
    type Kept = Req;

    #[inline]
    fn first(&self, request: Req, keep: bool) -> (Req, Option<Req>) {
        let kept = keep.then(|| request.clone());
        (request, kept)
    }

    fn again(&self, kept: Req, next: Next) -> Option<(Req, Option<Req>)> {
        Some(self.first(kept, !next.last))
    }
}

impl<Res, Err> RepeatAfter<Res, Err> for Cloned {
    #[inline]
    fn allows(&self, _: &Result<Res, Err>) -> bool {
        true
    }
}
