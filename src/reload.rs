//! The config of a running service: its pages, its reloads, and the framework's own parts that
//! follow them.
use crate::framework::Framework;
use http::request::Parts;
use octostack_core::Dynamic;
use octostack_core::admin::{AdminBuilder, Declined, Tokens};
use octostack_core::config::live::{Commit, Hangups, Live, Trigger, Watching};
use octostack_core::health::{CheckKind, Health};
use octostack_core::inspect::{Problem, Value};
use octostack_core::lifecycle::{Lifecycle, Phase};
use schemars::JsonSchema;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The config of a service with the settings `S`.
pub(crate) type Config<S> = Live<Framework, S>;

/// What settings have to be, to be loaded from sources.
pub(crate) trait Settings:
    Serialize + DeserializeOwned + JsonSchema + Send + Sync + 'static
{
}

impl<S: Serialize + DeserializeOwned + JsonSchema + Send + Sync + 'static> Settings for S {}

/// Adds the pages: what is in effect, what has changed, and the change itself.
pub(crate) fn pages<S: Settings>(
    admin: AdminBuilder,
    config: &Config<S>,
    lifecycle: &Lifecycle,
) -> AdminBuilder {
    let (shown, compared) = (config.clone(), config.clone());
    let (reloaded, counted, lifecycle) = (config.clone(), config.clone(), lifecycle.clone());
    admin
        .status_page("/configz", "the config in effect", move || shown.status())
        .query_page("/configz/diff", "what changed, ?from=&to= generations", move |parts| {
            diff(&compared, parts)
        })
        .action("/configz/reload", "loads the config again", move |actor| {
            let (config, lifecycle) = (reloaded.clone(), lifecycle.clone());
            async move {
                if lifecycle.phase() == Phase::Starting {
                    let detail = "the service is starting, with the config as it is".to_owned();
                    return Err(Declined { detail, problems: Vec::new() });
                }
                let reloaded = config.reload_aside(Trigger::Operator(actor)).await;
                reloaded.map(|reloaded| reloaded.status()).map_err(|refused| {
                    let problems = refused.problems.clone();
                    let detail = format!(
                        "the last good config stays in effect; problems: {}",
                        problems.len()
                    );
                    Declined { detail, problems }
                })
            }
        })
        .generation("config", move || counted.settings().generation())
}

fn diff<S: Settings>(config: &Config<S>, parts: &Parts) -> Result<Value, Vec<Problem>> {
    let (mut from, mut to, mut problems) = (None, None, Vec::new());
    let query = parts.uri.query().unwrap_or_default();
    for (name, text) in form_urlencoded::parse(query.as_bytes()) {
        let side = match &*name {
            "from" => &mut from,
            "to" => &mut to,
            _ => {
                problems.push(Problem::new(name, "no such parameter; there are from and to"));
                continue;
            }
        };
        match text.parse() {
            Ok(generation) => *side = Some(generation),
            Err(_) => problems.push(Problem::new(name, "must be the number of a generation")),
        }
    }
    if problems.is_empty() { config.diff(from, to) } else { Err(problems) }
}

/// The tokens of the admin port, which a reload replaces.
pub(crate) fn tokens<S: Settings>(config: &Config<S>) -> Dynamic<Tokens> {
    let tokens = Dynamic::new(config.framework().admin.tokens());
    let follow = tokens.clone();
    config.on_reload("the admin port", move |change| {
        let (old, new) = (&change.old.framework.admin, &change.new.framework.admin);
        if old.token == new.token && old.read_token == new.read_token {
            return Ok(Commit::nothing());
        }
        let (tokens, new) = (follow.clone(), new.tokens());
        Ok(Commit::new(move || _ = tokens.store(new)))
    });
    tokens
}

/// A reload that failed makes the service degraded.
pub(crate) fn check<S: Settings>(config: &Config<S>, health: &Health) {
    let config = config.clone();
    health.passive("config", CheckKind::Shared, move || config.standing());
}

/// Follows files and SIGHUP once the service has started, for as long as the future is polled.
///
/// Not before: whoever is being built reads the settings, and is asked about later ones only when
/// it is there.
pub(crate) async fn follow<S: Settings>(config: Config<S>, hangups: Hangups, lifecycle: Lifecycle) {
    lifecycle.started().await;
    config.follow(hangups, Watching::new()).await;
}
