use super::super::layer::{Admits, RateLimitLayer, RateLimitService};
use super::{KeyedRateLimit, Shared};
use crate::error::PolicyError;
use crate::handle::Handle;
use octostack_core::SystemClock;
use std::hash::Hash;
use std::sync::Arc;

/// Finds the key of a request.
///
/// A closure `Fn(&Req) -> Option<K>` is one. `None` is a request without a key, which passes and is
/// not counted. It runs before any lock is taken.
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not find a key in `{Req}`",
    note = "use a closure `|request: &{Req}| Some(key)`, or implement `KeyExtractor<{Req}>`"
)]
pub trait KeyExtractor<Req> {
    /// What requests are told apart by; only its hash is kept.
    type Key: Hash;

    /// The key of `request`, if it has one.
    fn key(&self, request: &Req) -> Option<Self::Key>;
}

impl<Req, K, F> KeyExtractor<Req> for F
where
    F: Fn(&Req) -> Option<K>,
    K: Hash,
{
    type Key = K;

    #[inline]
    fn key(&self, request: &Req) -> Option<K> {
        self(request)
    }
}

/// A keyed rate limit, and how it finds the key of a request.
#[derive(Clone, Copy, Debug)]
pub struct By<E, H = Arc<Shared>> {
    limit: KeyedRateLimit<H>,
    key: E,
}

impl<E, H> By<E, H> {
    pub(super) fn new(limit: KeyedRateLimit<H>, key: E) -> Self {
        Self { limit, key }
    }
}

impl<Req, E, H> Admits<Req> for By<E, H>
where
    E: KeyExtractor<Req> + Clone,
    H: Handle<Shared>,
{
    #[inline]
    fn admits(&self, request: &Req, weight: u32) -> Result<(), PolicyError> {
        self.limit.shared.admit(|| self.key.key(request), weight, &SystemClock)
    }
}

/// The layer of a [`KeyedRateLimit`]; made by [`KeyedRateLimit::layer`]. `B` is a [`By`].
pub type KeyedRateLimitLayer<P, B> = RateLimitLayer<P, B>;

/// A service behind a keyed rate limit. `B` is a [`By`].
pub type KeyedRateLimitService<S, P, B> = RateLimitService<S, P, B>;
