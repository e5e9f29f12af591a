//! What a container gives the service to load: variables, and the files of mounted config maps.
use super::findings::Within;
use super::manifest::{Manifest, Object, Workload, at, list, text};
use super::{BINDING_ROOT, Contract};
use crate::cli::Arguments;
use crate::framework::Framework;
use octostack_core::config::{Item, Loader, Origin};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Endings of config files.
const ENDINGS: [&str; 4] = ["toml", "yaml", "yml", "json"];

/// A variable of the container.
pub(super) struct Given<'a> {
    /// Its value, unless that is known to the cluster only.
    pub(super) value: Option<&'a str>,
    pub(super) item: Item<'a>,
}

/// All that a container gives.
pub(super) struct Sources<'a> {
    pub(super) variables: BTreeMap<String, Given<'a>>,
    /// Config files by the name that a loader is told, lowest first.
    files: Vec<(PathBuf, &'a str, Item<'a>)>,
    arguments: Option<Arguments>,
    /// What is not in the manifest and may set more.
    pub(super) elsewhere: Vec<String>,
}

/// Looks for the sources of one container.
pub(super) struct Search<'s, 'a> {
    pub(super) manifest: &'s Manifest<'a>,
    pub(super) workload: Workload<'a>,
    pub(super) container: Item<'a>,
    pub(super) prefix: &'s str,
}

