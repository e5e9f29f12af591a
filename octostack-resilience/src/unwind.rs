//! A panic ends a call when it happens, not when what it leaves behind is dropped.
use std::mem;

/// Runs `work`, which belongs to `call`; if it panics, `end` is told while it unwinds.
///
/// Whoever catches the panic may keep the future and drop it later. From the drop alone it would
/// then look as if the caller had gone away.
#[inline]
pub(crate) fn ending_on_panic<C, R>(
    call: &mut C,
    end: impl FnMut(&mut C),
    work: impl FnOnce() -> R,
) -> R {
    let armed = Armed { call, end };
    let result = work();
    mem::forget(armed);
    result
}

/// Only dropped by a panic.
struct Armed<'a, C, E: FnMut(&mut C)> {
    call: &'a mut C,
    end: E,
}

impl<C, E: FnMut(&mut C)> Drop for Armed<'_, C, E> {
    fn drop(&mut self) {
        (self.end)(self.call);
    }
}
