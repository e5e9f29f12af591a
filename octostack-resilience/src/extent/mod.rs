//! How far a call reaches: to the head of its answer, or to the end of its body.
//!
//! To most callers a call is over when its answer begins. But a place in a bulkhead that is given
//! back then does not count what still streams, and a breaker that judges then does not see what
//! breaks off. The layers of the bulkhead, the breaker and the timeout therefore have
//! `until_body_end()`, for answers that are [`http::Response`]: the place is held, the verdict
//! waits and the time runs until the body has ended, has failed or is dropped.
//!
//! The body is then of another type, [`GuardedBody`]; apply it outside of what needs the old one.
//!
//! ```
//! # #[cfg(feature = "http")] {
//! use bytes::Bytes;
//! use http::Response;
//! use http_body_util::{BodyExt, Full};
//! use octostack_resilience::{Bulkhead, Error};
//! use std::convert::Infallible;
//! use tower::{ServiceBuilder, ServiceExt, service_fn};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let bulkhead = Bulkhead::builder("downloads").max_concurrent(10).build()?;
//! let download = ServiceBuilder::new()
//!     .layer(bulkhead.layer().until_body_end())
//!     .service(service_fn(|_: &str| async {
//!         Ok::<_, Error<Infallible>>(Response::new(Full::new(Bytes::from("a long file"))))
//!     }));
//!
//! let answer = download.oneshot("/file").await?;
//! assert_eq!(bulkhead.in_flight(), 1, "the body is still to come");
//! answer.into_body().collect().await?;
//! assert_eq!(bulkhead.in_flight(), 0);
//! # Ok(())
//! # }
//! # main().unwrap();
//! # }
//! ```
#[cfg(feature = "http")]
mod guarded;

#[cfg(feature = "http")]
pub use guarded::GuardedBody;

/// How far the calls through a layer reach, each with a guard `G`: what is kept for it, and counts it
/// as given up by the caller when it is dropped before it is told how the call ended.
pub trait Extent<Res, G>: Clone {
    /// Whether a call ends with the head of its answer. It is then told so where it lies, which is
    /// cheaper than to move it to [`hold`](Self::hold).
    const AT_HEAD: bool;

    /// What becomes of the answer.
    type Response;

    /// The answer of a call that goes on after its head.
    fn hold(&self, answer: Res, guard: G) -> Self::Response;

    /// The answer of a call that has ended, or that a policy rejected.
    fn pass(&self, answer: Res) -> Self::Response;
}

/// What can be kept for the body of an answer that had begun well.
#[cfg(feature = "http")]
pub trait BodyGuard {
    /// A body is to come.
    fn begin(&mut self) {}

    /// The body ended like this.
    fn end(self, ending: Ending<'_>);
}

/// How a body ended.
#[cfg(feature = "http")]
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Ending<'a> {
    /// Nothing was in it, and nothing came after it.
    Empty,
    /// All of it was read, and nothing came after it.
    Complete,
    /// All of it was read, and these trailers after it.
    Trailers(&'a http::HeaderMap),
    /// With an error.
    Broken,
}

/// A call ends when its answer begins; the default.
#[derive(Clone, Copy, Debug, Default)]
pub struct Head;

impl<Res, G> Extent<Res, G> for Head {
    const AT_HEAD: bool = true;

    type Response = Res;

    #[inline]
    fn hold(&self, answer: Res, _: G) -> Res {
        answer
    }

    #[inline]
    fn pass(&self, answer: Res) -> Res {
        answer
    }
}

/// A call ends with the body of its answer; made by `until_body_end()` on a layer.
#[cfg(feature = "http")]
#[derive(Clone, Copy, Debug, Default)]
pub struct BodyEnd;

#[cfg(feature = "http")]
impl<B: http_body::Body, G: BodyGuard> Extent<http::Response<B>, G> for BodyEnd {
    const AT_HEAD: bool = false;

    type Response = http::Response<GuardedBody<B, G>>;

    fn hold(&self, answer: http::Response<B>, guard: G) -> Self::Response {
        answer.map(|body| GuardedBody::new(body, guard))
    }

    fn pass(&self, answer: http::Response<B>) -> Self::Response {
        answer.map(GuardedBody::unguarded)
    }
}
