use std::ops::Deref;

/// A value on cache lines of its own, so that writes to it do not slow down its neighbours.
///
/// 128 bytes: x86 fetches lines in pairs, and some ARM cores have lines of that size.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct Padded<T>(pub(crate) T);

impl<T> Deref for Padded<T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        &self.0
    }
}
