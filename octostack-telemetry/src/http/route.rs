//! Where the route of a request comes from: the pattern such as `/orders/{id}`, never the path.
//!
//! A path is written by the client, a pattern by the program; only the pattern may be a label.
//! With axum, [`AxumRoute`] reads the pattern that the router has matched. A service without router
//! is a [`FixedRoute`]. Anything else is an implementation of [`RouteFrom`]:
//!
//! ```
//! use http::Request;
//! use octostack_telemetry::http::route::RouteFrom;
//!
//! /// Two tenants of one listener.
//! #[derive(Clone, Copy)]
//! struct ByPrefix;
//!
//! impl RouteFrom for ByPrefix {
//!     fn route<'a, B>(&'a self, request: &'a Request<B>) -> Option<&'a str> {
//!         ["/shop", "/stock"].into_iter().find(|prefix| request.uri().path().starts_with(prefix))
//!     }
//! }
//!
//! let request = Request::builder().uri("/shop/4711").body(()).unwrap();
//! assert_eq!(ByPrefix.route(&request), Some("/shop"));
//! ```
use http::Request;

/// The route of requests that no route matches.
pub const UNMATCHED: &str = "unmatched";

/// Tells the route of a request.
pub trait RouteFrom {
    /// The route, out of a set that the program knows. `None` if nothing matches; it is shown as
    /// [`UNMATCHED`] then.
    fn route<'a, B>(&'a self, request: &'a Request<B>) -> Option<&'a str>;
}

/// One route for all requests, for services without a router.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FixedRoute(pub &'static str);

impl RouteFrom for FixedRoute {
    #[inline]
    fn route<'a, B>(&'a self, _request: &'a Request<B>) -> Option<&'a str> {
        Some(self.0)
    }
}

/// The route that axum's router has matched.
///
/// Add the layer with `Router::layer` after the routes. Around the whole router nothing is matched
/// yet, and `route_layer` leaves out the requests that no route matches.
#[cfg(feature = "axum")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AxumRoute;

#[cfg(feature = "axum")]
impl RouteFrom for AxumRoute {
    #[inline]
    fn route<'a, B>(&'a self, request: &'a Request<B>) -> Option<&'a str> {
        let matched = request.extensions().get::<axum::extract::MatchedPath>()?;
        Some(matched.as_str())
    }
}
