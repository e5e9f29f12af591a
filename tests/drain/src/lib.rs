//! Ends a server while clients of every kind use it, and counts the requests that are lost.
//!
//! A request is lost if it was written whole on a connection that the server had accepted and no
//! complete answer came. The binary `drain-kit` starts any server command, lets clients ask it,
//! sends it SIGTERM in the middle, and prints what became of each request; see [`kit::run`]. What
//! a server has to offer for that is in `README.md`; [`routes`] is it in Axum and tonic.
//!
//! ```
//! use octostack_drain::clients::Client;
//! use octostack_drain::kit::{self, Plan};
//! use octostack_drain::proxy::Via;
//!
//! # async fn measure() -> Result<(), octostack_drain::BoxError> {
//! let plan = Plan {
//!     clients: vec![Client::KeepAlive, Client::Sse],
//!     vias: vec![Via::Direct],
//!     ..Plan::new("target/debug/my-server --quiet")
//! };
//! let report = kit::run(&plan).await?;
//! println!("{}", report.markdown());
//! assert_eq!(report.lost(), 0);
//! # Ok(())
//! # }
//! ```
pub mod clients;
pub mod kit;
pub mod proxy;
pub mod report;
pub mod routes;
mod server;
mod tally;
mod wire;

/// Any error: the kit tells people, who do not match on it.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;
