//! Starts the server, lets clients ask, ends it in the middle, and counts.
use crate::BoxError;
use crate::clients::{Client, Target};
use crate::proxy::{Via, Way, local};
use crate::report::{Cell, Counts, Report};
use crate::server::{Exit, Process, answers, free_port};
use crate::tally::Tally;
pub use rustix::process::Signal;
use std::time::Duration;
use tokio::time::{sleep, timeout};

/// Between the start of the clients and the signal, in milliseconds.
const MOMENTS: std::ops::Range<u64> = 120..420;

/// How long clients may take to see that the server has gone. What they still wait for then is
/// lost.
const AFTERWARDS: Duration = Duration::from_secs(3);

/// What to measure.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The server's command, in words.
    pub server: Vec<String>,
    /// The server's name in the report.
    pub name: String,
    /// Variables for the server, beside the port.
    pub env: Vec<(String, String)>,
    /// The variable that tells the server its port.
    pub port_env: String,
    /// The path that it answers with 200 once it is ready.
    pub ready: String,
    /// What ends it.
    pub signal: Signal,
    /// How long it may take to end before it is killed.
    pub budget: Duration,
    /// How long after the signal it has to accept connections.
    pub lame_duck: Duration,
    /// How often each cell is measured. 0 measures nothing.
    pub rounds: u32,
    /// Decides about the moments of the signal.
    pub seed: u64,
    /// The ways to the server.
    pub vias: Vec<Via>,
    /// Who asks.
    pub clients: Vec<Client>,
}

impl Plan {
    /// Five rounds of each client, directly, with SIGTERM and 25 s to end.
    pub fn new(server: &str) -> Self {
        let mut plan = Self {
            server: Vec::new(),
            name: String::new(),
            env: Vec::new(),
            port_env: "PORT".to_owned(),
            ready: "/fast".to_owned(),
            signal: Signal::TERM,
            budget: Duration::from_secs(25),
            lame_duck: Duration::ZERO,
            rounds: 5,
            seed: 1,
            vias: vec![Via::Direct],
            clients: Client::ALL.to_vec(),
        };
        plan.set_server(server);
        plan
    }

    /// Sets the command, split at spaces.
    pub fn set_server(&mut self, command: &str) {
        self.server = command.split_whitespace().map(str::to_owned).collect();
        if self.name.is_empty() {
            let program = self.server.first().map(String::as_str).unwrap_or_default();
            self.name = program.rsplit('/').next().unwrap_or_default().to_owned();
        }
    }
}

/// A signal by its name, such as `TERM`.
///
/// # Errors
/// If it is none that asks a process to end.
pub fn signal_by_name(name: &str) -> Result<Signal, BoxError> {
    match name.trim_start_matches("SIG") {
        "TERM" => Ok(Signal::TERM),
        "INT" => Ok(Signal::INT),
        "QUIT" => Ok(Signal::QUIT),
        "HUP" => Ok(Signal::HUP),
        other => Err(format!("no signal `{other}`: TERM, INT, QUIT or HUP").into()),
    }
}

/// Measures all cells of a plan, one after the other. A client [of one hop](Client::is_of_one_hop)
/// is only measured directly.
///
/// # Errors
/// If the server or a proxy does not start, or the server ends before it is told to.
pub async fn run(plan: &Plan) -> Result<Report, BoxError> {
    let mut cells = Vec::new();
    for &via in &plan.vias {
        for &client in &plan.clients {
            if via != Via::Direct && client.is_of_one_hop() {
                continue;
            }
            let mut cell = Cell::new(via, client);
            for round in 0..plan.rounds {
                let seed = plan.seed.wrapping_mul(1_000_003).wrapping_add(round.into());
                let (counts, exit) = self::round(plan, via, client, seed).await?;
                cell.add(counts, exit);
            }
            cells.push(cell);
        }
    }
    let lame_duck_ms = u64::try_from(plan.lame_duck.as_millis())?;
    Ok(Report { server: plan.name.clone(), lame_duck_ms, cells })
}

/// One life of the server.
async fn round(
    plan: &Plan,
    via: Via,
    client: Client,
    seed: u64,
) -> Result<(Counts, Exit), BoxError> {
    let addr = local(free_port());
    let mut env = plan.env.clone();
    env.push((plan.port_env.clone(), addr.port().to_string()));
    let mut server = Process::start(&plan.server, &env)?;
    server.until(async || answers(addr, &plan.ready).await).await?;
    let way = Way::open(via, addr).await?;

    let tally = Tally::default();
    let to = if client.speaks_http2() { way.http2 } else { way.http1 };
    let mut clients = client.start(&Target { addr: to, tally: tally.clone(), seed });
    let mut rng = fastrand::Rng::with_seed(seed);
    sleep(Duration::from_millis(rng.u64(MOMENTS))).await;

    let at = server.signal(plan.signal)?;
    tally.closes_at(at + plan.lame_duck);
    let exit = server.exit(at, plan.budget).await?;
    let finish = async { while clients.join_next().await.is_some() {} };
    let _ = timeout(AFTERWARDS, finish).await;
    // What has no verdict is dropped without one, and so it is lost.
    clients.shutdown().await;
    Ok((tally.counts(), exit))
}
