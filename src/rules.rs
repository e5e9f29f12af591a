//! What settings must keep beyond their types: rules of the service, and the gate of chaos.
use crate::framework::Framework;
use octostack_core::inspect::Problem;
use octostack_resilience::ChaosConfig;
use serde::Serialize;
use serde_json::{Map, Value as Json};
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

/// What a [`Service`](crate::Service) checks of settings `S`. Implemented by [`NoRules`] for all,
/// and by [`RulesFor`] for one type.
pub trait Rules<S>: Clone + Send + Sync + 'static {
    /// Everything that is wrong, by full key.
    fn problems(&self, settings: &S) -> Vec<Problem>;
}

/// There are none; see [`Service::validate`](crate::Service::validate).
#[derive(Clone, Copy, Debug, Default)]
pub struct NoRules;

impl<S> Rules<S> for NoRules {
    fn problems(&self, _: &S) -> Vec<Problem> {
        Vec::new()
    }
}

type Rule<S> = Arc<dyn Fn(&S) -> Vec<Problem> + Send + Sync>;

/// Rules for settings of type `S`; made by [`Service::validate`](crate::Service::validate).
pub struct RulesFor<S> {
    all: Vec<Rule<S>>,
}

impl<S> RulesFor<S> {
    pub(crate) fn new(rule: impl Fn(&S) -> Vec<Problem> + Send + Sync + 'static) -> Self {
        Self { all: vec![Arc::new(rule)] }
    }

    pub(crate) fn and(mut self, rule: impl Fn(&S) -> Vec<Problem> + Send + Sync + 'static) -> Self {
        self.all.push(Arc::new(rule));
        self
    }
}

impl<S: 'static> Rules<S> for RulesFor<S> {
    fn problems(&self, settings: &S) -> Vec<Problem> {
        self.all.iter().flat_map(|rule| rule(settings)).collect()
    }
}

impl<S> Clone for RulesFor<S> {
    fn clone(&self) -> Self {
        Self { all: self.all.clone() }
    }
}

impl<S> fmt::Debug for RulesFor<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RulesFor").field("rules", &self.all.len()).finish()
    }
}

/// Everything that is wrong with settings whose types are right: at the start, for `check`, and at
/// each reload.
pub(crate) fn problems<S: Serialize>(
    framework: &Framework,
    settings: &S,
    rules: &impl Rules<S>,
) -> Vec<Problem> {
    let mut problems = framework.problems();
    if !framework.chaos.enabled {
        problems.extend(chaos_problems(settings));
    }
    // One that panics must end neither a start nor a reload without a word.
    let found = catch_unwind(AssertUnwindSafe(|| rules.problems(settings)));
    problems.extend(found.unwrap_or_else(|_| {
        vec![Problem::new("", "a rule of the service panicked while it checked these settings")]
    }));
    problems
}

/// Endpoints in the settings that inject faults.
fn chaos_problems<S: Serialize>(settings: &S) -> Vec<Problem> {
    let mut problems = Vec::new();
    let endpoint = serde_json::to_value(crate::Endpoint::default());
    if let (Ok(Json::Object(endpoint)), Ok(json)) = (endpoint, serde_json::to_value(settings)) {
        find_chaos(&json, "", &endpoint, &mut problems);
    }
    problems
}

/// Settings are any type, so an endpoint in them is told by its keys: it has all of them.
fn find_chaos(json: &Json, at: &str, endpoint: &Map<String, Json>, found: &mut Vec<Problem>) {
    match json {
        Json::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                find_chaos(item, &format!("{at}[{index}]"), endpoint, found);
            }
        }
        Json::Object(entries) => {
            let dot = if at.is_empty() { "" } else { "." };
            let chaos = entries.get("chaos").cloned().map(serde_json::from_value::<ChaosConfig>);
            if let Some(Ok(chaos)) = chaos
                && endpoint.keys().all(|key| entries.contains_key(key))
            {
                found.extend(chaos.injecting().map(|key| {
                    let message = "chaos is not enabled in this process: set `chaos.enabled = \
                                   true` in its config to allow it";
                    Problem::new(format!("{at}{dot}chaos.{key}"), message)
                }));
            }
            for (key, json) in entries {
                find_chaos(json, &format!("{at}{dot}{key}"), endpoint, found);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::{Framework, NoRules, Problem, RulesFor, problems};
    use crate::Endpoint;
    use serde::Serialize;
    use std::collections::BTreeMap;

    #[derive(Clone, Default, Serialize)]
    struct Settings {
        stock: Option<Endpoint>,
        others: BTreeMap<String, Endpoint>,
        list: Vec<Endpoint>,
        #[serde(flatten)]
        flat: Endpoint,
        /// Of the service's own making, and none of our business.
        chaos_monkey: Monkey,
    }

    #[derive(Clone, Serialize)]
    struct Monkey {
        chaos: octostack_resilience::ChaosConfig,
    }

    impl Default for Monkey {
        fn default() -> Self {
            Self { chaos: injecting().chaos }
        }
    }

    fn injecting() -> Endpoint {
        let mut endpoint = Endpoint::default();
        endpoint.chaos.error_rate = 0.5;
        endpoint
    }

    fn keys(problems: &[Problem]) -> Vec<&str> {
        problems.iter().map(|problem| &*problem.key).collect()
    }

    #[test]
    fn endpoints_that_inject_are_found_wherever_they_are() {
        let mut framework = Framework::default();
        assert_eq!(problems(&framework, &Settings::default(), &NoRules), []);
        let mut slow = injecting();
        slow.chaos.latency = std::time::Duration::from_secs(1);
        let settings = Settings {
            stock: Some(injecting()),
            others: [("prices".to_owned(), slow)].into(),
            list: vec![Endpoint::default(), injecting()],
            flat: injecting(),
            ..Settings::default()
        };
        let found = problems(&framework, &settings, &NoRules);
        let mut found = keys(&found);
        found.sort_unstable();
        let all = [
            "chaos.error_rate",
            "list[1].chaos.error_rate",
            "others.prices.chaos.error_rate",
            "others.prices.chaos.latency",
            "stock.chaos.error_rate",
        ];
        assert_eq!(found, all);
        framework.chaos.enabled = true;
        assert_eq!(problems(&framework, &settings, &NoRules), []);
        assert_eq!(problems(&framework, &(), &NoRules), [], "a service without settings");
    }

    #[test]
    fn rules_come_after_what_the_framework_finds_and_all_are_asked() {
        let mut framework = Framework::default();
        framework.server.listener.max_connections = 0;
        let rules = RulesFor::new(|n: &u8| vec![Problem::new("a", format!("{n}"))]);
        let rules = rules.and(|_| Vec::new()).and(|_| vec![Problem::new("b", "wrong")]);
        let found = problems(&framework, &7, &rules);
        assert_eq!(keys(&found), ["server.max_connections", "a", "b"]);
    }

    #[test]
    fn a_rule_that_panics_refuses() {
        let rules = RulesFor::new(|_: &u8| panic!("on purpose"));
        let found = problems(&Framework::default(), &7, &rules);
        assert!(found[0].to_string().starts_with("a rule of the service panicked"), "{found:?}");
    }
}
