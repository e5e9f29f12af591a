use super::Shared;
use super::hold::Hold;
use super::machine::Draw;
use crate::error::{FromPolicy, PolicyError};
use crate::handle::Handle;
use pin_project_lite::pin_project;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

pin_project! {
    /// The future of [`Chaos::around`](super::Chaos::around), and around a
    /// [`MapError`](crate::error::MapError) that of [`Chaos::call`](super::Chaos::call).
    #[must_use = "futures do nothing unless polled"]
    pub struct Call<F, H> {
        #[pin]
        hold: Option<Hold<H>>,
        error: Option<PolicyError>,
        #[pin]
        future: F,
    }
}

impl<F, H: Handle<Shared>> Call<F, H> {
    #[inline]
    pub(super) fn new(shared: &H, draw: Option<Draw>, future: F) -> Self {
        match draw {
            None => Self { hold: None, error: None, future },
            Some(draw) => {
                let error = draw.error.then(|| shared.error());
                Self { hold: Hold::new(shared, draw), error, future }
            }
        }
    }
}

impl<F, T, E, H> Future for Call<F, H>
where
    F: Future<Output = Result<T, E>>,
    E: FromPolicy,
    H: Handle<Shared>,
{
    type Output = Result<T, E>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        if let Some(hold) = this.hold.as_mut().as_pin_mut() {
            ready!(hold.poll(cx));
            this.hold.set(None);
        }
        match this.error.take() {
            Some(error) => Poll::Ready(Err(error.into())),
            None => this.future.poll(cx),
        }
    }
}
