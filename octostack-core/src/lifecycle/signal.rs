use std::fmt;
use std::io;
use tokio::sync::mpsc;

/// A signal that asks the process to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Signal {
    /// SIGINT, or Ctrl-C: somebody waits at a terminal.
    Interrupt,
    /// SIGTERM: an orchestrator wants the process gone in good order.
    Terminate,
}

impl Signal {
    /// Its number. A process that it ends at once exits with 128 plus this.
    pub const fn number(self) -> u8 {
        match self {
            Self::Interrupt => 2,
            Self::Terminate => 15,
        }
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Interrupt => "SIGINT",
            Self::Terminate => "SIGTERM",
        })
    }
}

/// The signals that this process gets.
///
/// Install the handlers first of all, before anything reports ready: until then SIGTERM kills, or,
/// for the first process of a container, does nothing. Once installed, the system's own handling
/// is gone for the rest of the process, so [`Lifecycle::run`](super::Lifecycle::run) has to listen.
#[derive(Debug)]
pub struct Signals {
    source: Source,
}

#[derive(Debug)]
enum Source {
    System(System),
    Manual(mpsc::UnboundedReceiver<Signal>),
}

impl Signals {
    /// Installs the handlers for SIGINT and SIGTERM (Ctrl-C where there are no signals).
    ///
    /// # Errors
    /// When the system refuses a handler.
    ///
    /// # Panics
    /// Outside of a tokio runtime with its I/O driver enabled.
    pub fn install() -> io::Result<Self> {
        Ok(Self { source: Source::System(System::install()?) })
    }

    /// Signals that the returned sender sends, for tests and for hosts with handlers of their own.
    pub fn manual() -> (mpsc::UnboundedSender<Signal>, Self) {
        let (sender, receiver) = mpsc::unbounded_channel();
        let signals = Self { source: Source::Manual(receiver) };
        (sender, signals)
    }

    /// Waits for the next signal. Dropping the future loses none.
    pub async fn next(&mut self) -> Signal {
        match &mut self.source {
            Source::System(system) => system.next().await,
            Source::Manual(receiver) => match receiver.recv().await {
                Some(signal) => signal,
                None => std::future::pending().await,
            },
        }
    }
}

#[cfg(unix)]
#[derive(Debug)]
struct System {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl System {
    fn install() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    async fn next(&mut self) -> Signal {
        tokio::select! {
            _ = self.interrupt.recv() => Signal::Interrupt,
            _ = self.terminate.recv() => Signal::Terminate,
        }
    }
}

#[cfg(windows)]
#[derive(Debug)]
struct System {
    interrupt: tokio::signal::windows::CtrlC,
    terminate: tokio::signal::windows::CtrlShutdown,
}

#[cfg(windows)]
impl System {
    fn install() -> io::Result<Self> {
        use tokio::signal::windows::{ctrl_c, ctrl_shutdown};
        Ok(Self { interrupt: ctrl_c()?, terminate: ctrl_shutdown()? })
    }

    async fn next(&mut self) -> Signal {
        tokio::select! {
            _ = self.interrupt.recv() => Signal::Interrupt,
            _ = self.terminate.recv() => Signal::Terminate,
        }
    }
}
