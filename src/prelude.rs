//! What a service needs in scope: `use octostack::prelude::*;`
pub use crate::{App, Endpoint, Result, Secret};
pub use axum::extract::{Path, Query, State};
pub use axum::http::StatusCode;
pub use axum::response::{IntoResponse, Response};
pub use axum::routing::{delete, get, patch, post, put};
pub use axum::{Json, Router};
pub use schemars::JsonSchema;
pub use serde::{Deserialize, Serialize};
pub use std::process::ExitCode;
pub use tracing::{Instrument, Span, debug, error, info, info_span, warn};
