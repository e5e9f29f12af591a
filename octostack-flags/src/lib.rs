//! Feature flags: declared in code, defined in a file in flagd's format, evaluated without waiting.
//!
//! # Why
//! A flag lets a change out step by step and takes it back at once. That needs four things: the
//! code has to work whatever the file says, so every flag has a default in code and reading it
//! cannot fail; one request has to see one world, so it is pinned to a snapshot; operators have to
//! see why a user got what they got, so every answer has a reason; and flags have to go away again,
//! so each says what it is for, whose it is and until when.
//!
//! # How
//! * [`flags!`] declares flags: typed `static`s with a default, a kind, an owner and an expiry.
//! * [`Flags::load`] takes a file, compiles its rules, and swaps them in as one [`Snapshot`]. A
//!   flag that is wrong is wrong alone; a file that is none leaves everything as it is.
//! * [`Flags::pin`] ties a snapshot to a [`Context`], for whom flags are evaluated. [`FlagsLayer`]
//!   does it for each request (feature `tower`).
//! * [`Flag::get`] reads: a look at a thread-local, the rule, and one increment of a counter.
//!
//! ```
//! use octostack_flags::{Context, Flags, flags};
//!
//! flags! {
//!     /// The new checkout.
//!     NEW_CHECKOUT: bool = false, kind = release, owner = "shop", expires = "2027-03-01";
//! }
//!
//! let flags = Flags::builder().build();
//! let file = br#"{"flags": {"new-checkout": {
//!     "state": "ENABLED",
//!     "variants": {"on": true, "off": false},
//!     "defaultVariant": "off",
//!     "targeting": {"if": [{"==": [{"var": "plan"}, "pro"]}, "on", null]}
//! }}}"#;
//! let loaded = flags.load(file, "flags.json")?;
//! assert!(loaded.problems.is_empty());
//!
//! let on = |plan| flags.pin(Context::new().with("plan", plan)).scope(|| NEW_CHECKOUT.is_on());
//! assert!(on("pro"));
//! assert!(!on("free"));
//! # Ok::<(), octostack_flags::LoadError>(())
//! ```
//!
//! # What rules can do
//! The operators of JSON logic `var`, `if` (`?:`), `==`, `===`, `!=`, `!==`, `!`, `!!`, `and`,
//! `or`, `<`, `<=`, `>`, `>=`, `in` and `cat`, and of flagd's own `fractional`, `starts_with`,
//! `ends_with` and `$ref`. They convert values as JavaScript does, which the format comes from. A
//! rule with any other operator is an error of its flag.
//!
//! # What it costs
//! An evaluation takes no lock and does not allocate: a text that a rule puts together with `cat` is
//! hashed and compared without being put together. It allocates only where such a text is searched
//! or ordered, and where V3 hashes a map. What a rule may cost is bounded when it is compiled. To
//! pin takes a short lock.
//!
//! # Features
//!
//! | feature | default | adds |
//! |---|---|---|
//! | `serde` | no | [`Bucketing`] can be read from config |
//! | `tower` | no | [`FlagsLayer`], for HTTP services |
#![cfg_attr(docsrs, feature(doc_cfg))]

pub mod bucketing;
mod context;
mod declared;
mod definition;
mod entry;
mod evaluation;
mod handle;
mod json;
#[cfg(feature = "tower")]
pub mod layer;
mod pin;
mod rule;
mod snapshot;
mod store;
mod variant;

pub use bucketing::{Bucketing, Split, Unit};
pub use context::Context;
pub use declared::{About, FlagKind};
pub use definition::{LoadError, MAX_BYTES};
pub use evaluation::{ErrorCode, Reason};
pub use handle::{Details, Flag, FlagType};
#[cfg(feature = "tower")]
pub use layer::FlagsLayer;
pub use pin::{Carried, Pinned, carry, current, set_attribute, set_targeting_key};
pub use snapshot::{Evaluation, Snapshot};
pub use store::{Flags, FlagsBuilder, Loaded};
pub use variant::{Text, VariantValue};

/// What [`flags!`] expands to.
#[doc(hidden)]
pub mod __private {
    pub use crate::declared::{Declaration, kebab};
    pub use inventory::submit;
}
