//! Bulkheads.
use crate::drive::Scenario;
use crate::echo::{self, Echo};
use crate::valid;
use octostack_core::Registry;
use octostack_resilience::Bulkhead;
use tower::Layer;
use tower::limit::ConcurrencyLimitLayer;
use tower_resilience::bulkhead::BulkheadLayer;

const PLACES: u32 = 100;

/// A call that finds a place free.
pub(crate) fn admitted() -> Scenario {
    Scenario {
        name: "bulkhead/admitted",
        subjects: || {
            vec![
                echo::subject("baseline", Echo),
                echo::subject("octostack", octostack().layer().layer(Echo)),
                echo::subject("octostack-leaked", octostack().leak().layer().layer(Echo)),
                echo::subject("tower", tower().layer(Echo)),
                echo::subject("tower-resilience", tower_resilience().layer(Echo)),
            ]
        },
        between_rounds: || (),
    }
}

/// Rejects what finds no place.
pub(crate) fn octostack() -> Bulkhead {
    let builder = Bulkhead::builder("inventory").registry(&Registry::new()).max_concurrent(PLACES);
    valid(builder.build())
}

/// Lets wait what finds no place: it can do nothing else.
pub(crate) fn tower() -> ConcurrencyLimitLayer {
    ConcurrencyLimitLayer::new(PLACES as usize)
}

/// Rejects what finds no place, as its presets do.
pub(crate) fn tower_resilience() -> BulkheadLayer {
    let builder = BulkheadLayer::builder().name("inventory").max_concurrent_calls(PLACES as usize);
    valid(builder.reject_when_full().build())
}
