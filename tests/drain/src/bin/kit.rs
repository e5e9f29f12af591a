//! `drain-kit --server 'CMD ARGS'`: see README.md.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "what a command is for")]

use lexopt::prelude::*;
use octostack_drain::BoxError;
use octostack_drain::kit::{self, Plan, signal_by_name};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

const HELP: &str = "\
Ends a server under every kind of client and counts the requests that are lost.

drain-kit --server 'CMD ARGS' [OPTION]...

  --server 'CMD ARGS'   starts the server; split at spaces
  --name NAME           its name in the table; the command's unless told
  --env KEY=VALUE       a variable for it; repeatable
  --port-env NAME       the variable that tells it its port; PORT unless told
  --ready PATH          answered with 200 once it is ready; /fast unless told
  --signal NAME         TERM, INT, QUIT or HUP; TERM unless told
  --budget SECONDS      after that it is killed; 25 unless told
  --lame-duck MILLIS    how long after the signal it has to accept on; 0 unless told
  --rounds N            rounds of each cell; 5 unless told
  --seed N              of the moments of the signal; 1 unless told
  --via NAME            direct, haproxy or nginx; repeatable; direct unless told
  --client NAME         repeatable; all of them unless told
  --json FILE           writes the report there too
  --expect-none         fails if anything was lost, killed, or ended with another code than 0
";

struct Options {
    plan: Plan,
    json: Option<PathBuf>,
    expect_none: bool,
}

fn options() -> Result<Option<Options>, BoxError> {
    let mut plan = Plan::new("");
    let (mut vias, mut clients) = (Vec::new(), Vec::new());
    let (mut json, mut expect_none) = (None, false);
    let mut arguments = lexopt::Parser::from_env();
    while let Some(argument) = arguments.next()? {
        match argument {
            Short('h') | Long("help") => return Ok(None),
            Long("server") => plan.set_server(&arguments.value()?.string()?),
            Long("name") => plan.name = arguments.value()?.string()?,
            Long("env") => {
                let pair = arguments.value()?.string()?;
                let (key, value) = pair.split_once('=').ok_or("--env needs KEY=VALUE")?;
                plan.env.push((key.to_owned(), value.to_owned()));
            }
            Long("port-env") => plan.port_env = arguments.value()?.string()?,
            Long("ready") => plan.ready = arguments.value()?.string()?,
            Long("signal") => plan.signal = signal_by_name(&arguments.value()?.string()?)?,
            Long("budget") => plan.budget = Duration::from_secs(arguments.value()?.parse()?),
            Long("lame-duck") => {
                plan.lame_duck = Duration::from_millis(arguments.value()?.parse()?);
            }
            Long("rounds") => plan.rounds = arguments.value()?.parse()?,
            Long("seed") => plan.seed = arguments.value()?.parse()?,
            Long("via") => vias.push(arguments.value()?.parse()?),
            Long("client") => clients.push(arguments.value()?.parse()?),
            Long("json") => json = Some(arguments.value()?.into()),
            Long("expect-none") => expect_none = true,
            other => return Err(other.unexpected().into()),
        }
    }
    if plan.server.is_empty() {
        return Err("no --server; see drain-kit --help".into());
    }
    if !vias.is_empty() {
        plan.vias = vias;
    }
    if !clients.is_empty() {
        plan.clients = clients;
    }
    Ok(Some(Options { plan, json, expect_none }))
}

async fn run(options: Options) -> Result<ExitCode, BoxError> {
    let report = kit::run(&options.plan).await?;
    println!("{}", report.markdown());
    for reason in report.reasons() {
        eprintln!("{reason}");
    }
    if let Some(path) = options.json {
        std::fs::write(&path, serde_json::to_vec_pretty(&report)?)
            .map_err(|error| format!("cannot write {}: {error}", path.display()))?;
    }
    let failed = options.expect_none && !report.is_clean();
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

#[tokio::main]
async fn main() -> ExitCode {
    let result = match options() {
        Ok(Some(options)) => run(options).await,
        Ok(None) => {
            print!("{HELP}");
            return ExitCode::SUCCESS;
        }
        Err(error) => {
            eprintln!("drain-kit: {error}");
            return ExitCode::from(64);
        }
    };
    result.unwrap_or_else(|error| {
        eprintln!("drain-kit: {error}");
        ExitCode::FAILURE
    })
}
