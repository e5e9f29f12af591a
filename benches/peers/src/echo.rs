//! The service behind the policies.
use crate::drive::Subject;
use std::convert::identity;
use std::future::{Ready, ready};
use std::hint::black_box;
use std::task::{Context, Poll};
use tower::{BoxError, Service};

/// Answers with the request, at once.
#[derive(Clone)]
pub(crate) struct Echo;

impl Service<u64> for Echo {
    type Response = u64;
    type Error = BoxError;
    type Future = Ready<Result<u64, BoxError>>;

    #[inline]
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    /// Stays a call: no real service dissolves in the layer around it.
    #[inline(never)]
    fn call(&mut self, request: u64) -> Self::Future {
        ready(Ok(request))
    }
}

/// Policies around an [`Echo`].
pub(crate) fn subject<S>(name: &'static str, service: S) -> Subject
where
    S: Service<u64, Response = u64, Error: std::fmt::Debug> + Clone + Sync + 'static,
{
    Subject::new(name, service, request, consume)
}

pub(crate) fn request() -> u64 {
    black_box(7)
}

pub(crate) fn consume(response: u64, _: &mut Context<'_>) {
    black_box(identity::<u64>(response));
}
