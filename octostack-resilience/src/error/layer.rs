use super::Error;
use pin_project_lite::pin_project;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use tower_layer::Layer;
use tower_service::Service;

/// Turns any error of a service into [`Error<E>`], so that policies further out can answer with it.
///
/// Put it innermost, once: the error type passes through everything outside it and does not nest.
///
/// ```
/// use octostack_resilience::{CircuitBreaker, Error, error};
/// use tower::{ServiceBuilder, ServiceExt, service_fn};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let breaker = CircuitBreaker::builder("files").build()?;
/// let read = ServiceBuilder::new()
///     .layer(breaker.layer())
///     .layer(error::layer()) // io::Error knows nothing of policies
///     .service(service_fn(|path: &'static str| async move { std::fs::read(path) }));
///
/// let error: Error<std::io::Error> = read.oneshot("/does/not/exist").await.unwrap_err();
/// assert!(matches!(error, Error::Inner(_)));
/// # Ok(())
/// # }
/// ```
pub const fn layer() -> ErrorLayer {
    ErrorLayer
}

/// The layer that [`layer()`] makes.
#[derive(Clone, Copy, Debug, Default)]
pub struct ErrorLayer;

impl<S> Layer<S> for ErrorLayer {
    type Service = ErrorService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        ErrorService { inner }
    }
}

/// A service whose errors are [`Error<E>`].
#[derive(Clone, Copy, Debug)]
pub struct ErrorService<S> {
    inner: S,
}

impl<S: Service<Req>, Req> Service<Req> for ErrorService<S> {
    type Response = S::Response;
    type Error = Error<S::Error>;
    type Future = MapError<S::Future>;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx).map_err(Error::Inner)
    }

    #[inline]
    fn call(&mut self, request: Req) -> Self::Future {
        MapError::new(self.inner.call(request))
    }
}

pin_project! {
    /// A future whose errors are [`Error<E>`].
    #[derive(Debug)]
    #[must_use = "futures do nothing unless polled"]
    pub struct MapError<F> {
        #[pin]
        future: F,
    }
}

impl<F> MapError<F> {
    #[inline]
    pub(crate) fn new(future: F) -> Self {
        Self { future }
    }
}

impl<F: Future<Output = Result<T, E>>, T, E> Future for MapError<F> {
    type Output = Result<T, Error<E>>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.project().future.poll(cx).map_err(Error::Inner)
    }
}
