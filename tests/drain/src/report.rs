//! What was measured, for people and for programs.
use crate::clients::Client;
use crate::proxy::Via;
use crate::server::Exit;
pub use crate::tally::Counts;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

/// All rounds of one client on one way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Cell {
    /// The way to the server.
    pub via: Via,
    /// Who asked.
    pub client: Client,
    /// How often the server was ended.
    pub rounds: u32,
    /// What became of the requests of all rounds.
    #[serde(flatten)]
    pub counts: Counts,
    /// From the signal to the exit in milliseconds, for each round, the shortest first.
    pub exit_ms: Vec<u64>,
    /// How often each exit code came; `signal` where a signal ended the process.
    pub codes: BTreeMap<String, u32>,
    /// How often the server had to be killed.
    pub killed: u32,
}

impl Cell {
    pub(crate) fn new(via: Via, client: Client) -> Self {
        Self {
            via,
            client,
            rounds: 0,
            counts: Counts::default(),
            exit_ms: Vec::new(),
            codes: BTreeMap::new(),
            killed: 0,
        }
    }

    pub(crate) fn add(&mut self, counts: Counts, exit: Exit) {
        self.rounds += 1;
        self.counts.add(counts);
        self.exit_ms.push(u64::try_from(exit.took.as_millis()).unwrap_or(u64::MAX));
        self.exit_ms.sort_unstable();
        let code = exit.code.map_or_else(|| "signal".to_owned(), |code| code.to_string());
        *self.codes.entry(code).or_default() += 1;
        self.killed += u32::from(exit.killed);
    }

    /// The longest time from the signal to the exit.
    pub fn longest_exit(&self) -> Duration {
        Duration::from_millis(self.exit_ms.last().copied().unwrap_or_default())
    }

    /// Whether nothing was lost and each round ended by itself with code 0.
    pub fn is_clean(&self) -> bool {
        self.counts.lost == 0 && self.killed == 0 && self.codes.keys().all(|code| code == "0")
    }
}

/// All cells of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The server.
    pub server: String,
    /// How long it had to accept after the signal, in milliseconds.
    pub lame_duck_ms: u64,
    /// Each way with each client.
    pub cells: Vec<Cell>,
}

impl Report {
    /// All requests that were lost.
    pub fn lost(&self) -> u64 {
        self.cells.iter().map(|cell| cell.counts.lost).sum()
    }

    /// Whether all cells are [clean](Cell::is_clean).
    pub fn is_clean(&self) -> bool {
        self.cells.iter().all(Cell::is_clean)
    }

    /// Why requests were lost, with the cell.
    pub fn reasons(&self) -> Vec<String> {
        let named = |cell: &Cell| {
            let name = format!("{} {}", cell.via, cell.client);
            cell.counts.reasons.iter().map(move |why| format!("{name}: {why}")).collect::<Vec<_>>()
        };
        self.cells.iter().flat_map(named).collect()
    }

    /// A table.
    pub fn markdown(&self) -> String {
        let mut table = format!(
            "{}, lame-duck time {} ms\n\n\
             | via | client | rounds | sent | answered | lost | idle resets | turned away | \
             refused | exit ms (median, longest) | exit codes | killed |\n\
             |---|---|--:|--:|--:|--:|--:|--:|--:|--:|---|--:|\n",
            self.server, self.lame_duck_ms
        );
        for cell in &self.cells {
            let counts = &cell.counts;
            let codes = cell.codes.iter().map(|(code, times)| format!("{code} x{times}"));
            let _ = writeln!(
                table,
                "| {} | {} | {} | {} | {} | {} | {} | {} | {} | {}, {} | {} | {} |",
                cell.via,
                cell.client,
                cell.rounds,
                counts.sent,
                counts.answered,
                counts.lost,
                counts.idle_resets,
                counts.turned_away,
                counts.refused,
                cell.exit_ms.get(cell.exit_ms.len() / 2).copied().unwrap_or_default(),
                cell.exit_ms.last().copied().unwrap_or_default(),
                codes.collect::<Vec<_>>().join(", "),
                cell.killed,
            );
        }
        table
    }
}

#[cfg(test)]
mod tests {
    use super::{Cell, Report};
    use crate::clients::Client;
    use crate::proxy::Via;
    use crate::server::Exit;
    use crate::tally::Counts;
    use std::time::Duration;

    #[test]
    fn one_killed_round_is_seen() {
        let mut cell = Cell::new(Via::Direct, Client::KeepAlive);
        let counts = Counts { sent: 3, answered: 3, ..Counts::default() };
        let took = Duration::from_millis(110);
        cell.add(counts.clone(), Exit { took, code: Some(0), killed: false });
        assert!(cell.is_clean());
        cell.add(counts, Exit { took: 10 * took, code: None, killed: true });
        assert!(!cell.is_clean());
        assert_eq!(cell.longest_exit(), 10 * took);
        let report = Report { server: "x".into(), lame_duck_ms: 0, cells: vec![cell] };
        let row = "| direct | keep-alive | 2 | 6 | 6 | 0 | 0 | 0 | 0 | 1100, 1100 | 0 x1, signal x1 | 1 |";
        assert_eq!(report.markdown().lines().last(), Some(row));
    }
}
