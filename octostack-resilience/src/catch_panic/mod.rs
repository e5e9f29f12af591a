//! Turns a panic into an answer.
//!
//! # Why
//! A panic is a bug that shows in one request. In a server it unwinds to the task that serves the
//! connection: that connection closes, and with HTTP/2 all other requests on it die too. Their
//! clients see no status, and metrics by status see nothing. Caught, it is the failure of the one
//! request that met the bug.
//!
//! # How it works
//! * A panic in the inner `call`, or in a poll of its future, is answered with
//!   [`Panicked`](crate::PolicyErrorKind::Panicked): HTTP 500, gRPC `INTERNAL`. Never with the text
//!   of the panic, which could say anything about anybody. Breakers further out count it as a
//!   failure, and retries may repeat it.
//! * The future is dropped before the answer is given. What panics once more while it is dropped is
//!   caught too.
//! * The registry gets an [event](octostack_core::inspect::Event) `panic` with the first
//!   [`max_message`](CatchPanicConfig::max_message) characters of the message. Events keep
//!   [`event_interval`](CatchPanicConfig::event_interval) apart; the next one says how many panics
//!   there were. Where it happened is told by the panic hook of the process, which runs as ever.
//!
//! | mode | what happens |
//! |---|---|
//! | `enforce` | as above |
//! | `shadow` | panics are counted and told, and go on |
//! | `disabled` | panics are counted and go on |
//!
//! # What it counts
//! Every call that ended is *permitted*. Its outcome is `success` if it did not panic, whatever its
//! result; `failure` if it did; `cancelled` if its caller went away. In shadow, `shadow_rejected`
//! counts the panics.
//!
//! # What state is left
//! Rust keeps memory safe through a panic, not the sense of what is in it. Nothing of the call that
//! panicked is used again: its future is dropped, and so is the service value if its `call`
//! panicked; a clone takes its place. What services share is another matter: a panic between two
//! changes that belong together leaves the first without the second. A `std::sync::Mutex` says so by
//! being poisoned, atomics and other locks do not. If your state cannot bear that, end the process:
//! `panic = "abort"` in the profile.
//!
//! # Where in the stack
//! Inbound, inside of what follows requests (metrics, log), so that they see a 500, and outside of
//! all else. Outbound, outside of the service that may panic and inside of the policies that should
//! take it for a failure.
//!
//! # What it costs
//! One load and one increment. No allocation, no lock, no clock.
//!
//! # What it does not do
//! Nothing under `panic = "abort"`: the process ends. It does not see panics in the readiness of the
//! service, in the body of a response, in tasks that were spawned elsewhere (their `JoinHandle` tells),
//! or in a destructor that runs because the caller went away.
//!
//! # Example
//! ```
//! use octostack_resilience::{CatchPanic, Error, PolicyErrorKind};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let panics = CatchPanic::builder("reports.panic_catch").build()?;
//!
//! let rows: Vec<u32> = Vec::new();
//! let buggy = async { Ok::<_, std::io::Error>(rows[0]) };
//! let Err(Error::Policy(error)) = panics.call(buggy).await else { panic!("not caught") };
//! assert_eq!(error.kind, PolicyErrorKind::Panicked);
//! assert_eq!(error.to_string(), "reports.panic_catch: the service panicked");
//!
//! // Code that is not asynchronous:
//! let error = panics.run(|| rows[0]).unwrap_err();
//! assert_eq!(error.kind, PolicyErrorKind::Panicked);
//! # Ok(())
//! # }
//! ```
mod builder;
mod config;
mod future;
mod layer;
mod run;
mod shared;
mod tally;

pub use builder::CatchPanicBuilder;
pub use config::CatchPanicConfig;
pub use future::{Call, ResponseFuture};
pub use layer::{CatchPanicLayer, CatchPanicService};
pub use shared::Shared;

use crate::error::{FromPolicy, MapError, PolicyError};
use crate::handle::Handle;
use crate::outcome::Outcome;
use crate::policy::policy_handle;
use crate::protocol::Plain;
use run::Run;
use std::sync::Arc;

/// A panic catch; see the [module docs](self).
///
/// Clones are cheap and share settings and counters.
#[derive(Clone, Copy, Debug)]
pub struct CatchPanic<H = Arc<Shared>> {
    shared: H,
}

policy_handle!(CatchPanic, CatchPanicBuilder, CatchPanicConfig, modes: "enforce, shadow and disabled");

impl<H: Handle<Shared>> CatchPanic<H> {
    /// A Tower layer around this policy. All services of all its layers share the counters.
    pub fn layer(&self) -> CatchPanicLayer<Plain, H> {
        CatchPanicLayer::new(self.clone())
    }

    /// Runs a future, and answers for it if it panics.
    ///
    /// If another policy guards the future already, use [`around`](Self::around).
    #[inline]
    pub fn call<F, T, E>(&self, future: F) -> Call<'_, MapError<F>>
    where
        F: Future<Output = Result<T, E>>,
    {
        self.around(MapError::new(future))
    }

    /// As [`call`](Self::call), around the call of another policy, or any future whose error can
    /// carry a policy's word; the error type stays as it is. The
    /// [module docs of errors](crate::error#calls-within-calls) show it.
    #[inline]
    pub fn around<F, T, E>(&self, future: F) -> Call<'_, F>
    where
        F: Future<Output = Result<T, E>>,
        E: FromPolicy,
    {
        ResponseFuture::running(Run::start(&*self.shared), future, Plain)
    }

    /// Runs code that is not asynchronous, and answers for it if it panics.
    ///
    /// # Errors
    /// [`Panicked`](crate::PolicyErrorKind::Panicked).
    #[inline]
    pub fn run<T>(&self, work: impl FnOnce() -> T) -> Result<T, PolicyError> {
        let mut run = Run::start(&*self.shared);
        let output = run.catching(work)?;
        run.end(Outcome::Success);
        Ok(output)
    }
}
