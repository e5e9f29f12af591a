//! Calls of others: a span around each, and its place in the trace handed on.
//!
//! The layer makes a span inside of the current one and writes its place into `traceparent` and
//! `tracestate` of the request, in place of what is there, so that what the other side does is part
//! of the same trace. The span is named by the gRPC method, such as
//! `shop.inventory.v1.Inventory/Stock`, or for HTTP by method and dependency, such as
//! `GET inventory`; it ends with the body of the response. What is logged while the call is polled
//! has `dependency`, and for gRPC `rpc.method`, in its context.
//!
//! Whether a request is gRPC is told by its `content-type`. The path of such a request is taken for
//! a name: make the layer around generated clients, not in a proxy, where strangers write the path.
//!
//! Where: outermost of a client's stack, so that a call is one span, with all its attempts. What
//! repeats a request copies its headers, so attempts are told apart by the span that each makes on
//! the other side.
//!
//! The span is of level `error` and target `octostack::call`. A filter that swallows it leaves the
//! surrounding span as what is handed on; outside of any span nothing is.
//!
//! ```
//! use http::{Request, Response};
//! use octostack_telemetry::trace::{ClientTraceLayer, TRACEPARENT, TraceContext, TraceLayer};
//! use tower::{Layer, ServiceExt, service_fn};
//! use tracing::{Instrument as _, info_span};
//! use tracing_subscriber::layer::SubscriberExt as _;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), std::convert::Infallible> {
//! # let subscriber = tracing_subscriber::registry().with(TraceLayer::default());
//! # let _guard = tracing::subscriber::set_default(subscriber);
//! let network = service_fn(|request: Request<()>| async move {
//!     let sent = request.headers()[TRACEPARENT].to_str().unwrap_or_default().to_owned();
//!     Ok::<_, std::convert::Infallible>(Response::new(sent))
//! });
//! let client = ClientTraceLayer::new("inventory").layer(network);
//!
//! let work = async {
//!     let here = TraceContext::current().expect("inside of a span");
//!     let response = client.oneshot(Request::new(())).await?;
//!     assert_eq!(response.status(), 200);
//! #   use http_body_util::BodyExt as _;
//! #   let body = response.into_body().collect().await.expect("a string").to_bytes();
//! #   let there: TraceContext = std::str::from_utf8(&body).expect("text").parse().expect("valid");
//! #   assert_eq!(here.trace_id(), there.trace_id());
//! #   assert_ne!(here.span_id(), there.span_id());
//!     Ok(())
//! };
//! work.instrument(info_span!("work")).await
//! # }
//! ```
use super::TraceContext;
use crate::http::method;
use crate::http::observe::{End, Observe, ObserveService, Report};
use http::{HeaderMap, Request, header};
use std::sync::Arc;
use tower_layer::Layer;
use tracing::Span;

const TARGET: &str = "octostack::call";

/// Puts a span around each call of a dependency and hands its place in the trace on; see the
/// [module docs](self).
#[derive(Clone, Debug)]
pub struct ClientTraceLayer {
    dependency: Arc<str>,
}

/// The service of a [`ClientTraceLayer`].
pub type ClientTraceService<S> = ObserveService<S, ClientTraceLayer>;

impl ClientTraceLayer {
    /// A layer for calls of the dependency of this name: the one that its config section has, not
    /// its address.
    pub fn new(dependency: impl Into<Arc<str>>) -> Self {
        Self { dependency: dependency.into() }
    }

    fn span<B>(&self, request: &Request<B>, grpc: bool) -> Span {
        let dependency = &*self.dependency;
        if grpc {
            let method = request.uri().path().trim_start_matches('/');
            tracing::error_span!(
                target: TARGET,
                "call",
                otel.name = method,
                otel.kind = "client",
                peer.service = dependency,
                rpc.system.name = "grpc",
                rpc.method = method,
            )
        } else {
            let method = method::name(request.method());
            tracing::error_span!(
                target: TARGET,
                "call",
                otel.name = %format_args!("{method} {dependency}"),
                otel.kind = "client",
                peer.service = dependency,
                http.request.method = method,
            )
        }
    }
}

impl<S> Layer<S> for ClientTraceLayer {
    type Service = ClientTraceService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        ObserveService::new(inner, self.clone())
    }
}

fn is_grpc(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE);
    kind.is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"))
}

impl Observe for ClientTraceLayer {
    type Report = ClientCall;

    #[inline]
    fn start<B>(&self, request: &mut Request<B>) -> ClientCall {
        let grpc = is_grpc(request.headers());
        let span = self.span(request, grpc);
        if let Some(context) = TraceContext::of(&span).or_else(TraceContext::current) {
            context.inject(request.headers_mut());
        }
        ClientCall {
            span,
            #[cfg(feature = "otlp")]
            grpc: grpc.then(super::otlp::GrpcStatus::default),
        }
    }
}

/// What a [`ClientTraceLayer`] keeps of one call.
#[derive(Debug)]
pub struct ClientCall {
    span: Span,
    /// For gRPC.
    #[cfg(feature = "otlp")]
    grpc: Option<super::otlp::GrpcStatus>,
}

impl Report for ClientCall {
    #[inline]
    fn within<T>(&mut self, poll: impl FnOnce() -> T) -> T {
        self.span.in_scope(poll)
    }

    #[cfg(feature = "otlp")]
    #[inline]
    fn response(&mut self, headers: &HeaderMap) {
        if let Some(grpc) = &mut self.grpc {
            grpc.read(headers); // an answer without body has its status here
        }
    }

    #[cfg(feature = "otlp")]
    #[inline]
    fn trailers(&mut self, trailers: &HeaderMap) {
        if let Some(grpc) = &mut self.grpc {
            grpc.read(trailers);
        }
    }

    #[inline]
    fn finish(&mut self, end: &End) {
        #[cfg(feature = "otlp")]
        super::otlp::call_ended(&self.span, end, self.grpc);
        let _ = end;
    }
}