impl<'a> Search<'_, 'a> {
    pub(super) fn run(&self, found: &mut Within<'_>) -> Sources<'a> {
        let mut sources = Sources {
            variables: BTreeMap::new(),
            files: Vec::new(),
            arguments: self.arguments(found),
            elsewhere: Vec::new(),
        };
        // What comes later wins.
        for from in list(self.container, &["envFrom"]) {
            self.env_from(from, &mut sources, found);
        }
        for entry in list(self.container, &["env"]) {
            if let Some(name) = text(entry, &["name"]) {
                let given = self.env(entry, found);
                sources.variables.insert(name.to_owned(), given);
            }
        }
        self.files(&mut sources, found);
        let more = sources.own(self.prefix, "CONFIG_FILE");
        if let Some(given) = more.filter(|given| given.value != Some("")) {
            let message = "what the files of CONFIG_FILE set is unknown here";
            found.unknown(given.item.origin(), message);
            sources.elsewhere.push("CONFIG_FILE".to_owned());
        }
        sources
    }

    fn arguments(&self, found: &mut Within<'_>) -> Option<Arguments> {
        let words = list(self.container, &["args"]).filter_map(Item::text);
        let words: Vec<_> = words.map(Into::into).collect();
        if let Some(command) = self.container.get("command") {
            let message = "`command` replaces the entrypoint of the image, so what the service is \
                           told on its command line cannot be told";
            found.unknown(command.origin(), message);
            return None;
        }
        match Arguments::parse(words) {
            Ok(arguments) => Some(arguments),
            Err(error) => {
                let item = self.container.get("args").unwrap_or(self.container);
                found.contradiction(item.origin(), format!("args: {error}"));
                None
            }
        }
    }

    fn env(&self, entry: Item<'a>, found: &mut Within<'_>) -> Given<'a> {
        if let Some(value) = entry.get("value") {
            if value.text().is_none()
                && value.integer().or(value.boolean().map(i128::from)).is_some()
            {
                let message = "Kubernetes refuses a value that is no text; put it into quotes";
                found.contradiction(value.origin(), message);
            }
            // `$(NAME)` is filled in by the kubelet.
            let value_text = value.text().filter(|text| !text.contains("$("));
            return Given { value: value_text, item: value };
        }
        let of_map = at(entry, &["valueFrom", "configMapKeyRef"]);
        let value = of_map.and_then(|of_map| {
            let map = self.manifest.find("ConfigMap", text(of_map, &["name"])?)?;
            text(map.item, &["data", text(of_map, &["key"])?])
        });
        match entry.get("valueFrom") {
            Some(_) => Given { value, item: entry },
            None => Given { value: Some(""), item: entry },
        }
    }

    fn env_from(&self, from: Item<'a>, sources: &mut Sources<'a>, found: &mut Within<'_>) {
        let prefix = text(from, &["prefix"]).unwrap_or_default();
        for (kind, reference) in [("ConfigMap", "configMapRef"), ("Secret", "secretRef")] {
            let Some(name) = text(from, &[reference, "name"]) else { continue };
            let Some(object) = self.manifest.find(kind, name) else {
                sources.elsewhere.push(format!("{kind} {name}"));
                let message =
                    format!("{kind} {name} is not in these files; what it sets is unknown");
                found.unknown(from.origin(), message);
                continue;
            };
            let public = kind == "ConfigMap";
            for part in ["data", "stringData"] {
                let entries = object.item.get(part).into_iter().flat_map(Item::entries);
                for (name, item) in entries {
                    let value = item.text().filter(|_| public);
                    sources.variables.insert(format!("{prefix}{name}"), Given { value, item });
                }
            }
        }
    }

    /// The files that are looked for, in their order.
    fn files(&self, sources: &mut Sources<'a>, found: &mut Within<'_>) {
        let of_arguments = sources.arguments.as_ref().and_then(Arguments::dir);
        let named = of_arguments.map(Path::to_owned).or_else(|| {
            let given = sources.own(self.prefix, "CONFIG_DIR")?;
            Some(given.value?.into())
        });
        let work = text(self.container, &["workingDir"]);
        let usual = || work.map(|dir| Path::new(dir).join("config"));
        let Some(dir) = named.or_else(usual) else {
            // It depends on the image; only a mount at such a path can be meant.
            let mounts = list(self.container, &["volumeMounts"]);
            let mut paths = mounts.filter_map(|mount| text(mount, &["mountPath"]));
            if let Some(path) = paths.find(|path| Path::new(path).ends_with("config")) {
                self.directory(Path::new(path), sources, found);
            }
            return;
        };
        self.directory(&dir, sources, found);
    }

    fn directory(&self, dir: &Path, sources: &mut Sources<'a>, found: &mut Within<'_>) {
        let environment = sources.own(self.prefix, "APP_ENV").and_then(|given| given.value);
        let environment = environment.filter(|name| !name.is_empty()).unwrap_or("development");
        for mount in list(self.container, &["volumeMounts"]) {
            let path = text(mount, &["mountPath"]).map(Path::new);
            let inside = path.is_some_and(|path| path == dir || path.starts_with(dir));
            if !inside {
                continue;
            }
            let volume = text(mount, &["name"]).and_then(|name| self.volume(name));
            if let Some(sub_path) = mount.get("subPath").or(mount.get("subPathExpr")) {
                let message = "what is mounted by `subPath` never changes while the pod runs, so \
                               nothing is reloaded; mount the whole directory";
                found.warning(sub_path.origin(), message);
            }
            let Some(volume) = volume else {
                let message = "no volume of the pod has this name";
                found.contradiction(mount.origin(), message);
                continue;
            };
            self.volume_files(volume, environment, sources, found);
        }
    }

    fn volume(&self, name: &str) -> Option<Item<'a>> {
        list(self.workload.pod, &["volumes"]).find(|volume| text(*volume, &["name"]) == Some(name))
    }

    fn volume_files(
        &self,
        volume: Item<'a>,
        environment: &str,
        sources: &mut Sources<'a>,
        found: &mut Within<'_>,
    ) {
        let direct = volume.get("configMap");
        let projected = list(volume, &["projected", "sources"]);
        let maps: Vec<_> =
            direct.into_iter().chain(projected.filter_map(|s| s.get("configMap"))).collect();
        if maps.is_empty() {
            sources.elsewhere.push("a mounted volume".to_owned());
            let message = "config files come from a volume whose content is unknown here";
            found.unknown(volume.origin(), message);
        }
        for map in maps {
            let name = text(map, &["name"]).unwrap_or_default();
            let Some(object) = self.manifest.find("ConfigMap", name) else {
                sources.elsewhere.push(format!("ConfigMap {name}"));
                let message =
                    format!("ConfigMap {name} is not in these files; what it sets is unknown");
                found.unknown(map.origin(), message);
                continue;
            };
            for stem in ["default", environment] {
                for ending in ENDINGS {
                    let file = format!("{stem}.{ending}");
                    sources.files.extend(entry(map, object, &file));
                }
            }
        }
    }
}

