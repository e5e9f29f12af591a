//! Requests per second, in pairs of runs: what is compared is measured in turn, the order changes
//! from pair to pair, and each pair gives a ratio. So a machine that gets slower or faster meanwhile
//! changes all figures and hardly the ratio.
use crate::process::{Service, free_port};
use crate::table::Table;
use crate::{BoxError, median};
use octostack_core::{Clock as _, SystemClock};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// Connections of `wrk`, in one thread.
const CONNECTIONS: usize = 32;

/// Only reached by what is broken.
const PATIENCE: Duration = Duration::from_secs(10);

pub(crate) fn is_there_wrk() -> bool {
    Command::new("wrk").arg("--version").stdout(Stdio::null()).status().is_ok()
}

fn need_wrk() -> Result<(), BoxError> {
    if is_there_wrk() { Ok(()) } else { Err("no wrk; on Debian: apt-get install wrk".into()) }
}

/// Lets `wrk` ask, and returns requests per second.
pub(crate) fn wrk(addr: SocketAddr, connections: usize, seconds: u32) -> Result<f64, BoxError> {
    let output = Command::new("wrk")
        .args(["--threads", "1", "--connections", &connections.to_string()])
        .args(["--duration", &format!("{seconds}s"), &format!("http://{addr}/")])
        .output()?;
    rate(&String::from_utf8_lossy(&output.stdout))
}

/// What `wrk` says, if all went well.
fn rate(said: &str) -> Result<f64, BoxError> {
    if said.contains("Socket errors") || said.contains("Non-2xx") {
        return Err(format!("not every request was answered:\n{said}").into());
    }
    let line = said.lines().find_map(|line| line.strip_prefix("Requests/sec:"));
    Ok(line.ok_or_else(|| format!("wrk says no rate:\n{said}"))?.trim().parse()?)
}

/// A server of `serve`, in a process of its own; killed when it is no longer needed.
struct Serving {
    child: Child,
    addr: SocketAddr,
}

impl Serving {
    fn start(name: &str) -> Result<Self, BoxError> {
        let addr = free_port()?;
        let child = Command::new(std::env::current_exe()?)
            .args(["--serve", name, &addr.port().to_string()])
            .spawn()?;
        let serving = Self { child, addr };
        let start = SystemClock.now();
        while TcpStream::connect(addr).is_err() {
            if SystemClock.now() - start > PATIENCE {
                return Err(format!("{name} does not listen on {addr}").into());
            }
        }
        Ok(serving)
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// One of the two that are compared.
struct Subject {
    name: &'static str,
    addr: SocketAddr,
    process: u32,
}

/// Our server beside bare hyper-util.
pub(crate) fn of_the_server(pairs: usize, seconds: u32, table: &mut Table) -> Result<(), BoxError> {
    need_wrk()?;
    let (ours, bare) = (Serving::start("octostack")?, Serving::start("hyper-util")?);
    let subjects = [
        Subject { name: "our server", addr: ours.addr, process: ours.child.id() },
        Subject { name: "bare hyper-util", addr: bare.addr, process: bare.child.id() },
    ];
    in_pairs(&subjects, pairs, seconds)?.report(&subjects, "at least 0.97", table);
    Ok(())
}

/// A whole service beside a plain router.
pub(crate) fn of_the_service(
    pairs: usize,
    seconds: u32,
    table: &mut Table,
) -> Result<(), BoxError> {
    need_wrk()?;
    let ((ours, _), plain) = (Service::start()?, Serving::start("axum")?);
    let subjects = [
        Subject { name: "minimal-axum", addr: ours.addr, process: ours.id() },
        Subject { name: "plain axum::serve", addr: plain.addr, process: plain.child.id() },
    ];
    in_pairs(&subjects, pairs, seconds)?.report(&subjects, "", table);
    Ok(())
}

/// What was measured, pair by pair: requests per second, and CPU time of the server for each, in
/// microseconds. `wrk` may be what limits the rate; the CPU time shows the difference all the same.
#[derive(Default)]
struct Pairs {
    rates: [Vec<f64>; 2],
    costs: [Vec<f64>; 2],
}

fn in_pairs(subjects: &[Subject; 2], pairs: usize, seconds: u32) -> Result<Pairs, BoxError> {
    for subject in subjects {
        wrk(subject.addr, CONNECTIONS, 1)?; // warm
    }
    let mut measured = Pairs::default();
    for pair in 0..pairs {
        // AB, BA, AB, …
        for turn in 0..2 {
            let which = (pair + turn) % 2;
            let before = cpu_seconds(subjects[which].process)?;
            let rate = wrk(subjects[which].addr, CONNECTIONS, seconds)?;
            let cpu = cpu_seconds(subjects[which].process)? - before;
            measured.rates[which].push(rate);
            measured.costs[which].push(cpu / (rate * f64::from(seconds)) * 1e6);
        }
    }
    Ok(measured)
}

/// CPU time that a process has taken so far, in its own code and in the system's.
fn cpu_seconds(process: u32) -> Result<f64, BoxError> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat"))?;
    // The name before it is in brackets and may hold anything; utime and stime are fields 14, 15.
    let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
    let ticks: Result<Vec<u32>, _> =
        fields.split_whitespace().skip(11).take(2).map(str::parse).collect();
    let ticks: u32 = ticks?.into_iter().sum();
    Ok(f64::from(ticks) / rustix::param::clock_ticks_per_second() as f64)
}

impl Pairs {
    fn report(mut self, subjects: &[Subject; 2], target: &str, table: &mut Table) {
        let parts = [
            ("requests/s", &mut self.rates, 0, target),
            ("CPU µs a request", &mut self.costs, 2, ""),
        ];
        for (unit, of, digits, target) in parts {
            let [ours, theirs] = &*of;
            let mut ratios: Vec<_> = ours.iter().zip(theirs).map(|(a, b)| a / b).collect();
            for (subject, values) in subjects.iter().zip(of) {
                let middle = format!("{:.digits$}", median(values));
                let (least, most) = (values[0], values[values.len() - 1]);
                let range = format!("{least:.digits$} to {most:.digits$}");
                table.add(format!("{}, {unit}", subject.name), middle, range, "");
            }
            let middle = format!("{:.3}", median(&mut ratios));
            let (least, most) = (ratios[0], ratios[ratios.len() - 1]);
            let range = format!("{least:.3} to {most:.3} in {} pairs", ratios.len());
            table.add(format!("ratio of {unit}"), middle, range, target);
        }
    }
}

#[cfg(test)]
#[allow(clippy::float_cmp, reason = "nothing is computed with them")]
mod tests {
    use super::rate;

    #[test]
    fn a_rate_counts_only_if_all_was_answered() {
        let good = "  2 threads\nRequests/sec:  81234.50\nTransfer/sec:      9.61MB\n";
        assert_eq!(rate(good).unwrap(), 81_234.5);
        let bad = format!("  Socket errors: connect 0, read 3, write 0, timeout 0\n{good}");
        assert!(rate(&bad).is_err());
        assert!(rate("unable to connect").unwrap_err().to_string().contains("no rate"));
    }
}
