//! The bulkhead of one key.
use crate::bulkhead::config::BulkheadConfig;
use crate::bulkhead::shared::{MODES, Shared};
use crate::counters::Totals;
use crate::keyed::Unit;
use crate::settings::Live;
use octostack_core::Clock;
use octostack_core::inspect::Mode;
use std::sync::Arc;

/// What the bulkheads of new keys are made of.
#[derive(Clone)]
pub(crate) struct Rules {
    pub(super) name: Arc<str>,
    pub(super) mode: Mode,
    pub(super) settings: BulkheadConfig,
}

/// Who has a place or waits for one points to it, so one that nobody uses is at rest.
impl Unit for Shared {
    type Rules = Rules;
    type Sum = Totals;

    fn make(rules: &Rules, label: Option<Arc<str>>, _: &impl Clock) -> Self {
        let live = Live::checked(rules.mode, rules.settings.clone(), MODES);
        Self::with(rules.name.clone(), label, live)
    }

    fn at_rest(&self) -> bool {
        self.permits.counts() == (0, 0)
    }

    fn is_stale(&self, _: &impl Clock) -> bool {
        self.at_rest()
    }

    fn add_to(&self, sum: &mut Totals) {
        sum.add(self.permits.totals());
    }

    fn merge(sum: &mut Totals, other: Totals) {
        sum.add(other);
    }
}
