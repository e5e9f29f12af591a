//! How a deadline comes in with a request, and goes out with one.
use std::time::Duration;

/// What a request says of a deadline, and what it is told.
pub trait Travel<Req>: Clone {
    /// For how long the sender of the request waits, if it says so.
    fn incoming(&self, request: &Req) -> Option<Duration>;

    /// Whether the request is told for how long we wait.
    fn is_outgoing(&self) -> bool;

    /// Tells the request for how long we wait.
    fn outgoing(&self, request: &mut Req, left: Duration);
}

/// Requests say nothing of deadlines; the default.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unsaid;

impl<Req> Travel<Req> for Unsaid {
    #[inline]
    fn incoming(&self, _: &Req) -> Option<Duration> {
        None
    }

    #[inline]
    fn is_outgoing(&self) -> bool {
        false
    }

    #[inline]
    fn outgoing(&self, _: &mut Req, _: Duration) {}
}

#[cfg(feature = "http")]
pub use headers::{Accepted, Forwarded};

#[cfg(feature = "http")]
mod headers {
    use super::{Duration, Travel};
    use crate::deadline::DeadlineHeader;
    use http::Request;
    use std::sync::Arc;

    /// Requests say in headers for how long their sender waits; made by
    /// [`accept_deadline()`](crate::timeout::TimeoutLayer::accept_deadline).
    #[derive(Clone, Debug)]
    pub struct Accepted(Arc<[DeadlineHeader]>);

    impl Accepted {
        pub(in super::super) fn new(header: Option<DeadlineHeader>) -> Self {
            Self(header.into_iter().collect())
        }

        pub(in super::super) fn and(&self, header: DeadlineHeader) -> Self {
            Self(self.0.iter().cloned().chain([header]).collect())
        }
    }

    impl<B> Travel<Request<B>> for Accepted {
        fn incoming(&self, request: &Request<B>) -> Option<Duration> {
            self.0.iter().filter_map(|header| header.read(request.headers())).min()
        }

        fn is_outgoing(&self) -> bool {
            false
        }

        fn outgoing(&self, _: &mut Request<B>, _: Duration) {}
    }

    /// Requests tell in a header for how long we wait; made by
    /// [`forward_deadline()`](crate::timeout::TimeoutLayer::forward_deadline).
    #[derive(Clone, Debug)]
    pub struct Forwarded(Option<Arc<DeadlineHeader>>);

    impl Forwarded {
        pub(in super::super) fn new(header: impl Into<Option<DeadlineHeader>>) -> Self {
            Self(header.into().map(Arc::new))
        }
    }

    /// A header that is there already was written for us, by the library that the caller uses: it
    /// counts as the word of the caller.
    impl<B> Travel<Request<B>> for Forwarded {
        fn incoming(&self, request: &Request<B>) -> Option<Duration> {
            self.0.as_ref()?.read(request.headers())
        }

        fn is_outgoing(&self) -> bool {
            self.0.is_some()
        }

        fn outgoing(&self, request: &mut Request<B>, left: Duration) {
            if let Some(header) = &self.0 {
                let headers = request.headers_mut();
                // What somebody said before is never made longer, in whatever mode we are.
                let left = header.read(headers).map_or(left, |said| said.min(left));
                header.write(headers, left);
            }
        }
    }
}
