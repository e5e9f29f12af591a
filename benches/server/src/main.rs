//! What a minimal service costs: how soon it is ready, what memory it takes, how soon it ends, what
//! a probe takes, and how many requests a second go through.
//!
//! ```console
//! $ cargo run --release -p octostack-bench-server               # all of it, in a table
//! $ cargo run --release -p octostack-bench-server -- probe      # one part
//! ```
//!
//! Requests per second need `wrk` (Debian: `apt-get install wrk`). The service is
//! `examples/minimal-axum`, built in release mode as it is. `docs/benchmarks.md` has the figures.
mod probe;
mod process;
mod rate;
mod serve;
mod table;

use std::ffi::OsString;
use std::io::{self, Write as _};
use std::process::ExitCode;
use table::Table;

const BAD_USAGE: u8 = 64;

const HELP: &str = "\
Measures a minimal service.

Usage: octostack-bench-server [PART...] [options]

Parts, all of them unless named:
  process            exec to ready, memory at idle and after load, SIGTERM to exit
  probe              time and allocations of a probe
  rate               requests per second through our server and through bare hyper-util (needs wrk)
  service            requests per second of minimal-axum and of plain axum::serve (needs wrk)

Options:
  --runs N           of process: how often it is started; default 50
  --pairs N          of rate and service: pairs of runs; default 24
  --seconds N        of rate and service: length of a run; default 1
  --serve NAME PORT  serve on a port of loopback until killed; what is run beside wrk
  -h, --help         print this
";

type BoxError = Box<dyn std::error::Error>;

/// What is to be done.
struct Wish {
    parts: Vec<String>,
    runs: usize,
    pairs: usize,
    seconds: u32,
    serve: Option<(String, u16)>,
    help: bool,
}

fn main() -> ExitCode {
    let wish = match parse(std::env::args_os().skip(1)) {
        Ok(wish) => wish,
        Err(error) => {
            let _ = writeln!(io::stderr(), "octostack-bench-server: {error}; see --help");
            return ExitCode::from(BAD_USAGE);
        }
    };
    match run(&wish) {
        Ok(text) => match io::stdout().write_all(text.as_bytes()) {
            Ok(()) => ExitCode::SUCCESS,
            Err(_) => ExitCode::FAILURE,
        },
        Err(error) => {
            let _ = writeln!(io::stderr(), "octostack-bench-server: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(wish: &Wish) -> Result<String, BoxError> {
    if wish.help {
        return Ok(HELP.to_owned());
    }
    if let Some((name, port)) = &wish.serve {
        serve::run(name, *port)?;
        return Ok(String::new());
    }
    if cfg!(debug_assertions) {
        return Err("figures of a debug build say nothing; run it with --release".into());
    }
    let is_wanted = |part: &str| wish.parts.is_empty() || wish.parts.iter().any(|it| it == part);
    let mut table = Table::default();
    if is_wanted("probe") {
        probe::measure(&mut table);
    }
    if is_wanted("process") || is_wanted("service") {
        process::build()?;
    }
    if is_wanted("process") {
        process::measure(wish.runs, &mut table)?;
    }
    if is_wanted("rate") {
        rate::of_the_server(wish.pairs, wish.seconds, &mut table)?;
    }
    if is_wanted("service") {
        rate::of_the_service(wish.pairs, wish.seconds, &mut table)?;
    }
    Ok(table.to_string())
}

fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Wish, lexopt::Error> {
    use lexopt::prelude::*;
    let mut parser = lexopt::Parser::from_args(arguments);
    let mut wish =
        Wish { parts: Vec::new(), runs: 50, pairs: 24, seconds: 1, serve: None, help: false };
    while let Some(argument) = parser.next()? {
        match argument {
            Short('h') | Long("help") => wish.help = true,
            Long("runs") => wish.runs = parser.value()?.parse()?,
            Long("pairs") => wish.pairs = parser.value()?.parse()?,
            Long("seconds") => wish.seconds = parser.value()?.parse()?,
            Long("serve") => {
                wish.serve = Some((parser.value()?.string()?, parser.value()?.parse()?));
            }
            Value(part) => match part.string()? {
                part if ["process", "probe", "rate", "service"].contains(&&*part) => {
                    wish.parts.push(part);
                }
                other => return Err(format!("there is no part {other:?}").into()),
            },
            other => return Err(other.unexpected()),
        }
    }
    if wish.runs == 0 || wish.pairs == 0 || wish.seconds == 0 {
        return Err("nothing can be said of nothing: take at least 1".into());
    }
    Ok(wish)
}

/// The middle one; of two in the middle the lower.
fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len().saturating_sub(1) / 2).copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
#[allow(clippy::float_cmp, reason = "nothing is computed with them")]
mod tests {
    use super::{median, parse};

    fn parsed(arguments: &[&str]) -> Result<super::Wish, String> {
        parse(arguments.iter().map(Into::into)).map_err(|error| error.to_string())
    }

    #[test]
    fn understands_parts_and_numbers() {
        let wish = parsed(&["rate", "--pairs", "3", "probe"]).unwrap();
        assert_eq!((wish.parts, wish.pairs), (vec!["rate".to_owned(), "probe".to_owned()], 3));
        for (bad, why) in [
            (&["rates"][..], "there is no part \"rates\""),
            (&["--pairs", "0"], "at least 1"),
            (&["--pairs", "many"], "many"),
            (&["--fast"], "--fast"),
        ] {
            let error = parsed(bad).map(drop).unwrap_err();
            assert!(error.contains(why), "{error}");
        }
    }

    #[test]
    fn the_median_is_a_value_that_was_measured() {
        assert_eq!(median(&mut [3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&mut [4.0, 1.0, 3.0, 2.0]), 2.0);
        assert!(median(&mut []).is_nan());
    }
}
