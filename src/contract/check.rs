//! Where manifests contradict the binary.
//!
//! What a container gives is loaded as the service would load it, by the same loader, so that the
//! check knows no rule about settings that the service does not have. Ports, probes and times are
//! then compared with what came out.
use super::findings::{Findings, Within};
use super::manifest::{Manifest, Workload, text};
use super::probes::Ports;
use super::sources::{Search, Sources};
use super::{Contract, Verdict, manifest, pod, probes};
use octostack_core::config::{Document, Error, ErrorKind, Item, Loader, Origin};
use octostack_core::secret::SecretRef;
use std::io::Read as _;
use std::path::{Path, PathBuf};

/// How large a manifest may be; charts of hundreds of objects are smaller.
const MAX_BYTES: u64 = 16 * 1024 * 1024;

/// A manifest that cannot be checked, and why.
#[derive(Debug)]
pub(crate) struct Unreadable(pub(crate) String);

/// Compares manifests with a contract.
pub(crate) struct Check<'a> {
    pub(crate) contract: &'a Contract,
    /// What a loader says of the service's settings.
    pub(crate) judge: &'a dyn Fn(&Loader) -> Verdict,
    /// The container to look at, if it does not have the name of the service.
    pub(crate) container: Option<&'a str>,
}

impl Check<'_> {
    /// Checks files, each with its name and text.
    pub(crate) fn run(&self, files: &[(String, String)]) -> Result<Findings, Unreadable> {
        let documents = read(files)?;
        let manifest = Manifest::new(&documents);
        let Contract { name, version, .. } = self.contract;
        let mut findings = Findings::new(format!("{name} {version}"));
        for (workload, container) in self.chosen(&manifest)? {
            let of = text(container, &["name"]).unwrap_or("without a name");
            let object = workload.object;
            let title = format!("{} {}, container {of}", object.kind, object.name);
            self.container(&manifest, workload, container, &mut findings.within(&title));
            findings.looked_at(title);
        }
        Ok(findings)
    }

    /// The containers to look at.
    fn chosen<'d>(
        &self,
        manifest: &Manifest<'d>,
    ) -> Result<Vec<(Workload<'d>, Item<'d>)>, Unreadable> {
        let mut all = Vec::new();
        for workload in manifest.workloads() {
            all.extend(workload.containers().map(|container| (workload, container)));
        }
        let name = self.container.unwrap_or(&self.contract.name);
        let known: Vec<_> = all.iter().filter_map(|(_, c)| text(*c, &["name"])).collect();
        let named = |(_, container): &&(Workload<'_>, Item<'_>)| {
            text(*container, &["name"]).is_some_and(|found| {
                found == name || (self.container.is_none() && found == name.replace('_', "-"))
            })
        };
        let chosen: Vec<_> = all.iter().filter(named).copied().collect();
        match (all.len(), chosen.len()) {
            (0, _) => Err(Unreadable(
                "no Deployment, StatefulSet, DaemonSet, Job, CronJob or Pod with a container is in \
                 these files"
                    .to_owned(),
            )),
            (_, 1..) => Ok(chosen),
            (1, _) if self.container.is_none() => Ok(all),
            _ => Err(Unreadable(format!(
                "no container is called {name}; there are {}: say which one with --container NAME",
                known.join(", ")
            ))),
        }
    }

    fn container<'d>(
        &self,
        manifest: &Manifest<'d>,
        workload: Workload<'d>,
        container: Item<'d>,
        found: &mut Within<'_>,
    ) {
        let search = Search { manifest, workload, container, prefix: &self.contract.prefix };
        let sources = search.run(found);
        let verdict = (self.judge)(&sources.loader(self.contract));
        for error in &verdict.errors {
            self.error(error, &sources, container, found);
        }
        self.secrets(&sources, &verdict, found);
        self.given_twice(&sources, found);
        self.unknown_names(&sources, found);
        let framework = &verdict.framework;
        let ports = Ports::of(framework);
        if ports.public_inside {
            let of = ["HOST".to_owned(), format!("{}SERVER_HOST", self.contract.prefix)];
            let given = of.iter().find_map(|name| sources.variables.get(name));
            let origin = given.map_or(container.origin(), |given| given.item.origin());
            let message = "server.host is loopback, where nothing outside the pod reaches it; set \
                           HOST=0.0.0.0, or leave it out in a container";
            found.contradiction(origin, message);
        }
        if self.is_given("server.port", &sources) || self.is_given("admin.addr", &sources) {
            let message = "a port is set to what only the cluster knows, so ports and probes are not \
                           compared";
            found.unknown(container.origin(), message);
        } else if workload.serves() {
            probes::container_ports(container, &ports, found);
            probes::probes(workload, container, &ports, found);
            probes::services(manifest, workload, container, &ports, found);
        }
        pod::grace(workload, container, &framework.lifecycle, found);
        pod::service_links(manifest, workload, self.contract, found);
    }

    /// What the service itself would say at its start.
    fn error(
        &self,
        error: &Error,
        sources: &Sources<'_>,
        container: Item<'_>,
        found: &mut Within<'_>,
    ) {
        let container = container.origin();
        if error.kind == ErrorKind::Missing && self.is_given(&error.key, sources) {
            return;
        }
        if self.is_attached(&error.key, sources) {
            let message = format!(
                "{} is a backing service that only the cluster knows whole, so it is not checked",
                error.key
            );
            found.unknown(container, message);
            return;
        }
        if error.kind == ErrorKind::Missing {
            let names = self.names_of(&error.key);
            let how = match &*names {
                [] => String::new(),
                [name, ..] => format!("; set {name} or {name}_FILE"),
            };
            if sources.elsewhere.is_empty() {
                let message = format!("{} is required and nothing sets it{how}", error.key);
                found.contradiction(container, message);
            } else {
                let from = sources.elsewhere.join(", ");
                let message = format!("{} is required; it can only come from {from}", error.key);
                found.unknown(container, message);
            }
            return;
        }
        let placed = error.origin.as_ref().and_then(|origin| sources.place(origin));
        let (origin, mark) = placed.unwrap_or((container.clone(), String::new()));
        let key = if error.key.is_empty() { String::new() } else { format!("{}: ", error.key) };
        found.contradiction(&origin, format!("{mark}{key}{}", error.message));
    }

    /// Whether `key` is a backing service that the cluster attaches.
    fn is_attached(&self, key: &str, sources: &Sources<'_>) -> bool {
        let prefix = &self.contract.prefix;
        self.contract.bindings.iter().any(|binding| binding.key == key)
            && self.names_of(key).iter().any(|name| sources.is_attached_unseen(prefix, name))
    }

    /// Whether `key`, or a table that it is in, is set to what only the cluster knows.
    fn is_given(&self, key: &str, sources: &Sources<'_>) -> bool {
        let outer = key.match_indices('.').map(|(at, _)| &key[..at]);
        let prefixed = |key: &str| {
            let upper = key.to_ascii_uppercase();
            let prefix = &self.contract.prefix;
            [format!("{prefix}{}", upper.replace(['.', '-'], "_"))]
        };
        outer.flat_map(prefixed).any(|name| sources.is_given_unseen(&name))
            || self.names_of(key).iter().any(|name| sources.is_given_unseen(name))
    }

    fn names_of(&self, key: &str) -> Vec<&str> {
        let variables = self.contract.variables.iter();
        let of_key = variables.filter(|variable| variable.key.as_deref() == Some(key));
        of_key.flat_map(super::Variable::names).collect()
    }

    /// Values that are given both ways, of which the loader saw one.
    fn given_twice(&self, sources: &Sources<'_>, found: &mut Within<'_>) {
        for name in self.contract.variables.iter().flat_map(super::Variable::names) {
            let file = format!("{name}_FILE");
            let both = sources.variables.get(name).zip(sources.variables.get(&file));
            if let Some((given, _)) = both.filter(|(given, _)| given.value != Some("")) {
                let message = format!("set by {name} and {file} at once; keep one");
                found.contradiction(given.item.origin(), message);
            }
        }
    }

    /// Secrets that stand in the manifest for all to read.
    fn secrets(&self, sources: &Sources<'_>, verdict: &Verdict, found: &mut Within<'_>) {
        let secret = self.contract.variables.iter().filter(|variable| variable.secret);
        for name in secret.flat_map(super::Variable::names) {
            let given = sources.variables.get(name);
            let plain = |text: &str| !text.is_empty() && !SecretRef::is_meant(text, &[]);
            if let Some(given) = given.filter(|given| given.value.is_some_and(plain)) {
                let message = format!(
                    "{name} is a secret and stands here for all to read; mount a Secret and set \
                     {name}_FILE"
                );
                found.contradiction(given.item.origin(), message);
            }
        }
        for (key, origin) in &verdict.secrets {
            if let (Origin::File { .. }, Some((origin, mark))) = (origin, sources.place(origin)) {
                let message = format!(
                    "{mark}{key} is a secret and stands in a ConfigMap; mount a Secret instead"
                );
                found.contradiction(&origin, message);
            }
        }
    }

    /// Variables with the service's prefix that it does not read.
    fn unknown_names(&self, sources: &Sources<'_>, found: &mut Within<'_>) {
        for warning in (self.judge)(&sources.names(self.contract)).warnings {
            let name = warning.split(": ").next().unwrap_or_default();
            if let Some(given) = sources.variables.get(name) {
                found.contradiction(given.item.origin(), &*warning);
            }
        }
    }
}

