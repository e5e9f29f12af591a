//! Clients that ask without a pause, and what became of their requests.
use crate::balancer::{Balancer, Unanswered};
use crate::grpc;
use crate::process::Service;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

/// How many restarts, over how many requests.
#[derive(Clone, Copy)]
pub(crate) struct Plan {
    pub(crate) restarts: usize,
    pub(crate) requests: u64,
}

impl Plan {
    /// What the environment says, or these.
    pub(crate) fn from_env_or(restarts: usize, requests: u64) -> Self {
        let number = |name| std::env::var(name).map(|it| it.parse().expect("a number"));
        Self {
            restarts: number("OCTOSTACK_ROLLING_RESTARTS").map_or(restarts, |it: u32| it as usize),
            requests: number("OCTOSTACK_ROLLING_REQUESTS").map_or(requests, u64::from),
        }
    }

    /// Requests that are answered before a restart begins, so that they are spread evenly.
    pub(crate) fn before(self, restart: usize) -> u64 {
        self.requests * (restart as u64 + 1) / (self.restarts as u64 + 1)
    }
}

#[derive(Default)]
struct Tally {
    over: AtomicBool,
    answered: AtomicU64,
    /// Requests on idle connections that were closed at that moment.
    closed_idle: AtomicU64,
    lost: Mutex<Vec<String>>,
    /// In microseconds.
    slowest: AtomicU64,
}

pub(crate) struct Load {
    tally: Arc<Tally>,
    clients: Vec<JoinHandle<()>>,
    start: Instant,
    took: Duration,
}

impl Load {
    pub(crate) fn start(service: Service, balancer: &Arc<Balancer>, clients: usize) -> Self {
        let tally = Arc::new(Tally::default());
        let client = || tokio::spawn(client(service, balancer.clone(), tally.clone()));
        let clients = (0..clients).map(|_| client()).collect();
        Self { tally, clients, start: Instant::now(), took: Duration::ZERO }
    }

    /// Waits until so many requests have had their answers.
    pub(crate) async fn answered(&self, count: u64) {
        while self.tally.answered.load(SeqCst) < count {
            assert!(self.clients.iter().all(|client| !client.is_finished()), "a client has failed");
            sleep(Duration::from_millis(2)).await;
        }
    }

    /// Ends it: each client has the answer to its last request.
    pub(crate) async fn stop(mut self) -> Self {
        self.tally.over.store(true, SeqCst);
        for client in self.clients.drain(..) {
            client.await.expect("it does not panic");
        }
        self.took = self.start.elapsed();
        self
    }

    pub(crate) fn lost(&self) -> usize {
        self.tally.lost.lock().expect("no client panics").len()
    }

    pub(crate) fn assert_nothing_lost(&self, requests: u64) {
        let lost = self.tally.lost.lock().expect("no client panics");
        assert!(lost.is_empty(), "{self}: {lost:#?}");
        assert_eq!(self.tally.closed_idle.load(SeqCst), 0, "{self}");
        assert!(self.tally.answered.load(SeqCst) >= requests, "{self}");
    }
}

impl fmt::Display for Load {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (answered, lost) = (self.tally.answered.load(SeqCst), self.lost());
        let (took, slowest) = (self.took, Duration::from_micros(self.tally.slowest.load(SeqCst)));
        let rate = answered as f64 / took.as_secs_f64();
        write!(
            f,
            "{answered} requests answered and {lost} lost in {took:.1?} ({rate:.0}/s); {} on idle \
             connections that closed; the slowest took {slowest:.1?}",
            self.tally.closed_idle.load(SeqCst),
        )
    }
}

async fn client(service: Service, balancer: Arc<Balancer>, tally: Arc<Tally>) {
    while !tally.over.load(SeqCst) {
        let start = Instant::now();
        let asked = match service {
            Service::Http => get(&balancer).await,
            Service::Grpc => grpc::greet(&balancer).await.map_err(Some),
        };
        match asked {
            Ok(()) => {
                let took = u64::try_from(start.elapsed().as_micros()).unwrap_or(u64::MAX);
                tally.slowest.fetch_max(took, SeqCst);
                tally.answered.fetch_add(1, SeqCst);
            }
            Err(None) => _ = tally.closed_idle.fetch_add(1, SeqCst),
            Err(Some(lost)) => {
                tally.lost.lock().expect("no client panics").push(lost);
                // A fault that stays must not fill the memory.
                sleep(Duration::from_millis(1)).await;
            }
        }
    }
}

/// Why the answer is lost; `None` if an idle connection was closed at that moment.
async fn get(balancer: &Balancer) -> Result<(), Option<String>> {
    Err(Some(match balancer.get("/").await {
        Ok(answer) if answer.status == 200 && answer.body == b"hello\n" => return Ok(()),
        Ok(answer) => format!("{}: {:?}", answer.status, answer.body.escape_ascii()),
        Err(Unanswered::Failed(failed)) if failed.while_idle => return Err(None),
        Err(Unanswered::Failed(failed)) => failed.error.to_string(),
        Err(Unanswered::Connect(error)) => format!("no connection: {error}"),
        Err(Unanswered::NobodyIsReady) => "nobody is ready".to_owned(),
    }))
}
