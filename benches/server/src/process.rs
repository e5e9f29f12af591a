//! A process of `examples/minimal-axum`, from exec to exit.
use crate::rate::{is_there_wrk, wrk};
use crate::table::Table;
use crate::{BoxError, median};
use octostack_core::{Clock as _, SystemClock};
use rustix::process::{Pid, Signal, kill_process};
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// Only reached by what is broken.
const PATIENCE: Duration = Duration::from_secs(10);

/// Builds it, so that what is measured is what is there now.
pub(crate) fn build() -> Result<(), BoxError> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let built = Command::new(cargo)
        .args(["build", "--quiet", "--release", "--package", "minimal-axum"])
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
        .status()?;
    if built.success() { Ok(()) } else { Err("minimal-axum does not build".into()) }
}

/// The binary: beside this one.
fn binary() -> Result<PathBuf, BoxError> {
    Ok(std::env::current_exe()?.with_file_name("minimal-axum"))
}

/// A running service; killed when it is no longer needed.
pub(crate) struct Service {
    child: Child,
    pub(crate) addr: SocketAddr,
}

impl Service {
    /// Starts it, and says how long it took from before exec until it said that it is ready, as
    /// systemd is told.
    pub(crate) fn start() -> Result<(Self, Duration), BoxError> {
        let addr = free_port()?;
        let at = std::env::temp_dir().join(format!("octostack-bench-{}", std::process::id()));
        let _ = std::fs::remove_file(&at);
        let told = UnixDatagram::bind(&at)?;
        told.set_read_timeout(Some(PATIENCE))?;
        let mut command = Command::new(binary()?);
        command
            .env_clear()
            .env("HOST", addr.ip().to_string())
            .env("PORT", addr.port().to_string())
            .env("ADMIN_ADDR", "127.0.0.1:0")
            .env("NOTIFY_SOCKET", &at)
            .stdout(Stdio::null());
        let start = SystemClock.now();
        let service = Self { child: command.spawn()?, addr };
        let mut message = [0; 1024];
        loop {
            let length = told.recv(&mut message)?;
            if message[..length].split(|byte| *byte == b'\n').any(|line| line == b"READY=1") {
                break;
            }
        }
        let took = SystemClock.now() - start;
        std::fs::remove_file(&at)?;
        Ok((service, took))
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Asks a probe, on a connection of its own.
    fn probe(&self) -> Result<(), BoxError> {
        let mut socket = TcpStream::connect(self.addr)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        socket.write_all(b"GET /readyz HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")?;
        let mut answer = String::new();
        socket.read_to_string(&mut answer)?;
        let ready = answer.starts_with("HTTP/1.1 200 ");
        if ready { Ok(()) } else { Err(format!("ready, and then {answer:?}").into()) }
    }

    /// Memory of the process that is in RAM, in MiB.
    fn resident(&self) -> Result<f64, BoxError> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib: f64 = line.and_then(|l| l.split_whitespace().next()).unwrap_or("").parse()?;
        Ok(kib / 1024.0)
    }

    /// From SIGTERM to the exit.
    fn stop(mut self) -> Result<Duration, BoxError> {
        let start = SystemClock.now();
        kill_process(Pid::from_child(&self.child), Signal::TERM)?;
        let status = self.child.wait()?;
        let took = SystemClock.now() - start;
        if status.success() { Ok(took) } else { Err(format!("it ended with {status}").into()) }
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.child.kill(); // fails if it has ended, which is fine
        let _ = self.child.wait();
    }
}

/// A port of loopback that is free at the moment.
pub(crate) fn free_port() -> Result<SocketAddr, BoxError> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

pub(crate) fn measure(runs: usize, table: &mut Table) -> Result<(), BoxError> {
    let (mut ready, mut idle, mut ended) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..runs {
        let (service, took) = Service::start()?;
        service.probe()?;
        ready.push(took.as_secs_f64() * 1e3);
        // What it starts beside has come to rest by now.
        settle();
        idle.push(service.resident()?);
        ended.push(service.stop()?.as_secs_f64() * 1e3);
    }
    let mut row = |what: &str, values: &mut Vec<f64>, unit: &str, target: &str| {
        let middle = median(values);
        let range = format!("{:.1} to {:.1} {unit}", values[0], values[values.len() - 1]);
        table.add(what, format!("{middle:.1} {unit}"), range, target);
    };
    row("exec to ready", &mut ready, "ms", "20 ms");
    row("memory at idle (RSS)", &mut idle, "MiB", "15 MB");
    row("SIGTERM to exit, no connections", &mut ended, "ms", "50 ms");
    if is_there_wrk() {
        let (service, _) = Service::start()?;
        wrk(service.addr, 64, 2)?;
        let resident = format!("{:.1} MiB", service.resident()?);
        table.add("memory after load on 64 connections (RSS)", resident, "", "");
    }
    Ok(())
}

#[allow(clippy::disallowed_methods, reason = "a bench waits until there is nothing to see")]
fn settle() {
    std::thread::sleep(Duration::from_millis(100));
}
