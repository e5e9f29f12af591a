use crate::settings::{require, settings};
use octostack_core::duration::format;
use octostack_core::inspect::Problem;
use std::time::Duration;

const MOST: u32 = 4_096;
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

settings! {
    /// Settings of a [`CatchPanic`](super::CatchPanic).
    ///
    /// | field | default | from |
    /// |---|---|---|
    /// | `max_message` | 200 | enough for an assertion; a message may hold what a client sent |
    /// | `event_interval` | 1 s | a route that always panics must not push all other events out |
    pub struct CatchPanicConfig {
        /// How many characters of a panic's message go into its event. 0, for none, to 4,096.
        max_message: u32 = 200,
        /// The shortest time between two events. Panics in between are counted, and the next event
        /// says how many they were. 0, for an event each, to 24 h.
        #[cfg_attr(feature = "serde", serde(with = "octostack_core::duration"),
            schemars(schema_with = "octostack_core::duration::schema"))]
        event_interval: Duration = Duration::from_secs(1),
    }
}

impl CatchPanicConfig {
    fn problems(&self) -> Vec<Problem> {
        let Self { max_message, event_interval } = *self;
        let mut all = Vec::new();
        require(&mut all, max_message <= MOST, "max_message", || {
            format!("{max_message} is out of range: 0 to {MOST}")
        });
        require(&mut all, event_interval <= LONGEST, "event_interval", || {
            format!("{} is out of range: 0s to 1day", format(event_interval))
        });
        all
    }
}
