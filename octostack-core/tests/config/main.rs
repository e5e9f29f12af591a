//! Settings as a service meets them: files on disk, variables, one report.
#![cfg(feature = "config")]
#![allow(clippy::unwrap_used, reason = "helpers of tests are not seen as tests")]

mod beaten_secrets;
mod constraints;
mod dotenv;
mod env;
mod files;
mod reference;
mod references;
mod report;
mod secrets;
mod shapes;
mod support;
mod truncate;
