//! HTTP/1.1 on a plain socket, so that it is known what has been written and what has come back.
use crate::tally::{Pending, Tally};
use octostack::core::{Clock, SystemClock};
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A server that had not closed the connection yet has read a request by then, and answers or
/// owes the answer. Sooner, request and close have crossed.
const CROSSING: Duration = Duration::from_millis(20);

/// A connection, and what was read of it beyond the last answer.
pub(crate) struct Wire {
    stream: TcpStream,
    buffer: Vec<u8>,
    opened: Instant,
    written: Instant,
    answers: u64,
    /// Something has come since the last write.
    heard: bool,
}

/// The head of an answer.
#[derive(Debug, Default)]
pub(crate) struct Head {
    pub(crate) status: u16,
    fields: Vec<(String, String)>,
}

impl Head {
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    /// The server takes no more requests on this connection.
    pub(crate) fn closes(&self) -> bool {
        self.get("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"))
    }

    fn parse(text: &str) -> Option<Self> {
        let mut lines = text.split("\r\n");
        let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
        let field = |line: &str| {
            let (name, value) = line.split_once(':')?;
            Some((name.to_ascii_lowercase(), value.trim().to_owned()))
        };
        Some(Self { status, fields: lines.filter_map(field).collect() })
    }
}

/// What to do after an answer, or its absence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// The next request on this connection.
    Again,
    /// The next request on another connection.
    Reopen,
    /// The server is gone.
    End,
}

impl Wire {
    pub(crate) async fn open(addr: SocketAddr) -> io::Result<Self> {
        let opened = SystemClock.now();
        let stream = TcpStream::connect(addr).await?;
        stream.set_nodelay(true)?;
        let buffer = Vec::new();
        Ok(Self { stream, buffer, opened, written: opened, answers: 0, heard: false })
    }

