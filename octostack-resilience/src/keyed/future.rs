use crate::extent::Extent;
use pin_project_lite::pin_project;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll};

/// A policy for each key, and how the key of a request is found.
#[derive(Clone, Copy, Debug)]
pub struct OwnKey<L, E> {
    pub(crate) policy: L,
    pub(crate) key: E,
}

pin_project! {
    /// The future of a service behind a keyed policy: `G` under the unit of its key, or `F` of a
    /// request that has no key.
    #[must_use = "futures do nothing unless polled"]
    pub struct KeyedFuture<G, F, X, V> {
        #[pin]
        call: Call<G, F, X>,
        guard: PhantomData<fn() -> V>,
    }
}

pin_project! {
    #[project = Projection]
    enum Call<G, F, X> {
        Guarded { #[pin] future: G },
        Unguarded { #[pin] future: F, reach: X },
    }
}

impl<G, F, X, V> KeyedFuture<G, F, X, V> {
    #[inline]
    pub(crate) fn guarded(future: G) -> Self {
        Self { call: Call::Guarded { future }, guard: PhantomData }
    }

    #[inline]
    pub(crate) fn unguarded(future: F, reach: X) -> Self {
        Self { call: Call::Unguarded { future, reach }, guard: PhantomData }
    }
}

impl<G, F, X, V, Res, Err> Future for KeyedFuture<G, F, X, V>
where
    G: Future<Output = Result<X::Response, Err>>,
    F: Future<Output = Result<Res, Err>>,
    X: Extent<Res, V>,
{
    type Output = G::Output;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().call.project() {
            Projection::Guarded { future } => future.poll(cx),
            Projection::Unguarded { future, reach } => {
                future.poll(cx).map_ok(|answer| reach.pass(answer))
            }
        }
    }
}
