//! Telemetry of OctoStack: what a service tells about itself, correct under attack and cancellation.
#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(feature = "http")]
pub mod http;
#[cfg(feature = "logs")]
pub mod logs;
pub mod metrics;
