use octostack_core::config::{Errors, Loaded, Loader};
use octostack_core::secret::Secret;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The framework's part, as the facade would give it.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub(crate) struct Framework {
    pub server: Server,
    pub admin: Admin,
}

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub(crate) struct Server {
    /// Port to listen on.
    pub port: u16,
    pub host: String,
}

impl Default for Server {
    fn default() -> Self {
        Self { port: 8080, host: "127.0.0.1".into() }
    }
}

#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub(crate) struct Admin {
    pub token: Option<Secret<String>>,
}

/// The settings of a service.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Settings {
    #[serde(default = "inventory")]
    pub inventory: Endpoint,
    pub signing_key: Secret<String>,
    pub database: Option<Database>,
    #[serde(default)]
    pub limits: BTreeMap<String, Limit>,
    #[serde(default)]
    pub hosts: Vec<String>,
    #[serde(default)]
    pub mode: Mode,
    #[serde(default = "five")]
    #[schemars(range(min = 1, max = 100))]
    pub retries: u32,
}

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub(crate) struct Endpoint {
    pub url: String,
    #[serde(with = "octostack_core::duration")]
    #[schemars(schema_with = "octostack_core::duration::schema")]
    pub timeout: Duration,
    pub pool_size: u32,
    #[schemars(with = "Option<String>")]
    pub addr: Option<SocketAddr>,
    #[schemars(with = "Vec<String>")]
    pub mirrors: Vec<SocketAddr>,
}

impl Default for Endpoint {
    fn default() -> Self {
        Self {
            url: "http://localhost".into(),
            timeout: Duration::from_secs(30),
            pool_size: 10,
            addr: None,
            mirrors: Vec::new(),
        }
    }
}

/// Other defaults than those of `Endpoint` itself.
fn inventory() -> Endpoint {
    Endpoint { timeout: Duration::from_millis(500), ..Endpoint::default() }
}

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Database {
    pub url: String,
    pub password: Secret<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Limit {
    pub rps: u32,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Mode {
    /// Quick.
    #[default]
    Fast,
    /// Thorough.
    Slow,
}

fn five() -> u32 {
    5
}

/// A loader that sees the given variables and the fixture directory.
pub(crate) fn loader<const N: usize>(dir: &str, variables: [(&str, &str); N]) -> Loader {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/config");
    Loader::new("ORDERS_")
        .environment(variables)
        .bare("PORT", "server.port")
        .bare("HOST", "server.host")
        .bare("ADMIN_TOKEN", "admin.token")
        .config_dir(fixtures.join(dir))
}

/// A loader without files.
pub(crate) fn bare_loader<const N: usize>(variables: [(&str, &str); N]) -> Loader {
    Loader::new("ORDERS_")
        .environment(variables)
        .bare("PORT", "server.port")
        .bare("HOST", "server.host")
        .bare("ADMIN_TOKEN", "admin.token")
}

pub(crate) fn load(loader: &Loader) -> Result<Loaded<Framework, Settings>, Errors> {
    loader.load()
}

/// Messages of all errors, each on one line.
pub(crate) fn lines(errors: &Errors) -> Vec<String> {
    errors.iter().map(ToString::to_string).collect()
}

/// A new, empty directory for the test of this name.
pub(crate) fn temp_dir(name: &str) -> PathBuf {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("config-{name}"));
    let _ = std::fs::remove_dir_all(&dir);
    std::fs::create_dir_all(&dir).unwrap();
    dir
}

/// Writes a file into `dir`.
pub(crate) fn write(dir: &Path, name: &str, text: &str) -> PathBuf {
    let path = dir.join(name);
    std::fs::write(&path, text).unwrap();
    path
}
