//! A whole HTTP service: one setting, one route. Try it with `cargo run -p minimal-axum`, then
//! `curl localhost:8080` and `curl localhost:8081`.
use octostack::prelude::*;

/// Settings of the greeter. `MINIMAL_AXUM_GREETING` sets `greeting`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
struct Settings {
    /// What to say.
    greeting: String,
}

impl Default for Settings {
    fn default() -> Self {
        Self { greeting: "hello".to_owned() }
    }
}

fn main() -> ExitCode {
    octostack::service!(owner = "team-greetings").run(build)
}

/// Builds the service. It is ready, and gets traffic, once this returns.
async fn build(app: App<Settings>) -> Result<Router> {
    Ok(Router::new().route("/", get(greet)).with_state(app))
}

/// `GET /`: says what the settings say at the moment.
async fn greet(State(app): State<App<Settings>>) -> String {
    app.settings().greeting.clone() + "\n"
}
