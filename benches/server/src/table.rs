//! The report.
use std::fmt;

/// What was measured, beside what was wanted.
#[derive(Default)]
pub(crate) struct Table {
    rows: Vec<Row>,
}

struct Row {
    what: String,
    /// What it usually is.
    median: String,
    /// The range, or what else there is to say.
    range: String,
    target: String,
}

impl Table {
    pub(crate) fn add(
        &mut self,
        what: impl Into<String>,
        median: impl Into<String>,
        range: impl Into<String>,
        target: impl Into<String>,
    ) {
        let (what, median) = (what.into(), median.into());
        self.rows.push(Row { what, median, range: range.into(), target: target.into() });
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "| what | median | range | target |\n|---|---|---|---|")?;
        for Row { what, median, range, target } in &self.rows {
            writeln!(f, "| {what} | {median} | {range} | {target} |")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::Table;

    #[test]
    fn a_table_can_be_pasted_into_the_book() {
        let mut table = Table::default();
        table.add("exec to ready", "5.0 ms", "4.1 to 7.9 ms", "20 ms");
        let text = table.to_string();
        assert!(text.ends_with("| exec to ready | 5.0 ms | 4.1 to 7.9 ms | 20 ms |\n"), "{text}");
    }
}
