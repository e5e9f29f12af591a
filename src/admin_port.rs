//! The admin port of a running service: a thread of its own, so that it answers whatever the
//! service does, and sees when the service's runtime is blocked.
use crate::framework::Framework;
use crate::reload::{self, Config, Settings};
use crate::run::Runtime;
use crate::systemd::Manager;
use crate::{BoxError, flag_file};
use bytes::Bytes;
use http::Response;
use http::header::{CONTENT_TYPE, HeaderValue};
use octostack_core::Identity;
use octostack_core::admin::{Access, Admin};
use octostack_core::health::Health;
use octostack_core::lifecycle::{Lifecycle, Step, Stop, Stopper};
use octostack_telemetry::metrics::Metrics;
use std::future::Future;
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;
use tokio::sync::oneshot;

/// How long the admin port gets to finish its last answers.
pub(crate) const ADMIN_END: Duration = Duration::from_secs(1);

/// The open port, which outlives the service's own.
pub(crate) struct AdminPort {
    stopper: Stopper,
    ended: oneshot::Receiver<()>,
}

impl AdminPort {
    pub(crate) async fn open<S: Settings>(
        identity: &Identity,
        framework: &Framework,
        run: &Runtime,
        config: &Config<S>,
        (manager, socket): (Manager, Option<TcpListener>),
    ) -> Result<Self, BoxError> {
        let addr = socket.as_ref().map(TcpListener::local_addr).transpose()?;
        let framework = addr.map_or_else(|| framework.clone(), |addr| at(framework, addr));
        let admin = pages(identity, &framework, run, config)?;
        let (health, lifecycle) = (run.health.clone(), run.lifecycle.clone());
        let (stopper, (opened, open), (done, ended)) =
            (Stopper::new(), oneshot::channel(), oneshot::channel());
        let stop = stopper.stop();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        std::thread::Builder::new().name("admin".to_owned()).spawn(move || {
            let judge = judge(health, lifecycle, manager);
            runtime.block_on(serve((admin, socket), judge, stop, opened));
            drop(runtime);
            let _ = done.send(()); // whoever waited has given up
        })?;
        open.await??;
        Ok(Self { stopper, ended })
    }

    pub(crate) async fn close(mut self) {
        self.stopper.advance(Step::Drain);
        if tokio::time::timeout(ADMIN_END, &mut self.ended).await.is_err() {
            self.stopper.advance(Step::Cut);
        }
    }
}

/// Judges the runtime of the service, and says so to whoever started it.
async fn judge(health: Health, lifecycle: Lifecycle, manager: Manager) {
    let limit = || lifecycle.config().stall_timeout;
    let watchdog = manager.watchdog(health.clone());
    tokio::join!(health.judge(limit), watchdog, lifecycle.guard());
}

/// Serves the pages, and judges meanwhile.
async fn serve(
    (admin, socket): (Admin, Option<TcpListener>),
    judge: impl Future<Output = ()>,
    stop: Stop,
    opened: oneshot::Sender<Result<(), BoxError>>,
) {
    let listener: Result<_, BoxError> = match socket {
        Some(socket) => admin.listen_on(socket).map_err(Into::into),
        None => admin.bind().await.map_err(Into::into),
    };
    let listener = match listener {
        Ok(listener) => listener,
        Err(error) => {
            let _ = opened.send(Err(error));
            return;
        }
    };
    let _ = opened.send(Ok(()));
    tokio::select! {
        _ = listener.serve(stop) => {}
        () = judge => {}
    }
}

/// The settings of a port that listens at `addr`, whatever they say.
fn at(framework: &Framework, addr: SocketAddr) -> Framework {
    let mut framework = framework.clone();
    framework.admin.addr = addr;
    framework
}

