//! OctoStack
pub use octostack_core as core;
