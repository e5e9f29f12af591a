//! The service from outside: a real process, sockets and signals.
use proto::GreetRequest;
use proto::greeter_client::GreeterClient;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::io::{BufRead, BufReader, Lines};
use std::process::{Child, ChildStdout, Command, Stdio};
use tonic::Code;
use tonic::transport::Endpoint;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

mod proto {
    tonic::include_proto!("greetings.v1");
}

struct Service {
    child: Child,
    log: Lines<BufReader<ChildStdout>>,
    url: String,
}

impl Service {
    /// Starts the service on a free port, and waits until it is ready.
    fn start() -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_minimal-tonic"))
            .env_clear()
            .envs([("HOST", "127.0.0.1"), ("PORT", "0"), ("ADMIN_ADDR", "127.0.0.1:0")])
            .stdout(Stdio::piped())
            .spawn()
            .expect("the binary starts");
        let log = BufReader::new(child.stdout.take().expect("it is piped")).lines();
        let mut service = Self { child, log, url: String::new() };
        service.url = format!("http://{}", service.wait_until_ready());
        service
    }

    /// Where it listens, by its log.
    fn wait_until_ready(&mut self) -> String {
        let mut addr = None;
        loop {
            let line = self.log.next().expect("it gets ready").expect("a line");
            let line: Value = serde_json::from_str(&line).expect("a JSON object");
            if line["message"] == "listening" && line["context"]["listener"] == "public" {
                addr = line["context"]["addr"].as_str().map(str::to_owned);
            }
            if line["message"] == "starting -> ready" {
                return addr.expect("it has said where it listens");
            }
        }
    }

    /// Asks it to end: the exit code, and the last line of its log.
    fn stop(mut self) -> (Option<i32>, String) {
        kill_process(Pid::from_child(&self.child), Signal::TERM).expect("it runs");
        let last = self.log.by_ref().map_while(Result::ok).last();
        let status = self.child.wait().expect("it ends");
        (status.code(), last.unwrap_or_default())
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.child.kill(); // fails if it has ended, which is fine
        let _ = self.child.wait();
    }
}

#[tokio::test]
async fn starts_greets_is_probed_and_ends() {
    let service = Service::start();
    let url = Endpoint::from_shared(service.url.clone()).expect("a URL");
    let channel = url.connect().await.expect("it listens");
    let mut greeter = GreeterClient::new(channel.clone());
    let reply = greeter.greet(GreetRequest { name: "Ann".to_owned() }).await.expect("a reply");
    assert_eq!(reply.into_inner().text, "hello, Ann");
    let refused = greeter.greet(GreetRequest::default()).await.expect_err("nobody to greet");
    assert_eq!(refused.code(), Code::InvalidArgument);

    let mut health = HealthClient::new(channel);
    for service in ["", "greetings.v1.Greeter"] {
        let request = HealthCheckRequest { service: service.to_owned() };
        let answer = health.check(request).await.expect("it is known").into_inner();
        assert_eq!(answer.status(), ServingStatus::Serving, "{service}");
    }

    // The connection is still open: the service tells it to go.
    let (code, last) = tokio::task::spawn_blocking(|| service.stop()).await.expect("no panic");
    assert_eq!(code, Some(0), "{last}");
    assert!(last.contains("draining -> stopped"), "{last}");
}