/// The file `file` of a volume with the config map `object`.
fn entry<'a>(
    map: Item<'a>,
    object: Object<'a>,
    file: &str,
) -> Option<(PathBuf, &'a str, Item<'a>)> {
    let mut key = file;
    if map.get("items").is_some() {
        let of_file = |item: &Item<'_>| text(*item, &["path"]) == Some(file);
        key = text(list(map, &["items"]).find(of_file)?, &["key"])?;
    }
    let item = object.item.get("data")?.get(key)?;
    Some((Path::new(object.name).join(file), item.text()?, item))
}

impl<'a> Sources<'a> {
    /// A variable that is read by the loader itself; the prefixed name wins.
    fn own(&self, prefix: &str, name: &str) -> Option<&Given<'a>> {
        self.variables.get(&format!("{prefix}{name}")).or_else(|| self.variables.get(name))
    }

    /// A loader that sees what the container gives and nothing of this machine.
    pub(super) fn loader(&self, contract: &Contract) -> Loader {
        let values = self.variables.iter().filter(|(name, _)| !names_files(&contract.prefix, name));
        let values = values.filter_map(|(name, given)| Some((name.clone(), given.value?)));
        let loader = Framework::known_to(Loader::new(&*contract.prefix).environment(values));
        let files = self.files.iter().map(|(path, text, _)| (path.clone(), (*text).to_owned()));
        let loader = loader.texts(files);
        match &self.arguments {
            Some(arguments) => arguments.set_keys(loader),
            None => loader,
        }
    }

    /// A loader that sees the names of all variables, to say which nothing reads.
    pub(super) fn names(&self, contract: &Contract) -> Loader {
        let names = self.variables.keys().map(|name| (name.clone(), ""));
        Framework::known_to(Loader::new(&*contract.prefix).environment(names)).texts([])
    }

    /// Whether `name`, or the file that it names, is given without its value being known.
    pub(super) fn is_given_unseen(&self, name: &str) -> bool {
        let unseen = |given: &Given<'_>| given.value.is_none();
        self.variables.get(name).is_some_and(unseen)
            || self.variables.contains_key(&format!("{name}_FILE"))
    }

    /// Whether the backing service at the variable `name` comes from what only the cluster knows: a
    /// directory, or a part of it that is a file.
    pub(super) fn is_attached_unseen(&self, prefix: &str, name: &str) -> bool {
        let url = [name.to_owned(), format!("{name}_URL")];
        if url
            .iter()
            .any(|name| self.variables.get(name).is_some_and(|given| given.value.is_some()))
        {
            return false;
        }
        let part = format!("{name}_");
        let mut parts = self.variables.iter().filter(|(name, _)| name.starts_with(&part));
        self.own(prefix, BINDING_ROOT).is_some()
            || parts.any(|(name, given)| given.value.is_none() || name.ends_with("_FILE"))
    }

    /// Where in the manifest stands what the loader calls `origin`.
    pub(super) fn place(&self, origin: &Origin) -> Option<(Origin, String)> {
        match origin {
            Origin::Variable { name } => {
                let given = self.variables.get(&**name)?;
                Some((given.item.origin().clone(), format!("{name}: ")))
            }
            Origin::File { path, line, column } => {
                let (_, _, item) = self.files.iter().find(|(file, ..)| **file == **path)?;
                let file = path.file_name().unwrap_or_default().to_string_lossy();
                Some((item.origin().clone(), format!("{file}:{line}:{column}: ")))
            }
            _ => None,
        }
    }
}

/// Whether the value of a variable is the path of something that is on another machine.
fn names_files(prefix: &str, name: &str) -> bool {
    let plain = name.strip_prefix(prefix).unwrap_or(name);
    name.ends_with("_FILE") || plain == "CONFIG_DIR" || plain == BINDING_ROOT
}
