//! One id for each request, to find it again in logs, in traces and at the caller.
//!
//! An incoming `x-request-id` is kept if it is 1 to 128 characters of `[A-Za-z0-9._-]`: that is
//! every format in use, and nothing that could break a log line, a header or a shell. Any other is
//! ignored and a new one made. The id is in the request's extensions as [`RequestId`] and on the
//! response, also where the service has set one itself, since it is the one in the logs.
//!
//! A new id is a UUID of version 7 (RFC 9562): its first half is the time, so ids sort by it and
//! two instances cannot repeat each other's sequence. It is not a secret and must not be used as
//! one: its other half comes from a fast generator that can be predicted.
//!
//! Where: outermost, so that no response leaves without an id. Cost: for a request that brings an
//! id its header value is shared, not copied; a new id is one allocation.
//!
//! ```
//! use std::convert::Infallible;
//! use http::{Request, Response};
//! use octostack_telemetry::http::{RequestId, RequestIdLayer};
//! use tower::{Layer, ServiceExt, service_fn};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Infallible> {
//! let service = RequestIdLayer::new().layer(service_fn(|request: Request<()>| async move {
//!     let id = request.extensions().get::<RequestId>().map_or("unknown", RequestId::as_str);
//!     Ok::<_, Infallible>(Response::new(format!("this is {id}")))
//! }));
//!
//! let request = Request::builder().header("x-request-id", "checkout-17").body(()).unwrap();
//! let response = service.clone().oneshot(request).await?;
//! assert_eq!(response.headers()["x-request-id"], "checkout-17");
//! assert_eq!(response.body(), "this is checkout-17");
//!
//! let request = Request::builder().header("x-request-id", "a\"b}").body(()).unwrap();
//! let response = service.oneshot(request).await?;
//! assert_eq!(response.headers()["x-request-id"].len(), 36);
//! # Ok(())
//! # }
//! ```
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use pin_project_lite::pin_project;
use std::fmt::{self, Write as _};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{SystemTime, UNIX_EPOCH};
use tower_layer::Layer;
use tower_service::Service;

/// The header that carries the id, in both directions.
pub const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The longest id that is kept.
const LONGEST: usize = 128;

/// The id of a request. Cheap to clone.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct RequestId(HeaderValue);

impl RequestId {
    /// A new id.
    pub fn random() -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let millis = now.map_or(0, |now| now.as_millis());
        Self::from_parts(millis, fastrand::u128(..))
    }

    /// An id of the given text. `None` unless it is 1 to 128 characters of `[A-Za-z0-9._-]`.
    pub fn parse(text: &str) -> Option<Self> {
        let value = HeaderValue::from_str(text).ok()?;
        is_harmless(&value).then_some(Self(value))
    }

    /// The id of a request with these headers, if they bring one that may be kept. Where there are
    /// several, the first counts.
    pub fn from_headers(headers: &HeaderMap) -> Option<Self> {
        let value = headers.get(X_REQUEST_ID)?;
        is_harmless(value).then(|| Self(value.clone()))
    }

    /// Its text.
    pub fn as_str(&self) -> &str {
        // Always text: no other bytes get past the checks above.
        self.0.to_str().unwrap_or_default()
    }

    /// Its text as the value of a header.
    pub const fn as_header(&self) -> &HeaderValue {
        &self.0
    }

    fn from_parts(millis: u128, random: u128) -> Self {
        const VERSION: u128 = 0x7 << 76;
        const VARIANT: u128 = 0b10 << 62;
        let random = random & !(0xffff_ffff_ffff << 80) & !(0xf << 76) & !(0b11 << 62);
        let uuid = (millis << 80) | VERSION | VARIANT | random;
        let mut text = String::with_capacity(36);
        for (i, byte) in uuid.to_be_bytes().into_iter().enumerate() {
            let hyphen = if matches!(i, 4 | 6 | 8 | 10) { "-" } else { "" };
            let _ = write!(text, "{hyphen}{byte:02x}");
        }
        // Hexadecimal digits and hyphens are a header value in every case.
        Self(HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static("unknown")))
    }
}

fn is_harmless(value: &HeaderValue) -> bool {
    (1..=LONGEST).contains(&value.len())
        && value.as_bytes().iter().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(byte))
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RequestId({self})")
    }
}

/// Gives each request an id; see the [module docs](self).
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct RequestIdLayer;

impl RequestIdLayer {
    /// The layer. It has no settings.
    pub const fn new() -> Self {
        Self
    }
}

impl<S> Layer<S> for RequestIdLayer {
    type Service = RequestIdService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        RequestIdService { inner }
    }
}

/// The service of a [`RequestIdLayer`].
#[derive(Clone, Debug)]
pub struct RequestIdService<S> {
    inner: S,
}

impl<S, Req, Res> Service<Request<Req>> for RequestIdService<S>
where
    S: Service<Request<Req>, Response = Response<Res>>,
{
    type Response = Response<Res>;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future>;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    #[inline]
    fn call(&mut self, mut request: Request<Req>) -> Self::Future {
        let id = RequestId::from_headers(request.headers()).unwrap_or_else(RequestId::random);
        request.extensions_mut().insert(id.clone());
        ResponseFuture { inner: self.inner.call(request), id: Some(id) }
    }
}

pin_project! {
    /// Future of a [`RequestIdService`].
    #[derive(Debug)]
    #[must_use = "futures do nothing unless polled"]
    pub struct ResponseFuture<F> {
        #[pin]
        inner: F,
        id: Option<RequestId>,
    }
}

impl<F, B, E> Future for ResponseFuture<F>
where
    F: Future<Output = Result<Response<B>, E>>,
{
    type Output = F::Output;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let mut response = ready!(this.inner.poll(cx))?;
        if let Some(id) = this.id.take() {
            response.headers_mut().insert(X_REQUEST_ID, id.0);
        }
        Poll::Ready(Ok(response))
    }
}

#[cfg(test)]
mod tests;
