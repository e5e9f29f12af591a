//! What policies answer to gRPC. Routes speak HTTP and gRPC on one port, so the policies in front
//! of them answer for HTTP, and here that is said in gRPC where the request was in gRPC.
use http::{HeaderMap, Request, Response, header};
use octostack_resilience::{Grpc, PolicyError, Protocol};
use pin_project_lite::pin_project;
use std::pin::Pin;
use std::task::{Context, Poll};
use tower_layer::Layer;
use tower_service::Service;

/// Stands around the policies, and within what follows a request to its end.
#[derive(Clone, Copy, Debug)]
pub(super) struct GrpcAnswersLayer;

impl<S> Layer<S> for GrpcAnswersLayer {
    type Service = GrpcAnswers<S>;

    fn layer(&self, inner: S) -> GrpcAnswers<S> {
        GrpcAnswers { inner }
    }
}

#[derive(Clone, Debug)]
pub(super) struct GrpcAnswers<S> {
    inner: S,
}

impl<S, Req, B> Service<Request<Req>> for GrpcAnswers<S>
where
    S: Service<Request<Req>, Response = Response<B>>,
    B: Default,
{
    type Response = Response<B>;
    type Error = S::Error;
    type Future = GrpcAnswersFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Req>) -> Self::Future {
        let grpc = is_grpc(request.headers());
        GrpcAnswersFuture { inner: self.inner.call(request), grpc }
    }
}

fn is_grpc(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE);
    kind.is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"))
}

pin_project! {
    /// The future of [`GrpcAnswers`].
    pub(super) struct GrpcAnswersFuture<F> {
        #[pin]
        inner: F,
        grpc: bool,
    }
}

impl<F, B, E> Future for GrpcAnswersFuture<F>
where
    F: Future<Output = Result<Response<B>, E>>,
    B: Default,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let grpc = *this.grpc;
        this.inner.poll(cx).map(|output| match output {
            Ok(mut response) if grpc => match response.extensions_mut().remove::<PolicyError>() {
                Some(error) => Grpc.reject(error),
                None => Ok(response),
            },
            output => output,
        })
    }
}
