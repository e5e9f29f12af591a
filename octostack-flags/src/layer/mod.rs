//! Pins the flags of each request.
//!
//! # Why
//! A request that reads a flag twice has to read the same twice, also if the file is replaced in
//! between. And a flag is evaluated for somebody, who should be named in one place.
//!
//! # How
//! When a request comes in, the layer takes the snapshot of that moment and makes a [`Context`] of
//! the request. While the handler runs, and while the body of its response is sent, every
//! [`Flag`](crate::Flag) that is read on its behalf reads those. A task that the handler spawns
//! reads them if it is spawned with [`carry`](crate::carry). A handler that learns only later who
//! asks says so with [`set_targeting_key`](crate::set_targeting_key).
//!
//! # Where in the stack
//! Innermost, next to the handler; after what authenticates, if the context is made of that.
//!
//! # What it costs
//! A short lock and a reference count for the snapshot, and what your function for the context
//! does. Each poll moves a few words to a thread-local and back. No allocation.
//!
//! # What it does not do
//! It takes nothing from the client that your function does not take. A destructor that runs
//! because the request was given up reads flags as outside of a request.
//!
//! # Example
//! ```
//! use http::{Request, Response};
//! use octostack_flags::{Context, Flags, FlagsLayer, flags};
//! use tower::{ServiceBuilder, ServiceExt, service_fn};
//!
//! flags! {
//!     /// Says hello in the new way.
//!     NEW_GREETING: bool = false, kind = release, owner = "greeters", expires = "2027-03-01";
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let flags = Flags::builder().build();
//! flags.load(
//!     br#"{"flags": {"new-greeting": {
//!         "state": "ENABLED", "variants": {"on": true, "off": false}, "defaultVariant": "off",
//!         "targeting": {"if": [{"in": [{"var": "targetingKey"}, ["ann", "bob"]]}, "on"]}
//!     }}}"#,
//!     "flags.json",
//! )?;
//! let user = |parts: &http::request::Parts| {
//!     let user = parts.headers.get("x-user").and_then(|user| user.to_str().ok());
//!     user.map_or_else(Context::new, |user| Context::new().with_targeting_key(user.to_owned()))
//! };
//! let service = ServiceBuilder::new()
//!     .layer(FlagsLayer::new(&flags).context(user))
//!     .service(service_fn(|_: Request<()>| async {
//!         let greeting = if NEW_GREETING.is_on() { "ahoy" } else { "hello" };
//!         Ok::<_, std::convert::Infallible>(Response::new(greeting.to_owned()))
//!     }));
//!
//! let request = Request::get("/").header("x-user", "ann").body(())?;
//! assert_eq!(service.oneshot(request).await?.into_body().inner(), "ahoy");
//! # Ok(())
//! # }
//! ```
mod body;
mod future;
mod service;

pub use body::PinnedBody;
pub use future::ResponseFuture;
pub use service::FlagsService;

use crate::{Context, Flags};
use http::request::Parts;
use std::fmt;
use tower_layer::Layer;

/// Says for whom the flags of a request are evaluated: any function from the head of a request to
/// a context. `()` is a context that says nothing.
pub trait ContextSource: Clone {
    /// The context of a request.
    fn context(&self, parts: &Parts) -> Context;
}

impl ContextSource for () {
    fn context(&self, _: &Parts) -> Context {
        Context::new()
    }
}

impl<F: Fn(&Parts) -> Context + Clone> ContextSource for F {
    fn context(&self, parts: &Parts) -> Context {
        self(parts)
    }
}

/// Pins the flags of each request; see the [module docs](self).
#[derive(Clone)]
pub struct FlagsLayer<C = ()> {
    flags: Flags,
    context: C,
}

impl FlagsLayer {
    /// A layer that pins `flags`, with an empty context.
    pub fn new(flags: &Flags) -> Self {
        Self { flags: flags.clone(), context: () }
    }
}

impl<C> FlagsLayer<C> {
    /// Makes the context of each request with `context`.
    pub fn context<D: ContextSource>(self, context: D) -> FlagsLayer<D> {
        FlagsLayer { flags: self.flags, context }
    }
}

impl<S, C: ContextSource> Layer<S> for FlagsLayer<C> {
    type Service = FlagsService<S, C>;

    fn layer(&self, inner: S) -> Self::Service {
        FlagsService::new(inner, self.flags.clone(), self.context.clone())
    }
}

impl<C> fmt::Debug for FlagsLayer<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FlagsLayer").field("flags", &self.flags).finish_non_exhaustive()
    }
}
