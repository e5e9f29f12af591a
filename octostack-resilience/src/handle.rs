use std::ops::Deref;
use std::sync::Arc;

/// How a policy, its layers and its permits point to the state that they share.
///
/// Every policy is generic over it: an `Arc` by default, or a plain `&'static` after `leak()`,
/// which is `Copy` and saves two reference counts a call.
pub trait Handle<T>: Clone + Deref<Target = T> {}

impl<T, P: Clone + Deref<Target = T>> Handle<T> for P {}

/// Gives up ownership of a policy's state for the rest of the process.
pub(crate) fn leak<T>(shared: Arc<T>) -> &'static T {
    // The `Arc` itself is leaked, not only its contents, so that weak references stay valid.
    Box::leak(Box::new(shared))
}
