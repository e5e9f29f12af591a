use std::future::{Ready, ready};
use std::sync::Arc;

/// What is kept of a request, for an answer in place of the service's.
pub trait Keep<Req>: Clone {
    /// What the inner service gets.
    type Sent;

    /// What is kept of the request until the answer is there.
    type Kept;

    /// Hands the request on. `keep` is `false` if no answer will be replaced. Keeps nothing if the
    /// request cannot or must not be used again: its answer then stays as it is.
    fn first(&self, request: Req, keep: bool) -> (Self::Sent, Option<Self::Kept>);
}

/// What answers in place of a service.
///
/// [`Value`], [`With`], [`WithRequest`] and `Other` do; cloned for each call, so keep it small.
pub trait Alternative<Req, Res, Err>: Keep<Req> {
    /// How it answers.
    type Future: Future<Output = Result<Res, Err>>;

    /// Answers in place of `failed`. The future that gave it is gone.
    ///
    /// # Errors
    /// The failed answer, if there turns out to be none in its place.
    fn answer(
        &self,
        kept: Self::Kept,
        failed: Result<Res, Err>,
    ) -> Result<Self::Future, Result<Res, Err>>;
}

/// Answers with clones of a value; made by [`Fallback::value`](super::Fallback::value).
#[derive(Debug)]
pub struct Value<V> {
    value: Arc<V>,
}

impl<V> Value<V> {
    pub(super) fn new(value: V) -> Self {
        Self { value: Arc::new(value) }
    }
}

impl<V> Clone for Value<V> {
    fn clone(&self) -> Self {
        Self { value: self.value.clone() }
    }
}

impl<Req, V> Keep<Req> for Value<V> {
    type Sent = Req;
    type Kept = ();

    #[inline]
    fn first(&self, request: Req, keep: bool) -> (Req, Option<()>) {
        (request, keep.then_some(()))
    }
}

impl<Req, Res: Clone, Err> Alternative<Req, Res, Err> for Value<Res> {
    type Future = Ready<Result<Res, Err>>;

    fn answer(&self, (): (), _failed: Result<Res, Err>) -> Result<Self::Future, Result<Res, Err>> {
        Ok(ready(Ok(Res::clone(&self.value))))
    }
}

/// Answers with what a function makes of the failed answer; made by
/// [`Fallback::with`](super::Fallback::with).
#[derive(Clone, Copy, Debug)]
pub struct With<F> {
    pub(super) function: F,
}

impl<Req, F: Clone> Keep<Req> for With<F> {
    type Sent = Req;
    type Kept = ();

    #[inline]
    fn first(&self, request: Req, keep: bool) -> (Req, Option<()>) {
        (request, keep.then_some(()))
    }
}

impl<Req, Res, Err, F> Alternative<Req, Res, Err> for With<F>
where
    F: Fn(Result<Res, Err>) -> Result<Res, Err> + Clone,
{
    type Future = Ready<Result<Res, Err>>;

    fn answer(&self, (): (), failed: Result<Res, Err>) -> Result<Self::Future, Result<Res, Err>> {
        Ok(ready((self.function)(failed)))
    }
}

/// As [`With`], with something of the request; made by
/// [`Fallback::with_request`](super::Fallback::with_request).
#[derive(Clone, Copy, Debug)]
pub struct WithRequest<K, F> {
    pub(super) keep: K,
    pub(super) function: F,
}

impl<Req, K, T, F> Keep<Req> for WithRequest<K, F>
where
    K: Fn(&Req) -> T + Clone,
    F: Clone,
{
    type Sent = Req;
    type Kept = T;

    #[inline]
    fn first(&self, request: Req, keep: bool) -> (Req, Option<T>) {
        let kept = keep.then(|| (self.keep)(&request));
        (request, kept)
    }
}

impl<Req, Res, Err, K, T, F> Alternative<Req, Res, Err> for WithRequest<K, F>
where
    K: Fn(&Req) -> T + Clone,
    F: Fn(T, Result<Res, Err>) -> Result<Res, Err> + Clone,
{
    type Future = Ready<Result<Res, Err>>;

    fn answer(&self, kept: T, failed: Result<Res, Err>) -> Result<Self::Future, Result<Res, Err>> {
        Ok(ready((self.function)(kept, failed)))
    }
}