/// Reads the files that are to be checked; `-` is standard input.
pub(crate) fn manifests(paths: &[PathBuf]) -> Result<Vec<(String, String)>, Unreadable> {
    let read = |path: &PathBuf| {
        let mut bytes = Vec::new();
        let (name, read) = if path.as_os_str() == "-" {
            let read = std::io::stdin().take(MAX_BYTES + 1).read_to_end(&mut bytes);
            ("standard input".to_owned(), read)
        } else {
            let file = std::fs::File::open(path);
            let read = file.and_then(|file| file.take(MAX_BYTES + 1).read_to_end(&mut bytes));
            (path.display().to_string(), read)
        };
        read.map_err(|error| Unreadable(format!("{name}: cannot be read: {error}")))?;
        if bytes.len() as u64 > MAX_BYTES {
            return Err(Unreadable(format!("{name}: it is larger than 16 MiB")));
        }
        match String::from_utf8(bytes) {
            Ok(text) => Ok((name, text)),
            Err(_) => Err(Unreadable(format!("{name}: it is not UTF-8 text"))),
        }
    };
    paths.iter().map(read).collect()
}

fn read(files: &[(String, String)]) -> Result<Vec<Document>, Unreadable> {
    let mut documents = Vec::new();
    for (name, text) in files {
        let read = manifest::read(Path::new(name), text);
        let read = read.map_err(|error| Unreadable(format!("{error}; nothing was checked")))?;
        let objects = read.iter().filter(|document| document.root().get("kind").is_some());
        if objects.count() == 0 {
            return Err(Unreadable(format!(
                "{name}: no object of Kubernetes is in it (no `kind`)"
            )));
        }
        documents.extend(read);
    }
    Ok(documents)
}
