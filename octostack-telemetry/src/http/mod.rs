//! Layers for HTTP servers: what happened to each request, and which request it was.
//!
//! | module | gives |
//! |---|---|
//! | [`red`] | rate, errors and duration of requests, and how many are in flight |
//! | [`request_id`] | one id for each request, kept from a caller that sends a harmless one |
//! | [`in_flight`] | which requests are in flight |
//! | [`observe`] | the guard that follows a request to its end, to build more on |
//! | [`route`] | where the route of a request comes from |
//! | [`method`] | methods as label values |
//!
//! Nothing here puts text of a client into a label or a log line: not the path, not the host, not
//! an unknown method.
pub mod in_flight;
pub mod method;
pub mod observe;
pub mod red;
pub mod request_id;
pub mod route;

pub use in_flight::Tracked;
pub use red::RedLayer;
pub use request_id::{RequestId, RequestIdLayer};
