//! The trial: what an open breaker does when its wait is over, and a half-open one with results.
use super::{Admission, Cold, Machine, Transition};
use crate::breaker::config::CircuitBreakerConfig;
use crate::breaker::probes::{Probes, Terms, Verdict};
use crate::breaker::rules::{Rule, nanos};
use crate::breaker::state::{State, Word, next_generation};
use crate::breaker::ticket::{Role, Ticket};
use crate::outcome::Outcome;
use octostack_core::Clock;
use octostack_core::sync::{
    atomic::Ordering::{Acquire, Relaxed},
    lock,
};
use std::time::Duration;

impl Machine {
    /// Open or half-open: is it time to try, and is there a lease?
    pub(super) fn probe(&self, clock: &impl Clock) -> (Admission, Option<Transition>) {
        let time = clock.now();
        let now = self.nanos(time);
        let wait = self.open_until.load(Acquire).saturating_sub(now);
        if wait > 0 && self.word().state == State::Open {
            let retry_after = Some(Duration::from_nanos(wait));
            return (Admission::Rejected { retry_after }, None);
        }
        let mut cold = lock(&self.cold);
        let transition = match self.word().state {
            // ## Open => HalfOpen
            State::Open if self.open_until.load(Relaxed) <= now => {
                let cause = "the wait is over".to_owned();
                Some(self.transit(&mut cold, now, State::HalfOpen, None, cause))
            }
            // Other settings may have decided what the results so far left open.
            State::HalfOpen => self.decide(&mut cold, now),
            State::Open | State::Closed => None,
        };
        let role = match self.word().state {
            State::Closed => Some(Role::Measured),
            State::HalfOpen => self.lease(&mut cold, now).then_some(Role::Probe),
            State::Open => None,
        };
        match role {
            Some(role) => (Admission::Admitted(self.ticket(self.word(), role, &time)), transition),
            None => (Admission::Rejected { retry_after: None }, transition),
        }
    }

    /// Takes a place among the trial calls, if there is one.
    fn lease(&self, cold: &mut Cold, now: u64) -> bool {
        let CircuitBreakerConfig { half_open_calls, half_open_timeout, .. } = cold.settings;
        let since = now.saturating_sub(cold.leased_at);
        if !cold.probes.lease(half_open_calls) {
            if since < nanos(half_open_timeout) || !cold.probes.reclaim() {
                return false;
            }
            // ## HalfOpen => HalfOpen of the next generation: what hangs comes back too late
            let word = self.word();
            self.store(Word { generation: next_generation(word.generation), ..word });
            cold.probes.lease(half_open_calls);
        }
        cold.leased_at = now;
        true
    }

    pub(super) fn settle_probe(
        &self,
        ticket: Ticket,
        outcome: Outcome,
        clock: &impl Clock,
    ) -> Option<Transition> {
        let now = self.nanos(clock.now());
        let mut cold = lock(&self.cold);
        let Word { generation, state, .. } = self.word();
        if (generation, state) != (ticket.generation(), State::HalfOpen) {
            return None; // too late to have a say
        }
        cold.probes.settle(outcome, ticket.is_slow(now, self.rules.slow_from()));
        self.decide(&mut cold, now)
    }

    /// Half-open: do the results so far decide it?
    fn decide(&self, cold: &mut Cold, now: u64) -> Option<Transition> {
        let Probes { done, failed, slow, .. } = cold.probes;
        let verdict = cold.probes.verdict(Terms::new(&cold.settings));
        let cause = || match slow {
            0 => format!("{failed} of {done} trial calls failed"),
            _ => format!("{failed} of {done} trial calls failed, {slow} were slow"),
        };
        match verdict {
            Verdict::Undecided => None,
            // ## HalfOpen => Closed
            Verdict::Close => Some(self.transit(cold, now, State::Closed, None, cause())),
            // ## HalfOpen => Open
            Verdict::Reopen => {
                cold.again = cold.again.saturating_add(1);
                Some(self.open(cold, now, Rule::TrialCalls, cause()))
            }
        }
    }

    /// The service said when it wants to be asked again.
    pub(super) fn keep_off(&self, ticket: Ticket, wait: Duration, clock: &impl Clock) {
        let mut cold = lock(&self.cold);
        if self.word().generation == ticket.generation() && ticket.role() != Role::Counted {
            // No longer than it could stay open for that: else a wish of long ago would count.
            let wait = wait.min(cold.settings.max_open_for.max(cold.settings.open_for));
            let until = self.nanos(clock.now()).saturating_add(nanos(wait));
            cold.asked_until = cold.asked_until.max(until);
        }
    }
}