    /// Writes all of it; after an error it was not written whole.
    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.written = SystemClock.now();
        self.heard = false;
        self.stream.write_all(bytes.as_ref()).await
    }

    /// Writes what belongs to a request that has begun before.
    pub(crate) async fn send_more(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.stream.write_all(bytes.as_ref()).await
    }

    /// Whether the server has closed it since the last answer. A careful client looks before it
    /// writes.
    pub(crate) fn is_closed(&mut self) -> bool {
        let mut space = [0; 256];
        match self.stream.try_read(&mut space) {
            Ok(0) => true,
            Ok(n) => {
                self.buffer.extend_from_slice(&space[..n]);
                false
            }
            Err(error) => error.kind() != ErrorKind::WouldBlock,
        }
    }

    /// Reads more; an end is an error.
    async fn more(&mut self) -> io::Result<()> {
        if self.stream.read_buf(&mut self.buffer).await? == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        self.heard = true;
        Ok(())
    }

    /// What comes up to and with `end`, without it.
    async fn until(&mut self, end: &[u8]) -> io::Result<String> {
        loop {
            if let Some(at) = self.buffer.windows(end.len()).position(|bytes| bytes == end) {
                let text = String::from_utf8_lossy(&self.buffer[..at]).into_owned();
                self.buffer.drain(..at + end.len());
                return Ok(text);
            }
            self.more().await?;
        }
    }

    pub(crate) async fn take(&mut self, length: usize) -> io::Result<Vec<u8>> {
        while self.buffer.len() < length {
            self.more().await?;
        }
        Ok(self.buffer.drain(..length).collect())
    }

    pub(crate) async fn head(&mut self) -> io::Result<Head> {
        self.heard |= !self.buffer.is_empty();
        let text = self.until(b"\r\n\r\n").await?;
        Head::parse(&text).ok_or_else(|| io::Error::other(format!("no head: {text:?}")))
    }

    /// The next chunk of a body; empty at its proper end.
    pub(crate) async fn chunk(&mut self) -> io::Result<Vec<u8>> {
        let line = self.until(b"\r\n").await?;
        let length = usize::from_str_radix(line.trim(), 16).map_err(io::Error::other)?;
        let chunk = self.take(length).await?;
        self.until(b"\r\n").await?;
        Ok(chunk)
    }

    pub(crate) async fn body(&mut self, head: &Head) -> io::Result<Vec<u8>> {
        if let Some(length) = head.get("content-length") {
            return self.take(length.parse().map_err(io::Error::other)?).await;
        }
        let mut body = Vec::new();
        loop {
            let chunk = self.chunk().await?;
            if chunk.is_empty() {
                return Ok(body);
            }
            body.extend(chunk);
        }
    }

    pub(crate) async fn answer(&mut self) -> io::Result<(Head, Vec<u8>)> {
        let head = self.head().await?;
        let body = self.body(&head).await?;
        self.answers += 1;
        Ok((head, body))
    }

    /// Reads until the other side closes.
    pub(crate) async fn wait_for_end(&mut self) {
        while self.more().await.is_ok() {
            self.buffer.clear();
        }
    }

    /// Says what became of a request whose whole answer is `result`, if it is as it should be.
    pub(crate) fn judge(
        &self,
        pending: Pending,
        tally: &Tally,
        result: io::Result<(Head, Vec<u8>)>,
        is_right: impl FnOnce(&[u8]) -> bool,
    ) -> Next {
        match result {
            Ok((head, body)) if head.status == 200 && is_right(&body) => {
                pending.answered();
                if head.closes() { Next::Reopen } else { Next::Again }
            }
            Ok((head, body)) => refuse(pending, tally, &head, &body),
            Err(error) => self.fail(pending, tally, &error),
        }
    }

    /// Says what became of a request on which the connection ended.
    pub(crate) fn fail(&self, pending: Pending, tally: &Tally, error: &io::Error) -> Next {
        let waited = SystemClock.now() - self.written;
        if self.heard {
            pending.lost(format!("the answer ends in the middle: {error}"));
        } else if self.answers == 0 && tally.may_refuse(self.opened) {
            // The system took this connection when the server no longer did.
            pending.turned_away();
            return Next::End;
        } else if self.answers > 0 && waited < CROSSING {
            pending.idle_reset();
        } else {
            pending.lost(format!("no answer after {waited:.0?}: {error}"));
        }
        Next::Reopen
    }
}

/// Says what became of a request that got another answer than the right one. Behind a proxy it
/// may say that nobody listens any more; the kit's proxies tell whether they were connected.
pub(crate) fn refuse(pending: Pending, tally: &Tally, head: &Head, body: &[u8]) -> Next {
    if is_proxys(head.status, head.get("x-connected")) && tally.is_closing() {
        pending.turned_away();
        return Next::End;
    }
    pending.lost(format!("{}: {}", head.status, String::from_utf8_lossy(body).trim()));
    Next::Reopen
}

/// Whether a proxy says that it could not connect: haproxy by 503, nginx by the time it took.
pub(crate) fn is_proxys(status: u16, connected: Option<&str>) -> bool {
    match status {
        503 => connected.is_none(),
        502 => connected == Some("-"),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::{Head, is_proxys};

    #[test]
    fn reads_heads() {
        let head = Head::parse("HTTP/1.1 200 OK\r\nConnection: close\r\nX-A: b").unwrap();
        assert_eq!((head.status, head.get("x-a"), head.closes()), (200, Some("b"), true));
        assert!(Head::parse("nonsense").is_none());
    }

    #[test]
    fn only_who_was_not_connected_was_turned_away() {
        assert!(is_proxys(503, None));
        assert!(is_proxys(502, Some("-")));
        assert!(!is_proxys(502, None), "haproxy: the server broke off");
        assert!(!is_proxys(502, Some("0.000")), "nginx: the server broke off");
        assert!(!is_proxys(503, Some("0.000")), "the server's own");
    }
}
