//! The kit's routes as an OctoStack service.
use octostack::core::lifecycle::Step;
use octostack::prelude::*;
use octostack_drain::routes::{Ends, routes};

/// No settings beside those of the framework.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
struct Settings {}

fn main() -> ExitCode {
    octostack::service!(owner = "nobody").run(build)
}

async fn build(app: App<Settings>) -> Result<Router> {
    let stop = app.stop();
    Ok(routes(&Ends::new(move || stop.reached(Step::Drain))))
}