fn pages<S: Settings>(
    identity: &Identity,
    framework: &Framework,
    run: &Runtime,
    config: &Config<S>,
) -> Result<Admin, BoxError> {
    let metrics = run.metrics.clone();
    let (flags, shown) = (run.flags.clone(), run.flags.clone());
    let (secrets, kept) = (run.secrets.clone(), run.secrets.clone());
    let admin = Admin::builder(identity, &run.registry, &run.lifecycle, &run.health)
        .config(framework.admin.clone())
        .tokens(reload::tokens(config))
        .page("/metrics", "numbers, as Prometheus reads them", Access::Collectors, move |_| {
            metrics_page(&metrics)
        })
        .status_page("/secretz", "the secrets, by reference", move || kept.status())
        .override_page("/flagz", "the feature flags", "flag", move |parts, key| {
            Ok(flag_file::page(&shown, parts, key))
        })
        .generation("flags", move || flags.generation())
        .generation("secrets", move || secrets.generation());
    let admin = reload::pages(admin, config, &run.lifecycle).build();
    admin.map_err(|problems| problems[0].clone().into())
}

fn metrics_page(metrics: &Metrics) -> Response<Bytes> {
    let mut response = Response::new(metrics.encode().into());
    let content_type = HeaderValue::from_static(octostack_telemetry::metrics::CONTENT_TYPE);
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::testing::{app, runtime};
    use octostack_core::inspect::Event;
    use octostack_core::lifecycle::LifecycleConfig;
    use octostack_core::{Clock as _, SystemClock};
    use std::io::{Read, Write};
    use std::net::TcpStream;
    use std::sync::mpsc;

    fn get(addr: &str, path: &str) -> String {
        let mut socket = TcpStream::connect(addr).unwrap();
        let head = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
        socket.write_all(head.as_bytes()).unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).unwrap();
        answer
    }

    /// Asks until the answer has `part` in it.
    #[allow(clippy::disallowed_methods, reason = "another process would poll like this")]
    fn until(addr: &str, path: &str, part: &str) -> String {
        let mut answer = String::new();
        for _ in 0..1000 {
            answer = get(addr, path);
            if answer.contains(part) {
                return answer;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("{part}: {answer}");
    }

    #[test]
    fn a_service_whose_threads_are_all_blocked_is_not_live_and_says_so() {
        let mut threads = tokio::runtime::Builder::new_multi_thread();
        let service = threads.worker_threads(2).enable_all().build().unwrap();
        let run = runtime();
        let config =
            LifecycleConfig { stall_timeout: Duration::from_secs(1), ..LifecycleConfig::default() };
        run.lifecycle.reconfigure(config).unwrap();
        let (told, addrs) = mpsc::channel();
        run.registry.observe(move |event: &Event| {
            let addr = event.fields.iter().find(|(name, _)| *name == "addr");
            if let Some(addr) = addr.and_then(|(_, addr)| addr.as_str()) {
                told.send(addr.to_owned()).unwrap();
            }
        });
        let (_, source) = app::<()>(&serde_json::json!({"admin": {"addr": "127.0.0.1:0"}}));
        let framework = source.config().framework();
        let identity = Identity::new("test", "1.0.0");
        let port = service.block_on(AdminPort::open(
            &identity,
            &framework,
            &run,
            source.config(),
            (Manager::from_env(), None),
        ));
        let port = port.unwrap();
        let addr = addrs.recv_timeout(Duration::from_secs(20)).unwrap();
        let health = run.health.clone();
        service.spawn(async move { health.run().await });
        until(&addr, "/livez", "200 OK");

        let blocked = [(); 2].map(|()| {
            let (release, released) = mpsc::channel::<()>();
            service.spawn(async move { released.recv() });
            release
        });
        let begun = SystemClock.now();
        let answer = until(&addr, "/livez", "503 Service Unavailable");
        let took = SystemClock.now() - begun;
        assert!(took < Duration::from_secs(4), "its limit is 1 s, and it took {took:?}");
        assert!(answer.contains("[-]runtime failed: no task gets to run"), "{answer}");
        assert!(get(&addr, "/metrics").contains("200 OK"), "the port answers all the same");
        assert!(get(&addr, "/statusz").contains("runtime_stalled"));
        drop(blocked);
        until(&addr, "/livez", "200 OK");
        assert!(get(&addr, "/statusz").contains("runtime_recovered"));

        service.block_on(port.close());
        assert!(TcpStream::connect(&addr).is_err(), "it has ended");
        service.shutdown_background();
    }
}
