//! What a pod's spec says beside its containers: how long it waits, what else it sets.
use super::findings::Within;
use super::manifest::{Manifest, Workload, at, list};
use super::{Contract, budget};
use octostack_core::Identity;
use octostack_core::config::Item;
use octostack_core::lifecycle::LifecycleConfig;
use std::time::Duration;

/// How long Kubernetes waits unless it is told.
const DEFAULT_GRACE: Duration = Duration::from_secs(30);

/// Checks that the kubelet waits for the longest end.
pub(super) fn grace(
    workload: Workload<'_>,
    container: Item<'_>,
    lifecycle: &LifecycleConfig,
    found: &mut Within<'_>,
) {
    let told = workload.pod.get("terminationGracePeriodSeconds");
    let grace = told.and_then(Item::integer).and_then(|seconds| u64::try_from(seconds).ok());
    let grace = grace.map_or(DEFAULT_GRACE, Duration::from_secs);
    let sleep = pre_stop(container);
    let needed = sleep + budget(lifecycle);
    if grace >= needed {
        return;
    }
    let write = octostack_core::duration::format;
    let origin = told.unwrap_or(container).origin();
    let default = if told.is_none() { ", the default," } else { "" };
    let before = if sleep.is_zero() {
        String::new()
    } else {
        format!(" after a preStop of {}", write(sleep))
    };
    let least = needed.as_secs_f64().ceil();
    let message = format!(
        "terminationGracePeriodSeconds {}{default} is less than the {} that the end may \
         take{before}; the kubelet would kill a drain midway: set {least} or more, or lower \
         lifecycle.drain_timeout",
        grace.as_secs(),
        write(needed),
    );
    found.contradiction(origin, message);
}

/// How long the hook before SIGTERM sleeps, as far as that can be seen.
fn pre_stop(container: Item<'_>) -> Duration {
    let Some(hook) = at(container, &["lifecycle", "preStop"]) else {
        return Duration::ZERO;
    };
    let slept = at(hook, &["sleep", "seconds"]).and_then(Item::integer);
    let words: Vec<_> = list(hook, &["exec", "command"])
        .flat_map(|word| {
            let number = word.integer().map(|number| number.to_string());
            let text = word.text().unwrap_or_default().split_whitespace().map(str::to_owned);
            text.chain(number).collect::<Vec<_>>()
        })
        .collect();
    let after = |words: &[String]| -> Option<i128> {
        let [command, seconds] = words else { return None };
        let sleeps = command == "sleep" || command.ends_with("/sleep");
        seconds.trim_end_matches([';', 's']).parse().ok().filter(|_| sleeps)
    };
    let seconds = slept.or_else(|| words.windows(2).find_map(after)).unwrap_or_default();
    Duration::from_secs(u64::try_from(seconds).unwrap_or_default())
}

/// Checks that Kubernetes sets no variables that look like settings.
pub(super) fn service_links(
    manifest: &Manifest<'_>,
    workload: Workload<'_>,
    contract: &Contract,
    found: &mut Within<'_>,
) {
    let links = workload.pod.get("enableServiceLinks");
    if links.and_then(Item::boolean) == Some(false) {
        return;
    }
    let like_ours = |name: &str| Identity::new(name.to_owned(), "").env_prefix() == contract.prefix;
    if let Some(service) = manifest.of_kind("Service").find(|service| like_ours(service.name)) {
        let message = format!(
            "Kubernetes sets {}PORT and more for the Service {}; `enableServiceLinks: false` in \
             the pod spec stops it",
            contract.prefix, service.name
        );
        found.warning(links.unwrap_or(workload.pod).origin(), message);
    }
}
