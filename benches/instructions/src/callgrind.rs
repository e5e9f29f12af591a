//! Runs scenarios under callgrind.
use crate::BoxError;
use std::fs;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::process::Command;

/// Past the growth of tables and the first pass of every branch.
const FEW: u64 = 2_000;
const MANY: u64 = 12_000;

/// glibc picks its way of copying memory by the processor. This leaves it the one that all have.
const SAME_COPY: &str = "glibc.cpu.hwcaps=-AVX_Fast_Unaligned_Load,-SSSE3,-ERMS";

/// What one call of a scenario executes.
pub(crate) fn instructions_per_call(scenario: &str, planted: bool) -> Result<f64, BoxError> {
    let few = instructions(scenario, FEW, planted)?;
    let many = instructions(scenario, MANY, planted)?;
    Ok((many as f64 - few as f64) / (MANY - FEW) as f64)
}

/// Where callgrind writes about a scenario: beside this program.
pub(crate) fn output(scenario: &str) -> Result<PathBuf, BoxError> {
    let program = std::env::current_exe()?;
    Ok(program.with_file_name(format!("callgrind.{}.out", scenario.replace('/', "-"))))
}

/// What a whole process executes.
fn instructions(scenario: &str, calls: u64, planted: bool) -> Result<u64, BoxError> {
    let output = output(scenario)?;
    let mut command = Command::new("valgrind");
    command.env("GLIBC_TUNABLES", SAME_COPY);
    command.arg("--tool=callgrind").arg(format!("--callgrind-out-file={}", output.display()));
    command.arg(std::env::current_exe()?).args(["--run", scenario, &calls.to_string()]);
    if planted {
        command.arg("--planted");
    }
    let ended = command.output().map_err(|error| match error.kind() {
        ErrorKind::NotFound => "there is no valgrind; it is in the package of that name".into(),
        _ => format!("valgrind does not start: {error}"),
    })?;
    if !ended.status.success() {
        let said = String::from_utf8_lossy(&ended.stderr);
        return Err(format!("{scenario} has failed under valgrind:\n{said}").into());
    }
    let text = fs::read_to_string(&output).map_err(|e| format!("{}: {e}", output.display()))?;
    total(&text).ok_or_else(|| format!("{}: has no `summary:`", output.display()).into())
}

/// The sum in a file of callgrind. It counts nothing but instructions unless it is asked to.
fn total(text: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix("summary: "))?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::total;

    #[test]
    fn reads_the_sum() {
        assert_eq!(
            total("version: 1\nevents: Ir\nsummary: 129328\n\nfn=(1) main\n"),
            Some(129_328)
        );
        assert_eq!(total("version: 1\nevents: Ir\n"), None);
    }
}
