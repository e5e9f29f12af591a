//! Timeouts.
use crate::drive::Scenario;
use crate::echo::{self, Echo};
use crate::valid;
use octostack_core::Registry;
use octostack_resilience::Timeout;
use std::time::Duration;
use tower::Layer;
use tower::timeout::TimeoutLayer;
use tower_resilience::timelimiter::{FixedTimeout, TimeLimiterLayer};

/// Of one attempt.
pub(crate) const ATTEMPT: Duration = Duration::from_secs(10);

/// A call that answers at once, long before the time is up.
pub(crate) fn ready() -> Scenario {
    Scenario {
        name: "timeout/ready",
        subjects: || {
            vec![
                echo::subject("baseline", Echo),
                echo::subject("octostack", octostack(ATTEMPT).layer().layer(Echo)),
                echo::subject("octostack-leaked", octostack(ATTEMPT).leak().layer().layer(Echo)),
                echo::subject("tower", TimeoutLayer::new(ATTEMPT).layer(Echo)),
                echo::subject("tower-resilience", tower_resilience(ATTEMPT).layer(Echo)),
            ]
        },
        between_rounds: || (),
    }
}

pub(crate) fn octostack(limit: Duration) -> Timeout {
    let builder = Timeout::builder("inventory").registry(&Registry::new()).timeout(limit);
    valid(builder.build())
}

/// Drops the call when its time is up, which is its default and the cheaper of its two modes.
pub(crate) fn tower_resilience(limit: Duration) -> TimeLimiterLayer<FixedTimeout> {
    TimeLimiterLayer::builder().name("inventory").timeout_duration(limit).build()
}
