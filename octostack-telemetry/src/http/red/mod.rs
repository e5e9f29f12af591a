//! Rate, errors and duration of the requests of an HTTP server.
//!
//! Two metrics, by their OpenTelemetry names as Prometheus spells them:
//!
//! | metric | labels |
//! |---|---|
//! | `http_server_request_duration_seconds` (histogram) | `http_request_method`, `http_route`, `http_response_status_code`, `error_type` |
//! | `http_server_active_requests` (gauge) | `http_request_method` |
//!
//! Every request that arrives is in the histogram once, also those that the client gave up on,
//! that panicked, or that ended in an error. Until its end it is in the gauge.
//!
//! * The duration ends with the response body: a request is in the gauge first and then in the
//!   histogram. Only for a response that streams (see [`observe`](super::observe)) it ends with the
//!   headers: a live stream is in both, and how it ends shows in neither.
//! * `error_type` is empty for a success and for any 4xx, the status for a 5xx, and else `error`
//!   (the service returned one), `body_error`, `cancelled` or `panic`. The status code is empty if
//!   no response was made.
//! * Labels hold nothing that a client chooses: unknown methods are `_OTHER`, requests without a
//!   route `unmatched`, and host, user agent and peer are not there at all. A route that the
//!   program makes up without end is stopped by the limit of the registry.
//!
//! Where: outside of everything that may answer, inside of what sets the request id. It does not
//! measure sizes, and does not look into gRPC trailers.
//!
//! Cost: once a route has answered with a status before, no allocation and no lock: two readings of
//! the clock, four additions to memory of the thread's own, a comparison of the route's text, and
//! the response moved once. That is about 120 ns where the two readings alone take 47. Share them
//! with an access event by making a pair (see [`observe`](super::observe)), and save the reference
//! counts by [`leak`](RedLayer::leak). Around an axum router the wrapped body is boxed once more.
//!
//! ```
//! use http::{Request, Response, StatusCode};
//! use http_body_util::Full;
//! use octostack_telemetry::http::RedLayer;
//! use octostack_telemetry::http::route::FixedRoute;
//! use octostack_telemetry::metrics::Metrics;
//! use tower::{Layer, ServiceExt, service_fn};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let metrics = Metrics::new();
//! let red = RedLayer::new(&metrics)?.route_from(FixedRoute("/price"));
//!
//! let service = red.layer(service_fn(|_: Request<()>| async {
//!     Ok::<_, std::io::Error>(Response::new(Full::new(&b"4.20"[..])))
//! }));
//! let response = service.oneshot(Request::new(())).await?;
//! assert_eq!(response.status(), StatusCode::OK);
//! drop(response); // nobody read the body
//!
//! let page = metrics.encode();
//! assert!(page.contains(
//!     "http_server_request_duration_seconds_count{error_type=\"cancelled\",\
//!      http_request_method=\"GET\",http_response_status_code=\"200\",http_route=\"/price\"} 1\n"
//! ));
//! assert!(page.contains("http_server_active_requests{http_request_method=\"GET\"} 0\n"));
//! # Ok(())
//! # }
//! ```
//!
//! Around an axum router:
//!
#![cfg_attr(feature = "axum", doc = "```")]
#![cfg_attr(not(feature = "axum"), doc = "```ignore")]
//! use axum::{Router, routing::get};
//! use octostack_telemetry::http::RedLayer;
//! use octostack_telemetry::http::route::AxumRoute;
//! # let metrics = octostack_telemetry::metrics::Metrics::new();
//!
//! let app: Router = Router::new()
//!     .route("/orders/{id}", get(|| async { "an order" }))
//!     .layer(RedLayer::new(&metrics)?.route_from(AxumRoute));
//! # Ok::<(), octostack_telemetry::metrics::MetricError>(())
//! ```
mod layer;
mod series;
#[cfg(test)]
#[cfg(not(octostack_loom))]
mod tests;

pub use layer::{RedLayer, RedReport, RedService};
pub use series::Shared;
