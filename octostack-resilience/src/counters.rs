//! Metrics that all policies share; see the contract's table.
use crate::outcome::Outcome;
use octostack_core::inspect::{Metric, Sink, Value};

static DECISIONS: Metric = Metric::counter(
    "octostack_policy_decisions_total",
    "Calls that a policy permitted, rejected, or would have rejected in shadow mode.",
);

static OUTCOMES: Metric = Metric::counter(
    "octostack_policy_outcomes_total",
    "How calls ended that a policy permitted, as the policy saw it.",
);

/// The numbers of one policy, read all at once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    pub(crate) permitted: u64,
    pub(crate) rejected: u64,
    pub(crate) shadow_rejected: u64,
    /// By outcome, in the order of [`Outcome::ALL`]. `None` for policies that see no outcomes.
    pub(crate) outcomes: Option<[u64; 5]>,
}

impl Totals {
    /// Adds the numbers of another policy of the same kind.
    pub(crate) fn add(&mut self, other: Self) {
        self.permitted += other.permitted;
        self.rejected += other.rejected;
        self.shadow_rejected += other.shadow_rejected;
        if let Some(outcomes) = other.outcomes {
            let mine = self.outcomes.get_or_insert_default();
            mine.iter_mut().zip(outcomes).for_each(|(mine, other)| *mine += other);
        }
    }

    pub(crate) fn collect(&self, policy: &str, kind: &str, sink: &mut dyn Sink) {
        let decisions = [
            ("permitted", self.permitted),
            ("rejected", self.rejected),
            ("shadow_rejected", self.shadow_rejected),
        ];
        for (decision, count) in decisions {
            let labels = [("policy", policy), ("kind", kind), ("decision", decision)];
            sink.sample(&DECISIONS, &labels, count as f64);
        }
        for (outcome, count) in Outcome::ALL.into_iter().zip(self.outcomes.into_iter().flatten()) {
            let labels = [("policy", policy), ("kind", kind), ("outcome", outcome.as_str())];
            sink.sample(&OUTCOMES, &labels, count as f64);
        }
    }

    /// The entry `counters` of a status.
    pub(crate) fn status(&self) -> Value {
        let mut entries = vec![
            ("permitted", Value::from(self.permitted)),
            ("rejected", self.rejected.into()),
            ("shadow_rejected", self.shadow_rejected.into()),
        ];
        let outcomes = Outcome::ALL.into_iter().zip(self.outcomes.into_iter().flatten());
        entries.extend(outcomes.map(|(outcome, count)| (outcome.as_str(), count.into())));
        Value::map(entries)
    }
}
