//! Ports and probes: which port is asked for what.
use super::findings::Within;
use super::manifest::{Manifest, Workload, at, list, text};
use crate::framework::Framework;
use crate::listeners::ListenerSection;
use octostack_core::config::Item;
use octostack_core::health::Probe;
use std::net::IpAddr;

/// The ports of the service, as the manifest sets them.
#[derive(Clone, Debug)]
pub(super) struct Ports {
    public: u16,
    /// Whether the public port speaks TLS.
    tls: bool,
    admin: u16,
    /// Those of `server.listeners`.
    more: Vec<u16>,
    /// The admin port answers inside the pod only.
    admin_inside: bool,
    /// The public port does.
    pub(super) public_inside: bool,
}

/// One of them.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Which {
    Public,
    More,
    Admin,
}

impl Ports {
    pub(super) fn of(framework: &Framework) -> Self {
        let host = framework.server.listener.host.as_deref();
        let loopback = |host: &str| {
            let host = host.trim_matches(['[', ']']);
            host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
        };
        Self {
            public: framework.server.listener.port,
            tls: framework.server.speaks_tls(),
            more: framework.server.listeners.values().filter_map(ListenerSection::port).collect(),
            admin: framework.admin.addr.port(),
            admin_inside: framework.admin.addr.ip().is_loopback(),
            public_inside: host.is_some_and(loopback),
        }
    }

    fn which(&self, port: i128) -> Option<Which> {
        match port {
            port if port == i128::from(self.public) => Some(Which::Public),
            port if port == i128::from(self.admin) => Some(Which::Admin),
            port if self.more.iter().any(|more| port == i128::from(*more)) => Some(Which::More),
            _ => None,
        }
    }

    fn opened(&self) -> String {
        let more = self.more.iter().map(|port| format!(", {port} (server.listeners)"));
        let more: String = more.collect();
        let Self { public, admin, .. } = self;
        format!("the service opens {public} (server.port){more} and {admin} (admin.addr)")
    }
}

/// Checks the ports that the container says it has.
pub(super) fn container_ports(container: Item<'_>, ports: &Ports, found: &mut Within<'_>) {
    for port in list(container, &["ports"]) {
        let Some(number) = port.get("containerPort") else { continue };
        let protocol = text(port, &["protocol"]).unwrap_or("TCP");
        let known = number.integer().and_then(|number| ports.which(number));
        if known.is_none() || protocol != "TCP" {
            let opened = ports.opened();
            let shown = number.integer().map_or("it".to_owned(), |number| number.to_string());
            let message = format!("containerPort {shown}/{protocol} is not open; {opened}, by TCP");
            found.contradiction(number.origin(), message);
        }
    }
}

/// Checks the probes of the container.
pub(super) fn probes(
    workload: Workload<'_>,
    container: Item<'_>,
    ports: &Ports,
    found: &mut Within<'_>,
) {
    for name in ["startupProbe", "readinessProbe", "livenessProbe"] {
        if let Some(probe) = container.get(name) {
            http_probe(name, probe, container, ports, found);
            grpc_probe(name, probe, container, ports, found);
            socket_probe(name, probe, container, ports, found);
        }
    }
    if workload.serves() && container.get("readinessProbe").is_none() {
        let message = "there is no readinessProbe, so traffic comes before the service is ready and \
                       while it drains; ask /readyz";
        found.warning(container.origin(), message);
    }
}

fn http_probe(
    name: &str,
    probe: Item<'_>,
    container: Item<'_>,
    ports: &Ports,
    found: &mut Within<'_>,
) {
    let Some(get) = probe.get("httpGet") else { return };
    if get.get("host").is_some() {
        return; // it asks somebody else
    }
    let which = get.get("port").and_then(|port| resolve(name, port, container, ports, found));
    scheme(name, get, which, ports, found);
    let item = get.get("path").unwrap_or(get);
    let path = text(get, &["path"]).unwrap_or("/");
    let path = path.split('?').next().unwrap_or_default();
    let wrong = match (Probe::at(path), name) {
        (None, _) => Some(format!(
            "{path} is no probe of the service; there are /livez, /readyz and, on the admin port, \
             /startupz"
        )),
        (Some(Probe::Ready), "livenessProbe") => Some(
            "/readyz fails while the service drains or waits, and a restart does not help; ask \
             /livez"
                .to_owned(),
        ),
        (Some(Probe::Startup), "livenessProbe") => {
            Some("/startupz does not say whether the process works; ask /livez".to_owned())
        }
        (Some(Probe::Live | Probe::Startup), "readinessProbe") => Some(format!(
            "{path} passes while the service drains, so it would get traffic to its end; ask /readyz"
        )),
        (Some(Probe::Startup), _) if matches!(which, Some(Which::Public | Which::More)) => Some(
            "/startupz is answered on the admin port only; ask that, or /readyz here".to_owned(),
        ),
        (Some(Probe::Live), "startupProbe") => {
            let message =
                "startupProbe: /livez passes before the service has started; ask /startupz";
            found.warning(item.origin(), message);
            None
        }
        _ => None,
    };
    if let Some(wrong) = wrong {
        found.contradiction(item.origin(), format!("{name}: {wrong}"));
    }
}

