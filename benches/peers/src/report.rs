//! Prints what was measured.
use crate::drive::Measurement;
use std::io::{self, Write};

pub(crate) struct Report<W> {
    out: W,
    json: bool,
}

impl<W: Write> Report<W> {
    pub(crate) fn new(out: W, json: bool) -> Self {
        Self { out, json }
    }

    /// Prints one scenario. The first subject is the baseline of the others.
    pub(crate) fn scenario(&mut self, measured: &[Measurement]) -> io::Result<()> {
        if self.json { self.lines(measured) } else { self.table(measured) }
    }

    fn lines(&mut self, measured: &[Measurement]) -> io::Result<()> {
        for measurement in measured {
            serde_json::to_writer(&mut self.out, measurement)?;
            writeln!(self.out)?;
        }
        Ok(())
    }

    fn table(&mut self, measured: &[Measurement]) -> io::Result<()> {
        let Some(Measurement { scenario, .. }) = measured.first() else {
            return Ok(());
        };
        let out = &mut self.out;
        writeln!(
            out,
            "{scenario:<20} {:>7} {:>9} {:>14} {:>11}",
            "threads", "ns/call", "over baseline", "allocs/call"
        )?;
        for Measurement { subject, threads, ns_per_call, allocs_per_call, .. } in measured {
            let baseline = measured.iter().find(|other| other.threads == *threads);
            let over = ns_per_call - baseline.map_or(0.0, |baseline| baseline.ns_per_call);
            writeln!(
                out,
                "  {subject:<18} {threads:>7} {ns_per_call:>9.1} {over:>14.1} {allocs_per_call:>11.2}"
            )?;
        }
        writeln!(out)
    }
}

#[cfg(test)]
mod tests {
    use super::Report;
    use crate::drive::Measurement;

    fn measured() -> [Measurement; 2] {
        [("baseline", 1.5, 0.0), ("octostack", 12.0, 0.25)].map(|(subject, ns, allocs)| {
            let scenario = "breaker/closed";
            Measurement { scenario, subject, threads: 2, ns_per_call: ns, allocs_per_call: allocs }
        })
    }

    fn printed(json: bool) -> String {
        let mut out = Vec::new();
        Report::new(&mut out, json).scenario(&measured()).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn json_is_one_object_a_line() {
        let expected = r#"{"scenario":"breaker/closed","subject":"octostack","threads":2,"ns_per_call":12.0,"allocs_per_call":0.25}"#;
        assert_eq!(printed(true).lines().nth(1), Some(expected));
        assert_eq!(printed(true).lines().count(), 2);
    }

    #[test]
    fn the_table_shows_what_is_over_the_baseline() {
        let table = printed(false);
        let row: Vec<_> = table.lines().nth(2).unwrap().split_whitespace().collect();
        assert_eq!(row, ["octostack", "2", "12.0", "10.5", "0.25"]);
    }
}
