//! What a sequence of looks means. No time and no file system in here.

/// What can be compared with an earlier look.
pub(super) trait Look {
    /// Whether nothing is different.
    fn same(&self, other: &Self) -> bool;

    /// Whether all that `now` has otherwise came in one step, and so is whole.
    fn at_once(&self, now: &Self) -> bool;
}

impl Look for crate::config::disk::Consulted {
    fn same(&self, other: &Self) -> bool {
        self.same(other)
    }

    fn at_once(&self, now: &Self) -> bool {
        self.only_swapped(now)
    }
}

/// What is to be done after a look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Nothing.
    Same,
    /// Something is different; it is to be looked at again soon, whether that lasts.
    Settling,
    /// Something is different, and that lasts.
    Changed,
}

/// Compares looks with a base: a change counts once two looks in a row have it.
pub(super) struct Machine<L> {
    base: L,
    candidate: Option<L>,
}

impl<L: Look + Clone> Machine<L> {
    pub(super) const fn new(base: L) -> Self {
        Self { base, candidate: None }
    }

    pub(super) const fn base(&self) -> &L {
        &self.base
    }

    pub(super) fn rebase(&mut self, base: L) {
        *self = Self::new(base);
    }

    pub(super) const fn is_settling(&self) -> bool {
        self.candidate.is_some()
    }

    pub(super) fn see(&mut self, now: L) -> Step {
        if self.base.same(&now) {
            self.candidate = None;
            // Links may have moved without a change of content.
            self.base = now;
            return Step::Same;
        }
        let lasts = self.candidate.as_ref().is_some_and(|before| before.same(&now));
        if lasts || self.base.at_once(&now) {
            // Told once, also if nobody loads it.
            self.rebase(now);
            return Step::Changed;
        }
        self.candidate = Some(now);
        Step::Settling
    }
}

#[cfg(test)]
mod tests {
    use super::{Look, Machine, Step};
    use proptest::prelude::*;

    /// The content, and how often it was exchanged in one step.
    #[derive(Clone, Copy, Debug, PartialEq)]
    struct Fake(u8, u8);

    impl Look for Fake {
        fn same(&self, other: &Self) -> bool {
            self.0 == other.0
        }

        fn at_once(&self, now: &Self) -> bool {
            self.1 != now.1
        }
    }

    fn steps(looks: &[Fake]) -> Vec<Step> {
        let mut machine = Machine::new(Fake(0, 0));
        looks.iter().map(|look| machine.see(*look)).collect()
    }

    #[test]
    fn a_change_counts_once_it_lasts_and_an_exchange_at_once() {
        use Step::{Changed, Same, Settling};
        let plain = [0, 1, 2, 2, 2, 0, 2, 3, 3].map(|content| Fake(content, 0));
        let expected = [Same, Settling, Settling, Changed, Same, Settling, Same, Settling, Changed];
        assert_eq!(steps(&plain), expected);
        let swapped = [Fake(1, 1), Fake(1, 2), Fake(2, 3), Fake(2, 3)];
        assert_eq!(steps(&swapped), [Changed, Same, Changed, Same]);
    }

    /// What was told last, and whether the look before was the same: by the definition.
    fn oracle(looks: &[Fake]) -> Vec<Step> {
        let mut told = Fake(0, 0);
        let mut before = None;
        let judge = |look: &Fake| {
            let same = look.0 == told.0;
            let step = match (same, before == Some(look.0), look.1 != told.1) {
                (true, ..) => Step::Same,
                (false, true, _) | (false, _, true) => Step::Changed,
                _ => Step::Settling,
            };
            if step != Step::Settling {
                told = *look;
            }
            before = (step == Step::Settling).then_some(look.0);
            step
        };
        looks.iter().map(judge).collect()
    }

    proptest! {
        #[test]
        fn agrees_with_the_oracle(looks in prop::collection::vec((0_u8..3, 0_u8..2), 0..30)) {
            let looks: Vec<_> = looks.into_iter().map(|(a, b)| Fake(a, b)).collect();
            prop_assert_eq!(steps(&looks), oracle(&looks));
        }
    }
}
