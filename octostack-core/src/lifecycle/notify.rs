//! What systemd is told: `READY`, `RELOADING`, `STOPPING`, `STATUS`, `WATCHDOG` (`sd_notify(3)`).
use crate::duration;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::Arc;
use std::time::Duration;

/// The socket on which a service manager listens. Clones are cheap and share it.
///
/// With `Type=notify` a unit counts as started when the service says so, and not when its process
/// is there; with `WatchdogSec=` it is ended when it says nothing for that long. Nothing is sent
/// where there is no such manager.
///
/// ```
/// use octostack_core::lifecycle::Notify;
/// use std::time::Duration;
///
/// // The variables `NOTIFY_SOCKET`, `WATCHDOG_USEC` and `WATCHDOG_PID` of the process.
/// if let Some(systemd) = Notify::from_env()? {
///     systemd.ready();
///     systemd.status("serving");
///     systemd.stopping(Duration::from_secs(30));
/// }
/// # Ok::<(), octostack_core::lifecycle::NotifyError>(())
/// ```
#[derive(Clone)]
pub struct Notify {
    shared: Arc<Shared>,
}

struct Shared {
    socket: UnixDatagram,
    to: SocketAddr,
    watchdog: Option<Duration>,
}

/// Why the service manager cannot be told.
#[derive(Debug)]
pub struct NotifyError {
    what: String,
    source: Option<io::Error>,
}

impl Notify {
    /// The socket of the service manager that started this process; `None` if none did.
    ///
    /// The variables stay, so that a child process has them too; `WATCHDOG_PID` tells it apart.
    ///
    /// # Errors
    /// If the variables are not as systemd sets them, or the system gives no socket.
    pub fn from_env() -> Result<Option<Self>, NotifyError> {
        Self::of(|name| std::env::var_os(name))
    }

    /// The same with other variables.
    ///
    /// # Errors
    /// As [`from_env`](Self::from_env).
    pub fn of(variable: impl Fn(&str) -> Option<OsString>) -> Result<Option<Self>, NotifyError> {
        let Some(name) = variable("NOTIFY_SOCKET").filter(|name| !name.is_empty()) else {
            return Ok(None);
        };
        let wrong = |what: &str, source| NotifyError {
            what: format!("NOTIFY_SOCKET: {}: {what}", name.display()),
            source,
        };
        let to = address(&name).map_err(|error| wrong("no such socket", Some(error)))?;
        let to = to.ok_or_else(|| wrong("must begin with / or @", None))?;
        let socket = UnixDatagram::unbound().and_then(|socket| {
            // A manager that does not listen must not hold up the service.
            socket.set_nonblocking(true)?;
            Ok(socket)
        });
        let socket = socket.map_err(|error| wrong("cannot be used", Some(error)))?;
        let watchdog = watchdog(&variable)?;
        Ok(Some(Self { shared: Arc::new(Shared { socket, to, watchdog }) }))
    }

    /// It serves; also that a reload has ended, whatever came of it.
    pub fn ready(&self) {
        self.send("READY=1");
    }

    /// It reads its config again; [`ready`](Self::ready) has to follow.
    pub fn reloading(&self) {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
        let micros = i128::from(now.tv_sec) * 1_000_000 + i128::from(now.tv_nsec) / 1000;
        self.send(&format!("RELOADING=1\nMONOTONIC_USEC={micros}"));
    }

    /// It ends, which may take `budget`: the manager waits for so long before it kills.
    pub fn stopping(&self, budget: Duration) {
        self.send(&format!("STOPPING=1\nEXTEND_TIMEOUT_USEC={}", budget.as_micros()));
    }

    /// How it is, in a line that `systemctl status` shows.
    pub fn status(&self, text: &str) {
        let line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        self.send(&format!("STATUS={line}"));
    }

    /// It works.
    pub fn watchdog(&self) {
        self.send("WATCHDOG=1");
    }

    /// How often [`watchdog`](Self::watchdog) is to be called, which is twice as often as the
    /// manager wants it. `None`: it does not wait for that.
    pub fn watchdog_interval(&self) -> Option<Duration> {
        self.shared.watchdog.map(|limit| limit / 2)
    }

    /// That nobody listens is no concern of the service.
    fn send(&self, state: &str) {
        _ = self.shared.socket.send_to_addr(state.as_bytes(), &self.shared.to);
    }
}

/// A path, or a name without a file (`@`). `None` if it is neither.
fn address(name: &OsStr) -> io::Result<Option<SocketAddr>> {
    match name.as_bytes() {
        [b'/', ..] => SocketAddr::from_pathname(name).map(Some),
        #[cfg(any(target_os = "linux", target_os = "android"))]
        [b'@', rest @ ..] => {
            use std::os::linux::net::SocketAddrExt as _;
            SocketAddr::from_abstract_name(rest).map(Some)
        }
        _ => Ok(None),
    }
}

