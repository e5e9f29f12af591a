//! Settings from defaults, files, environment and command line.
mod check;
mod deserialize;
mod env;
mod error;
mod load;
mod loader;
mod merge;
mod parse;
mod parse_json;
mod parse_toml;
mod parse_yaml;
mod report;
mod schema;
mod source;
mod suggest;
mod text;
mod tree;

pub use error::{Error, ErrorKind, Errors, Origin};
pub use loader::{Loaded, Loader, RESERVED_SECTIONS};
pub use report::{Report, Setting};
