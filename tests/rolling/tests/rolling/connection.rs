//! One connection of HTTP/1.1 to an instance.
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// How long an answer may take; what takes longer is lost.
const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) struct Connection {
    stream: TcpStream,
    /// What has arrived of the answer.
    buffer: Vec<u8>,
    /// Answers that were read from it.
    answers: u32,
}

/// An answer that is complete.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
    /// It was the last on its connection.
    pub(crate) closes: bool,
}

/// Why there is none.
pub(crate) struct Failed {
    pub(crate) error: io::Error,
    /// The connection was idle before, and not one byte of the answer has come: the other side may
    /// have closed it at that moment.
    pub(crate) while_idle: bool,
}

impl Connection {
    pub(crate) async fn open(addr: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(addr).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: Vec::new(), answers: 0 })
    }

    /// Whether the other side has not closed it, as far as is known here.
    pub(crate) fn is_open(&self) -> bool {
        let read = self.stream.try_read(&mut [0]);
        read.is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
    }

    /// Asks for a path, once.
    pub(crate) async fn get(&mut self, path: &str) -> Result<Answer, Failed> {
        self.buffer.clear();
        let exchange = async {
            let head = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n");
            self.stream.write_all(head.as_bytes()).await?;
            self.answer().await
        };
        let late = Err(io::Error::from(ErrorKind::TimedOut));
        let result = timeout(PATIENCE, exchange).await.unwrap_or(late);
        let while_idle = self.answers > 0 && self.buffer.is_empty();
        self.answers += 1;
        result.map_err(|error| Failed { error, while_idle })
    }

    async fn answer(&mut self) -> io::Result<Answer> {
        let end = loop {
            let end = self.buffer.windows(4).position(|bytes| bytes == b"\r\n\r\n");
            match end {
                Some(end) => break end,
                None => self.more().await?,
            }
        };
        let head = String::from_utf8_lossy(&self.buffer[..end]).to_ascii_lowercase();
        let header = |name: &str| {
            let mut lines = head.lines();
            lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(": ").map(str::to_owned))
        };
        let wrong = || io::Error::new(ErrorKind::InvalidData, head.clone());
        let status = head.get(9..12).and_then(|status| status.parse().ok()).ok_or_else(wrong)?;
        let length = header("content-length").and_then(|length| length.parse().ok());
        let whole = end + 4 + length.unwrap_or(0_usize);
        let closes = header("connection").is_some_and(|value| value == "close");
        while self.buffer.len() < whole {
            self.more().await?;
        }
        Ok(Answer { status, body: self.buffer[end + 4..whole].to_vec(), closes })
    }

    async fn more(&mut self) -> io::Result<()> {
        let read = self.stream.read_buf(&mut self.buffer).await?;
        if read == 0 { Err(ErrorKind::UnexpectedEof.into()) } else { Ok(()) }
    }
}