/// The limit of the watchdog, if it is meant for this process.
fn watchdog(variable: impl Fn(&str) -> Option<OsString>) -> Result<Option<Duration>, NotifyError> {
    let number = |name: &str| {
        let Some(text) = variable(name).filter(|text| !text.is_empty()) else { return Ok(None) };
        let number = text.to_str().and_then(|text| text.parse::<u64>().ok());
        let what = || format!("{name}: {}: must be a whole number", text.display());
        number.map(Some).ok_or_else(|| NotifyError { what: what(), source: None })
    };
    let ours = number("WATCHDOG_PID")?.is_none_or(|pid| pid == u64::from(std::process::id()));
    let micros = number("WATCHDOG_USEC")?.filter(|micros| ours && *micros > 0);
    Ok(micros.map(Duration::from_micros))
}

impl fmt::Display for NotifyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)?;
        self.source.as_ref().map_or(Ok(()), |source| write!(f, " ({source})"))
    }
}

impl std::error::Error for NotifyError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_ref().map(|source| source as _)
    }
}

impl fmt::Debug for Notify {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let watchdog = self.shared.watchdog.map(duration::format);
        f.debug_struct("Notify").field("to", &self.shared.to).field("watchdog", &watchdog).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn notify(variables: &[(&str, String)]) -> Result<Option<Notify>, String> {
        let variables: BTreeMap<_, _> = variables.iter().cloned().collect();
        let all = |name: &str| variables.get(name).map(OsString::from);
        Notify::of(all).map_err(|error| error.to_string())
    }

    fn heard(socket: &UnixDatagram) -> String {
        let mut bytes = [0; 4096];
        let length = socket.recv(&mut bytes).unwrap();
        String::from_utf8(bytes[..length].to_vec()).unwrap()
    }

    #[test]
    fn tells_a_manager_that_listens_and_does_not_mind_one_that_is_gone() {
        let path = std::env::temp_dir().join(format!("octostack-notify-{}", std::process::id()));
        let _ = std::fs::remove_file(&path);
        let manager = UnixDatagram::bind(&path).unwrap();
        let notify = notify(&[("NOTIFY_SOCKET", path.display().to_string())]).unwrap().unwrap();
        notify.ready();
        assert_eq!(heard(&manager), "READY=1");
        notify.status("degraded:\nREADY=1");
        assert_eq!(heard(&manager), "STATUS=degraded: READY=1", "one line");
        notify.stopping(Duration::from_millis(31_200));
        assert_eq!(heard(&manager), "STOPPING=1\nEXTEND_TIMEOUT_USEC=31200000");
        notify.watchdog();
        assert_eq!(heard(&manager), "WATCHDOG=1");
        let times = [(); 2].map(|()| {
            notify.reloading();
            let said = heard(&manager);
            let time = said.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").unwrap();
            time.parse::<u64>().unwrap()
        });
        assert!(times[0] > 0 && times[0] <= times[1], "{times:?}");
        drop(manager);
        notify.ready();
        std::fs::remove_file(&path).unwrap();
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_name_without_a_file_is_an_address_too() {
        use std::os::linux::net::SocketAddrExt as _;
        let name = format!("octostack-notify-{}", std::process::id());
        let manager = SocketAddr::from_abstract_name(&name).unwrap();
        let manager = UnixDatagram::bind_addr(&manager).unwrap();
        notify(&[("NOTIFY_SOCKET", format!("@{name}"))]).unwrap().unwrap().ready();
        assert_eq!(heard(&manager), "READY=1");
    }

    #[test]
    fn variables_are_believed_as_systemd_sets_them() {
        assert!(notify(&[]).unwrap().is_none());
        assert!(notify(&[("NOTIFY_SOCKET", String::new())]).unwrap().is_none());
        let with = |name, value: &str| {
            let socket = ("NOTIFY_SOCKET", "/run/nobody".to_owned());
            let pid = ("WATCHDOG_PID", std::process::id().to_string());
            let usec = ("WATCHDOG_USEC", "3000000".to_owned());
            notify(&[socket, pid, usec, (name, value.to_owned())])
        };
        let interval = |name, value| with(name, value).unwrap().unwrap().watchdog_interval();
        assert_eq!(interval("", ""), Some(Duration::from_millis(1500)));
        assert_eq!(interval("WATCHDOG_PID", "1"), None, "for somebody else");
        assert_eq!(interval("WATCHDOG_PID", ""), Some(Duration::from_millis(1500)));
        assert_eq!(interval("WATCHDOG_USEC", "0"), None);
        let wrong = with("WATCHDOG_USEC", "soon").unwrap_err();
        assert_eq!(wrong, "WATCHDOG_USEC: soon: must be a whole number");
        let wrong = with("NOTIFY_SOCKET", "vsock:2:1").unwrap_err();
        assert_eq!(wrong, "NOTIFY_SOCKET: vsock:2:1: must begin with / or @");
        let wrong = with("NOTIFY_SOCKET", &format!("/{}", "a".repeat(200))).unwrap_err();
        assert!(wrong.contains("no such socket ("), "{wrong}");
    }
}
