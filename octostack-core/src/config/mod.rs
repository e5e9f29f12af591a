//! Settings from defaults, files, environment and command line; all mistakes in one report.
//!
//! A service that is misconfigured should say so before it serves, name every mistake in one go,
//! and say for each where it stands and what to write instead. Someone who fixes one line, deploys
//! and meets the next mistake has lost ten minutes; someone whose misspelt key was ignored loses
//! the night.
//!
//! # How it works
//!
//! The settings are a plain struct that derives `Serialize`, `Deserialize` and `JsonSchema`.
//! (`Serialize` is how defaults become visible.) Its schema says which keys there are and what they
//! accept, so that sources are asked for keys rather than guessed into a tree:
//!
//! 1. **Defaults** of serde: `#[serde(default)]` on a field or on a struct.
//! 2. **Files**: `default.*`, then `{APP_ENV}.*` of the config directory, then named files. TOML,
//!    YAML and JSON. The directory is the one that is [given](Loader::config_dir), else
//!    `CONFIG_DIR`, else `./config`, else a [fallback](Loader::fallback_dir). `CONFIG_FILE` names
//!    more files, with `:` between them (`;` on Windows).
//! 3. **Bindings**: the directories of `SERVICE_BINDING_ROOT`, for fields of the type
//!    `Binding` (feature `bindings`).
//! 4. **Environment**: prefix and path in capitals. `inventory.pool_size` is
//!    `ORDERS_INVENTORY_POOL_SIZE`, or `ORDERS_INVENTORY__POOL_SIZE`. With `_FILE` at the end the
//!    variable names a file that holds the value; one newline at its end is not part of it.
//!    Below the variables of the process are those of a [`.env`](Loader::dotenv).
//! 5. **Command line**: [`Loader::set`], never for a secret.
//!
//! A later source wins. Tables are merged key by key, everything else is replaced whole, and an
//! enum with data is replaced when its variant changes.
//!
//! Then everything is checked: unknown keys, types, ranges, what is missing, secrets that are
//! empty, by the schema; what only a type can refuse, by serde; what no single value shows, by the
//! service ([`Loader::load_with`]). The result is either [`Loaded`] or [`Errors`], never half.
//!
//! A service that runs loads again, with feature `reload`: see the module `live`. Everything that a load reads
//! it reads as of one point in time, also where Kubernetes exchanges a volume meanwhile.
//!
//! # What can be set from where
//!
//! | in the struct | in files | in one variable, and with `--set` |
//! |---|---|---|
//! | `bool` | `true` | `true`, `1`, `yes`, `on`, and their opposites |
//! | numbers | `8080` | `8080` |
//! | `String`, [`Secret`](crate::Secret) | `"text"` | the text as it is; for a secret no `--set` |
//! | durations ([`duration`](crate::duration)) | `"1m 30s"` | `1m 30s` |
//! | enum of names | `"json"` | `json` |
//! | enum with data | a table | field by field, as structs; or as JSON |
//! | struct, `Option<struct>` | a table | field by field; or as JSON, which merges |
//! | `Vec<T>` | a list | with commas, `a, b`; or as JSON |
//! | maps | a table | as JSON, which merges; `--set` also takes `limits.acme.rps=5` |
//! | `Option<T>` | as `T`, or left out | as `T` |
//! | `#[serde(flatten)]` | as if the fields stood there | the same |
//!
//! An empty variable counts as unset, except where text or a secret is wanted. An `alias` of serde
//! is invisible to the schema: name it in `#[schemars(extend("x-aliases" = ["old_name"]))]` as
//! well, and files may use it. A type that contains itself is checked by the schema on its first
//! level and by serde below. `#[schemars(range(min = 1))]`, `length(min = 1)`,
//! `regex(pattern = "^[a-z]+$")` and what else of them the JSON schema says of one value is enforced;
//! a pattern is one of the crate `regex-lite`. A key with `extend("deprecated" = true)` still works,
//! with a [warning](Loaded::warnings) for each place that sets it.
//!
//! An unknown key in a file is an error. An unknown variable with our prefix is a
//! [warning](Loaded::warnings), since others set variables too: Kubernetes does, for every Service
//! in the namespace, and those are recognised.
//!
//! # Example
//!
//! ```
//! use octostack_core::config::{ErrorKind, Loader};
//! use octostack_core::inspect::Problem;
//! use octostack_core::secret::Secret;
//! use schemars::JsonSchema;
//! use serde::{Deserialize, Serialize};
//!
//! /// Sections of the framework.
//! #[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
//! #[serde(default)]
//! struct Sections {
//!     server: Server,
//! }
//!
//! #[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
//! #[serde(default)]
//! struct Server {
//!     port: u16,
//! }
//!
//! /// Settings of the service.
//! #[derive(Debug, Serialize, Deserialize, JsonSchema)]
//! struct Settings {
//!     /// Key that signs receipts.
//!     signing_key: Secret<String>,
//!     #[serde(default)]
//!     #[schemars(range(max = 10))]
//!     retries: u32,
//! }
//!
//! let loader = |port| {
//!     Loader::new("ORDERS_")
//!         .environment([("PORT", port), ("ORDERS_SIGNING_KEY", "s3cr3t")])
//!         .bare("PORT", "server.port")
//! };
//!
//! let loaded = loader("8080").set("retries", "3").load::<Sections, Settings>()?;
//! assert_eq!(loaded.framework.server.port, 8080);
//! assert_eq!(loaded.settings.retries, 3);
//! assert_eq!(loaded.report.get("server.port").unwrap().origin.to_string(), "PORT");
//! assert!(!loaded.report.status().to_string().contains("s3cr3t"));
//!
//! // Every mistake at once.
//! let errors = loader("http").set("retries", "11").load::<Sections, Settings>().unwrap_err();
//! assert_eq!(
//!     errors.to_string(),
//!     "2 problems in the configuration
//!
//! in the environment:
//!   PORT: server.port: expected a whole number from 0 to 65535, got `http`
//!
//! on the command line:
//!   --set retries: retries: expected a whole number from 0 to 10, got 11"
//! );
//!
//! // What no single value shows.
//! let errors = loader("0")
//!     .load_with(|sections: &Sections, settings: &Settings| {
//!         let mut problems = Vec::new();
//!         if sections.server.port == 0 && settings.retries == 0 {
//!             problems.push(Problem::new("server.port", "port 0 needs retries"));
//!         }
//!         problems
//!     })
//!     .unwrap_err();
//! assert_eq!(errors.iter().next().unwrap().kind, ErrorKind::Invalid);
//! # Ok::<(), octostack_core::config::Errors>(())
//! ```
mod absent;
mod bindings;
mod bounds;
mod check;
mod constraint;
mod default_file;
mod deprecated;
mod deserialize;
mod disk;
mod document;
#[cfg(feature = "reload")]
mod documents;
mod dotenv;
mod env;
mod error;
mod given;
mod json_schema;
mod keep;
#[cfg(feature = "reload")]
pub mod live;
mod load;
mod loader;
mod merge;
mod parse;
mod parse_json;
mod parse_toml;
mod parse_yaml;
mod plan;
mod reference;
mod references;
mod refusal;
#[cfg(feature = "reload")]
pub mod remote;
mod report;
mod schema;
mod schema_reader;
mod service_links;
mod source;
mod suggest;
mod text;
mod tree;
#[cfg(feature = "reload")]
mod watch;
mod whole;

pub use document::{Document, Item};
pub use error::{Error, ErrorKind, Errors, Origin};
pub use keep::Waiting;
pub use loader::{Loaded, Loader, RESERVED_SECTIONS};
pub use reference::{Key, Reference};
pub use references::{SecretSource, Wanted};
pub use report::{Report, Setting, Shadowed};
pub use suggest::nearest;
