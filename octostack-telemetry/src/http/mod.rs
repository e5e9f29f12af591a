//! Layers for HTTP servers.
pub mod observe;
