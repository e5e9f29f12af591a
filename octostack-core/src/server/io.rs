use super::link::{Link, Slot};
use crate::lifecycle::Step;
use pin_project_lite::pin_project;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

/// How long a closed connection waits for the peer to stop sending.
const LINGER: Duration = Duration::from_secs(1);

/// How much it reads away meanwhile.
const LINGER_BYTES: usize = 1024 * 1024;

pin_project! {
    /// A socket that tells its [`Link`] what happens on it.
    ///
    /// It owns the connection's slot, and not the task that serves it: after an upgrade the socket
    /// lives on without that task, and still counts.
    pub(super) struct Watched<I> {
        #[pin]
        inner: I,
        link: Arc<Link>,
        linger: Linger,
        // Two, since reads and writes may be two tasks of whoever has the connection now.
        cut_read: Cut,
        cut_write: Cut,
        // After `inner`: the slot is free once the socket is closed.
        _slot: Slot,
    }
}

/// What is left to do at a shutdown. A socket that is closed with unread bytes in it resets the
/// connection, or else once more arrive, and the reset can destroy our last answer before the peer
/// has read it. That is the case for every answer that does not wait for the end of the request,
/// such as a 413, and on HTTP/2, where the peer tells of the room that it has for more.
enum Linger {
    NotYet,
    Sent { read: usize, until: Option<Pin<Box<Sleep>>> },
    Done,
}

/// The cut of a connection that has gone over to another protocol. Nobody here has its task; so its
/// next read or write fails, and those that wait are woken.
#[derive(Default)]
struct Cut(Option<Pin<Box<dyn Future<Output = ()> + Send>>>);

impl Cut {
    fn check(&mut self, link: &Link, cx: &mut Context<'_>) -> io::Result<()> {
        if !link.is_handed_over() {
            return Ok(());
        }
        let is_due = link.stop.step() >= Step::CutStreams || {
            let due = || Box::pin(link.stop.reached(Step::CutStreams)) as Pin<Box<_>>;
            self.0.get_or_insert_with(due).as_mut().poll(cx).is_ready()
        };
        if is_due {
            link.cut_handed_over();
            let message = "the service ends, and the time for streams to end is over";
            return Err(io::Error::new(io::ErrorKind::ConnectionAborted, message));
        }
        Ok(())
    }
}

impl<I> Watched<I> {
    #[cfg(feature = "tls")]
    pub(super) fn link(&self) -> &Link {
        &self.link
    }

    pub(super) fn new(inner: I, link: Arc<Link>, slot: Slot) -> Self {
        Self {
            inner,
            link,
            linger: Linger::NotYet,
            cut_read: Cut::default(),
            cut_write: Cut::default(),
            _slot: slot,
        }
    }
}

impl<I: AsyncRead> AsyncRead for Watched<I> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.project();
        this.cut_read.check(this.link, cx)?;
        let before = buf.filled().len();
        let result = this.inner.poll_read(cx, buf);
        match &result {
            Poll::Ready(Ok(())) => this.link.read(&buf.filled()[before..]),
            Poll::Ready(Err(_)) => {}
            Poll::Pending => this.link.found_nothing(),
        }
        result
    }
}

impl<I: AsyncRead + AsyncWrite> AsyncWrite for Watched<I> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.project();
        this.cut_write.check(this.link, cx)?;
        let result = this.inner.poll_write(cx, buf);
        this.link.wrote(result.is_ready());
        result
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.project().inner.poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut this = self.project();
        if matches!(this.linger, Linger::NotYet) {
            ready!(this.inner.as_mut().poll_shutdown(cx))?;
            *this.linger = Linger::Sent { read: 0, until: None };
        }
        if let Linger::Sent { read, until } = this.linger {
            let owed = this.link.has_more_to_say();
            let over = poll_linger(this.inner, cx, read, until, owed).is_ready();
            this.link.lingers(!over);
            if !over {
                return Poll::Pending;
            }
            *this.linger = Linger::Done;
        }
        Poll::Ready(Ok(()))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.project();
        this.cut_write.check(this.link, cx)?;
        let result = this.inner.poll_write_vectored(cx, bufs);
        this.link.wrote(result.is_ready());
        result
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }
}

/// Reads away what still arrives. Without a sign that the peer is sending, once is enough: most
/// peers have nothing more to say, and should not hold a slot.
fn poll_linger<I: AsyncRead>(
    mut inner: Pin<&mut I>,
    cx: &mut Context<'_>,
    read: &mut usize,
    until: &mut Option<Pin<Box<Sleep>>>,
    owed: bool,
) -> Poll<()> {
    let mut space = [0; 4096];
    while *read < LINGER_BYTES {
        let mut buf = ReadBuf::new(&mut space);
        match inner.as_mut().poll_read(cx, &mut buf) {
            Poll::Ready(Ok(())) if !buf.filled().is_empty() => *read += buf.filled().len(),
            Poll::Ready(_) => return Poll::Ready(()),
            Poll::Pending if *read == 0 && !owed => return Poll::Ready(()),
            Poll::Pending => {
                let until = until.get_or_insert_with(|| Box::pin(tokio::time::sleep(LINGER)));
                return until.as_mut().poll(cx);
            }
        }
    }
    Poll::Ready(())
}
