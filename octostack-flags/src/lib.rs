//! Feature flags.
//!
//! So far this is the ground that a percentage rollout stands on: [`bucketing`] says which part of
//! a split a user falls into, the same on every instance and in every language.
//!
//! ```
//! use octostack_flags::{Bucketing, Split, Unit};
//!
//! let split = Split::new([10, 90])?; // on for 10 %, off for the rest
//! let unit = Unit::Targeting { flag: "new-checkout", key: "user-42" };
//! let is_on = Bucketing::V2.part(unit, &split) == Some(0);
//! assert!(!is_on);
//! # Ok::<(), octostack_flags::bucketing::SplitError>(())
//! ```
#![cfg_attr(docsrs, feature(doc_cfg))]

pub mod bucketing;

pub use bucketing::{Bucketing, Split, Unit};