/// `grpc.health.v1` is among the routes, and says what `/readyz` says.
fn grpc_probe(
    name: &str,
    probe: Item<'_>,
    container: Item<'_>,
    ports: &Ports,
    found: &mut Within<'_>,
) {
    let Some(port) = at(probe, &["grpc", "port"]) else { return };
    if resolve(name, port, container, ports, found) == Some(Which::Admin) {
        let message = format!("{name}: the admin port does not speak gRPC; ask the public one");
        found.contradiction(port.origin(), message);
    }
    if name == "livenessProbe" {
        let message = "livenessProbe: grpc.health.v1 says NOT_SERVING while the service drains or \
                       waits, and a restart does not help; ask /livez by httpGet";
        found.contradiction(port.origin(), message);
    }
}

/// Checks that the probe speaks as the port does. What a listener of `server.listeners` speaks is
/// its own affair.
fn scheme(name: &str, get: Item<'_>, which: Option<Which>, ports: &Ports, found: &mut Within<'_>) {
    let scheme = get.get("scheme");
    let https = scheme.is_some_and(|scheme| scheme.text() == Some("HTTPS"));
    let origin = scheme.or(get.get("port")).unwrap_or(get).origin();
    match which {
        Some(Which::Public) if ports.tls && !https => {
            let message = "the public port speaks TLS (server.tls): set `scheme: HTTPS`, or ask \
                           the admin port";
            found.contradiction(origin, format!("{name}: {message}"));
        }
        Some(Which::More) => {}
        Some(Which::Public) if ports.tls => {}
        _ if scheme.is_some_and(|scheme| scheme.text() != Some("HTTP")) => {
            found.contradiction(origin, format!("{name}: the service speaks plain HTTP"));
        }
        _ => {}
    }
}

fn socket_probe(
    name: &str,
    probe: Item<'_>,
    container: Item<'_>,
    ports: &Ports,
    found: &mut Within<'_>,
) {
    let Some(port) = at(probe, &["tcpSocket", "port"]) else { return };
    resolve(name, port, container, ports, found);
    let message =
        format!("{name}: a socket that opens says little; ask /livez or /readyz by httpGet");
    found.warning(port.origin(), message);
}

/// Which port is meant, if it is one and can be reached.
fn resolve(
    what: &str,
    port: Item<'_>,
    container: Item<'_>,
    ports: &Ports,
    found: &mut Within<'_>,
) -> Option<Which> {
    let number = match port.text() {
        None => port.integer(),
        Some(name) => {
            let named = |port: &Item<'_>| text(*port, &["name"]) == Some(name);
            let found_port = list(container, &["ports"]).find(named);
            let Some(declared) = found_port else {
                let message = format!("{what}: no port of the container is called {name}");
                found.contradiction(port.origin(), message);
                return None;
            };
            // A number that is not open is said where it is declared.
            let number = declared.get("containerPort").and_then(Item::integer)?;
            ports.which(number)?;
            Some(number)
        }
    };
    let which = number.and_then(|number| ports.which(number));
    match which {
        None => {
            let shown = number.map_or("it".to_owned(), |number| number.to_string());
            let message = format!("{what}: port {shown} is not open; {}", ports.opened());
            found.contradiction(port.origin(), message);
        }
        Some(Which::Admin) if ports.admin_inside => {
            let message = format!(
                "{what}: the admin port listens on loopback, where only the pod itself reaches it; \
                 set ADMIN_ADDR=0.0.0.0:{}",
                ports.admin
            );
            found.contradiction(port.origin(), message);
        }
        Some(_) => {}
    }
    which
}

/// Checks the Services that send traffic here.
pub(super) fn services(
    manifest: &Manifest<'_>,
    workload: Workload<'_>,
    container: Item<'_>,
    ports: &Ports,
    found: &mut Within<'_>,
) {
    let services = manifest.of_kind("Service");
    for service in services.filter(|service| workload.is_selected_by(*service)) {
        for port in list(service.item, &["spec", "ports"]) {
            let Some(target) = port.get("targetPort").or(port.get("port")) else { continue };
            let of_others = workload
                .containers()
                .any(|other| other.origin() != container.origin() && has_port(other, target));
            if !of_others {
                let what = format!("Service {}", service.name);
                resolve(&what, target, container, ports, found);
            }
        }
    }
}

/// Whether the container says that it has the port `wanted`, a name or a number.
fn has_port(container: Item<'_>, wanted: Item<'_>) -> bool {
    list(container, &["ports"]).any(|port| match wanted.text() {
        Some(name) => text(port, &["name"]) == Some(name),
        None => port.get("containerPort").and_then(Item::integer) == wanted.integer(),
    })
}
