//! The server under test, or a proxy: a process that is started, told to end and waited for.
use crate::BoxError;
use octostack::core::{Clock, SystemClock};
use rustix::process::{Pid, Signal, kill_process};
use std::net::{Ipv4Addr, SocketAddr};
use std::process::Stdio;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU16, Ordering::Relaxed};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::time::{sleep, timeout};

/// How long a process may take to get ready.
const START: Duration = Duration::from_secs(10);

/// How soon to look again whether it is.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// Ports that the system gives to no client, so that none of those takes one meanwhile.
const PORTS: std::ops::Range<u16> = 20_000..32_000;

/// How a process ended.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Exit {
    pub(crate) took: Duration,
    /// None if a signal ended it.
    pub(crate) code: Option<i32>,
    pub(crate) killed: bool,
}

/// A process of ours. Dropped, it is killed.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    name: String,
}

impl Process {
    pub(crate) fn start(command: &[String], env: &[(String, String)]) -> Result<Self, BoxError> {
        let (program, arguments) = command.split_first().ok_or("the server command is empty")?;
        let child = Command::new(program)
            .args(arguments)
            .env_remove("KUBERNETES_SERVICE_HOST")
            .envs(env.iter().map(|(key, value)| (key, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| format!("cannot start {program}: {error}"))?;
        Ok(Self { child, name: program.clone() })
    }

    /// Waits until `ready` holds, or says that the process has ended or takes too long.
    pub(crate) async fn until(&mut self, ready: impl AsyncFn() -> bool) -> Result<(), BoxError> {
        let end = SystemClock.now() + START;
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Err(format!("{} ended before it was ready: {status}", self.name).into());
            }
            if ready().await {
                return Ok(());
            }
            if SystemClock.now() > end {
                return Err(format!("{} is not ready after {START:?}", self.name).into());
            }
            sleep(LOOK_AGAIN).await;
        }
    }

    /// Sends a signal, and returns when.
    pub(crate) fn signal(&self, signal: Signal) -> Result<Instant, BoxError> {
        let pid = self.child.id().and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?));
        let pid = pid.ok_or_else(|| format!("{} has ended by itself", self.name))?;
        let at = SystemClock.now();
        kill_process(pid, signal)?;
        Ok(at)
    }

    /// Waits for the end until `budget` after `from`, then kills it.
    pub(crate) async fn exit(mut self, from: Instant, budget: Duration) -> Result<Exit, BoxError> {
        let left = budget.saturating_sub(SystemClock.now() - from);
        let ended = timeout(left, self.child.wait()).await;
        let killed = ended.is_err();
        if killed {
            self.child.kill().await?;
        }
        let status = self.child.wait().await?;
        Ok(Exit { took: SystemClock.now() - from, code: status.code(), killed })
    }
}

/// A port that nobody listens on, and that was not given out before.
pub(crate) fn free_port() -> u16 {
    static NEXT: LazyLock<AtomicU16> = LazyLock::new(|| AtomicU16::new(fastrand::u16(..)));
    loop {
        let port = PORTS.start + NEXT.fetch_add(1, Relaxed) % (PORTS.end - PORTS.start);
        if std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
}

/// Whether somebody listens there.
pub(crate) async fn listens(addr: SocketAddr) -> bool {
    TcpStream::connect(addr).await.is_ok()
}

/// Whether `GET path` is answered with 200 there.
pub(crate) async fn answers(addr: SocketAddr, path: &str) -> bool {
    let ask = async {
        let mut stream = TcpStream::connect(addr).await?;
        let request = format!("GET {path} HTTP/1.1\r\nhost: kit\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await?;
        Ok::<_, std::io::Error>(answer.starts_with(b"HTTP/1.1 200"))
    };
    timeout(Duration::from_secs(1), ask).await.is_ok_and(|answer| answer.unwrap_or(false))
}
