//! One process of the service.
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::net::SocketAddr;
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::timeout;

/// Only reached by what is broken.
const PATIENCE: Duration = Duration::from_secs(60);

/// What is started.
#[derive(Clone, Copy)]
pub(crate) enum Service {
    /// `minimal-axum`.
    Http,
    /// `minimal-tonic`.
    Grpc,
}

impl Service {
    const fn binary(self) -> &'static str {
        match self {
            Self::Http => env!("CARGO_BIN_EXE_rolling-service"),
            Self::Grpc => env!("CARGO_BIN_EXE_rolling-grpc"),
        }
    }
}

pub(crate) struct Process {
    child: Child,
    pub(crate) public: SocketAddr,
}

impl Process {
    /// Starts one of `service` on a free port, unless `environment` says otherwise, and waits until
    /// it is ready.
    pub(crate) async fn start(service: Service, environment: &[(&str, &str)]) -> Self {
        let mut child = Command::new(service.binary())
            .env_clear()
            .envs([("HOST", "127.0.0.1"), ("PORT", "0"), ("ADMIN_ADDR", "127.0.0.1:0")])
            // A line for each request would be most of the work.
            .env("RUST_LOG", "info,octostack::request=off")
            .envs(environment.iter().copied())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("the binary starts");
        let mut log = BufReader::new(child.stdout.take().expect("it is piped")).lines();
        let public = timeout(PATIENCE, public_address(&mut log)).await.expect("it gets ready");
        // Whoever does not read holds up nobody, but loses lines.
        tokio::spawn(async move { while let Ok(Some(_)) = log.next_line().await {} });
        Self { child, public }
    }

    /// Signals, and waits for the end.
    pub(crate) async fn stop(&mut self, signal: Signal) -> Option<i32> {
        let pid = self.child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
        kill_process(pid.expect("it runs"), signal).expect("it runs");
        let status = timeout(PATIENCE, self.child.wait()).await.expect("it ends");
        status.expect("it was not waited for before").code()
    }
}

/// Where it listens, once it is ready.
async fn public_address(log: &mut Lines<BufReader<ChildStdout>>) -> SocketAddr {
    let mut public = None;
    loop {
        let line = log.next_line().await.expect("text").expect("it does not end yet");
        let line: Value = serde_json::from_str(&line).expect("a JSON object");
        if line["message"] == "listening" && line["context"]["listener"] == "public" {
            public = line["context"]["addr"].as_str().and_then(|addr| addr.parse().ok());
        }
        if line["message"] == "starting -> ready" {
            return public.expect("it has said where it listens");
        }
    }
}
