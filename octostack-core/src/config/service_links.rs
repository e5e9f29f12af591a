//! Variables that Kubernetes sets in every pod for each Service of the namespace.
//!
//! For a Service named like ours they begin with our prefix, and `ORDERS_PORT` is then
//! `tcp://10.0.0.1:80` instead of a port.

use super::env::{Target, Variables};
use super::given::Given;
use super::schema::{Kind, Schema};
use std::collections::BTreeSet;

/// Whether Kubernetes set this variable for a Service that has the name of ours.
pub(super) fn is_service_link(given: &Given, target: &Target<'_>, variables: &Variables) -> bool {
    let Some(stem) = given.name.strip_suffix("_PORT") else {
        return false;
    };
    let text = |schema: &&Schema| matches!(schema.kind, Kind::Text { .. } | Kind::Any);
    is_link_url(&given.value)
        && (!target.schemas.iter().any(text)
            || variables.contains_key(&format!("{stem}_SERVICE_HOST")))
}

/// `tcp://10.0.0.1:80`.
fn is_link_url(value: &str) -> bool {
    let Some((scheme, rest)) = value.split_once("://") else {
        return false;
    };
    let port = rest.rsplit_once(':').map(|(_, port)| port);
    matches!(scheme, "tcp" | "udp" | "sctp") && port.is_some_and(|port| port.parse::<u16>().is_ok())
}

/// Whether a variable that nothing reads is one of these, by its name or value.
pub(super) fn looks_like_link(name: &str, value: &str) -> bool {
    let by_protocol = ["_TCP", "_UDP", "_SCTP"].into_iter().any(|protocol| {
        let Some((before, after)) = name.split_once(protocol) else {
            return false;
        };
        let port = before.rsplit('_').next().unwrap_or_default();
        before.contains("_PORT_")
            && port.parse::<u16>().is_ok()
            && matches!(after, "" | "_PROTO" | "_PORT" | "_ADDR")
    });
    by_protocol
        || name.ends_with("_SERVICE_HOST")
        || name.ends_with("_SERVICE_PORT")
        || name.contains("_SERVICE_PORT_")
        || (name.ends_with("_PORT") && is_link_url(value))
}

/// One warning for all of them.
pub(super) fn explain_links(links: &BTreeSet<String>) -> Option<String> {
    if links.is_empty() {
        return None;
    }
    let names: Vec<_> = links.iter().map(String::as_str).collect();
    Some(format!(
        "{}: ignored; Kubernetes sets these for a Service with a name like ours; \
         `enableServiceLinks: false` in the pod spec stops it",
        names.join(", ")
    ))
}
