//! Retries.
use crate::drive::Scenario;
use crate::echo::{self, Echo};
use crate::valid;
use octostack_core::Registry;
use octostack_resilience::Retry;
use std::sync::Arc;
use std::time::Duration;
use tower::retry::backoff::{
    Backoff as _, ExponentialBackoff, ExponentialBackoffMaker, MakeBackoff as _,
};
use tower::retry::budget::{Budget as _, TpsBudget};
use tower::retry::{Policy, RetryLayer};
use tower::util::rng::HasherRng;
use tower::{BoxError, Layer};
use tower_resilience::retry::{RetryBudgetBuilder, RetryLayer as TheirRetryLayer};

const ATTEMPTS: u32 = 3;
const BASE_DELAY: Duration = Duration::from_millis(100);
const MAX_DELAY: Duration = Duration::from_secs(2);
/// Repeats for each call.
const SHARE: f32 = 0.1;
/// Repeats in each second, whatever the traffic.
const FLOOR: u32 = 3;

/// A call that succeeds with its first attempt. Its share goes into the budget.
pub(crate) fn first_try() -> Scenario {
    Scenario {
        name: "retry/first-try",
        subjects: || {
            vec![
                echo::subject("baseline", Echo),
                echo::subject("octostack", octostack().layer().layer(Echo)),
                echo::subject("octostack-leaked", octostack().leak().layer().layer(Echo)),
                echo::subject("tower", RetryLayer::new(ByBudget::new()).layer(Echo)),
                echo::subject(
                    "tower-resilience",
                    tower_resilience::<u64, BoxError>(|_| true).layer(Echo),
                ),
            ]
        },
        between_rounds: || (),
    }
}

pub(crate) fn octostack() -> Retry {
    let builder = Retry::builder("inventory")
        .registry(&Registry::new())
        .max_attempts(ATTEMPTS)
        .base_delay(BASE_DELAY)
        .max_delay(MAX_DELAY)
        .budget_ratio(f64::from(SHARE))
        .budget_floor(FLOOR);
    valid(builder.build())
}

/// The policy that users of tower write themselves, as its documentation shows: attempts, backoff
/// and budget are its own parts.
#[derive(Clone)]
pub(crate) struct ByBudget {
    budget: Arc<TpsBudget>,
    left: u32,
    backoff: ExponentialBackoff,
}

impl ByBudget {
    pub(crate) fn new() -> Self {
        let mut backoff =
            valid(ExponentialBackoffMaker::new(BASE_DELAY, MAX_DELAY, 1.0, HasherRng::new()));
        Self {
            budget: Arc::new(TpsBudget::new(Duration::from_secs(10), FLOOR, SHARE)),
            left: ATTEMPTS - 1,
            backoff: backoff.make_backoff(),
        }
    }
}

impl<Req: Clone, E> Policy<Req, u64, E> for ByBudget {
    type Future = tokio::time::Sleep;

    fn retry(&mut self, _: &mut Req, result: &mut Result<u64, E>) -> Option<Self::Future> {
        if result.is_ok() {
            self.budget.deposit();
            return None;
        }
        if self.left == 0 || !self.budget.withdraw() {
            return None;
        }
        self.left -= 1;
        Some(self.backoff.next_backoff())
    }

    fn clone_request(&mut self, request: &Req) -> Option<Req> {
        Some(request.clone())
    }
}

/// Its budget is a rate, not a share of the traffic; a success puts a whole token in.
pub(crate) fn tower_resilience<Req, E: Send + 'static>(
    repeats: fn(&E) -> bool,
) -> TheirRetryLayer<Req, u64, E> {
    let budget = RetryBudgetBuilder::new().token_bucket().tokens_per_second(f64::from(FLOOR));
    TheirRetryLayer::builder()
        .name("inventory")
        .max_attempts(ATTEMPTS as usize)
        .exponential_backoff(BASE_DELAY)
        .retry_on(repeats)
        .budget(valid(budget.build()))
        .build()
}
