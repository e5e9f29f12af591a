//! One load, from schemas to structs. Every step adds to one list of errors, and those that can go
//! on after an error do.

use super::bindings::{self, Sources};
use super::check::{Extent, check};
use super::deprecated::deprecated;
use super::deserialize::deserialize;
#[cfg(feature = "reload")]
use super::documents::secrets_in;
use super::env::{Names, Variables};
use super::error::{Error, ErrorKind, Errors, Origin};
use super::given::unfit;
use super::keep::{Kept, Waiting};
use super::loader::{Loaded, Loader, Outside};
use super::merge::{fill_defaults, merge, rename_aliases};
use super::plan::Plan;
use super::references::{Follower, plain_secrets};
use super::refusal::{Screen, invalid, unique};
use super::report::Report;
use super::schema::Schema;
use super::source::{parse_file, read_file};
use super::suggest::nearest;
use super::text;
use super::tree::{Data, Node, Step};
use super::whole::Whole;
use crate::inspect::Problem;
use schemars::JsonSchema;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value as Json;

/// What has been found so far.
pub(super) struct Pass<'a> {
    loader: &'a Loader,
    outside: Outside<'a>,
    names: &'a Names<'a>,
    /// All settings: the framework's sections and the service's own.
    schema: &'a Schema,
    tree: Node,
    errors: Vec<Error>,
    warnings: Vec<String>,
}

/// Settings that could come into effect.
#[cfg_attr(not(feature = "reload"), allow(dead_code, reason = "only a reload asks for the rest"))]
pub(super) struct Reloading<F, S> {
    pub(super) loaded: Loaded<F, S>,
    /// What only a restart can change of them.
    pub(super) kept: Kept,
    /// What a restart would change.
    pub(super) waiting: Vec<Waiting>,
    /// Keeps their secrets out of what is said of them.
    pub(super) screen: Screen,
    /// What all sources say, if there are references in it that lead elsewhere.
    pub(super) sources: Option<Node>,
}

/// Settings that nothing is wrong with.
struct Built<F, S> {
    framework: F,
    settings: S,
    report: Report,
}

impl Pass<'_> {
    /// Loads `F` and `S` as `loader` says. What only a restart can change is as in `kept`, once it
    /// has been seen to be right.
    pub(super) fn run<F, S>(
        loader: &Loader,
        outside: Outside<'_>,
        validate: &impl Fn(&F, &S) -> Vec<Problem>,
        kept: Option<&Kept>,
        sources: Option<&Node>,
    ) -> Result<Reloading<F, S>, Errors>
    where
        F: Serialize + DeserializeOwned + JsonSchema,
        S: Serialize + DeserializeOwned + JsonSchema,
    {
        let (whole, errors) = Whole::of::<F, S>();
        let schema = &whole.schema;
        let (names, collisions) = Names::new(&loader.prefix, schema, &loader.bare);
        let mut pass = Pass {
            loader,
            outside,
            names: &names,
            schema,
            tree: Node::empty(),
            errors,
            warnings: Vec::new(),
        };
        pass.errors.extend(collisions);
        if !pass.errors.is_empty() {
            // With two meanings for one name, whatever else is said may be wrong.
            return Err(pass.errors.into());
        }
        let variables = loader.all_variables(outside.disk, &mut pass.errors);
        let mut plan = loader.plan(&variables, outside.disk);
        match sources {
            Some(sources) => pass.tree = sources.clone(),
            None => pass.sources(&mut plan, &variables),
        }
        let sources = pass.references(&variables);
        pass.whole();
        let mut built = pass.build(&whole, validate)?;
        let waiting = kept.map_or_else(Vec::new, |kept| kept.waiting(&built.report));
        if let Some(kept) = kept.filter(|_| !waiting.is_empty()) {
            kept.restore(&mut pass.tree);
            let keys: Vec<_> = waiting.iter().map(|waiting| &*waiting.key).collect();
            let kept = format!("these keep their values until a restart: {}", keys.join(", "));
            pass.warnings.push(kept);
            built = pass.build(&whole, validate)?;
            pass.warnings.pop();
        }
        let Built { framework, settings, report } = built;
        let screen = Screen::of(&pass.tree, schema);
        let kept = kept.map_or_else(|| Kept::of(&pass.tree, schema, &report), Kept::clone);
        let (environment, files, warnings) = (plan.environment, plan.files, pass.warnings);
        let whole = Loaded { framework, settings, environment, report, warnings, files };
        Ok(Reloading { loaded: whole, kept, waiting, screen, sources })
    }

    /// Lays all sources over each other.
    fn sources(&mut self, plan: &mut Plan, variables: &Variables) {
        self.errors.append(&mut plan.errors);
        for (index, file) in plan.files.iter().enumerate() {
            let read = read_file(file, self.outside.disk);
            if let Some(node) = read.as_ref().ok().filter(|_| index < plan.of_directory) {
                self.secrets_in_repository(node);
            }
            self.source(read);
        }
        for (path, text) in self.loader.texts.iter().flatten() {
            self.source(parse_file(text, path));
        }
        #[cfg(feature = "reload")]
        self.remotes();
        self.environment(variables);
        self.command_line();
    }

    /// Refuses secrets that stand in a file of the config directory.
    fn secrets_in_repository(&mut self, node: &Node) {
        let schemes = self.schemes();
        for (path, origin) in plain_secrets(node, self.schema, &schemes) {
            let message = format!(
                "a secret in plain text, in a file that goes into a repository or an image; set \
                 {}, or refer to it, such as `\"file:///run/secrets/name\"`",
                self.names.variable(&path)
            );
            let error = Error::new(ErrorKind::SecretInFile, &path, message);
            self.errors.push(error.with_origin(origin));
        }
    }

    /// Puts secrets in the place of references to them. Returns what the sources said, if somebody
    /// else was asked.
    fn references(&mut self, variables: &Variables) -> Option<Node> {
        let (source, unfollowed) = (self.loader.secrets.as_deref(), self.loader.unfollowed);
        let disk = self.outside.disk;
        let before = source.map(|_| self.tree.clone());
        let followed = Follower { schema: self.schema, source, unfollowed, variables, disk }
            .follow(&mut self.tree);
        self.errors.extend(followed.errors);
        self.warnings.extend(followed.warnings);
        for name in followed.variables {
            // Something does read it.
            self.warnings.retain(|warning| !warning.starts_with(&format!("{name}: ")));
        }
        before.filter(|_| followed.asked)
    }

    fn schemes(&self) -> Vec<&'static str> {
        self.loader.secrets.as_ref().map(|source| source.schemes()).unwrap_or_default()
    }

    /// From all sources together to settings, if nothing is wrong.
    fn build<F, S>(
        &mut self,
        whole: &Whole,
        validate: &impl Fn(&F, &S) -> Vec<Problem>,
    ) -> Result<Built<F, S>, Errors>
    where
        F: Serialize + DeserializeOwned,
        S: Serialize + DeserializeOwned,
    {
        let structs = self.structs::<F, S>(whole);
        let mut errors = unique(std::mem::take(&mut self.errors));
        self.loader.absent.explain(&mut errors);
        if let Some((framework, settings)) = structs.filter(|_| errors.is_empty()) {
            let problems = validate(&framework, &settings);
            if problems.is_empty() {
                let mut all = serde_json::Map::new();
                for part in [serde_json::to_value(&framework), serde_json::to_value(&settings)] {
                    if let Ok(Json::Object(entries)) = part {
                        all.extend(entries);
                    }
                }
                let hash = &self.loader.hash;
                let report = Report::of(&Json::Object(all), &self.tree, self.schema, hash);
                return Ok(Built { framework, settings, report });
            }
            errors.extend(invalid(problems, &self.tree, self.schema));
        }
        Err(Errors::from(errors).with_warnings(self.warnings.clone()))
    }

    /// Lays a source over those before it, and notes what is wrong in it alone.
    fn lay(&mut self, mut node: Node) {
        for (alias, origin) in rename_aliases(&mut node, self.schema) {
            let message = format!("`{alias}` is another name of a key that stands here too");
            let path = [Step::Key(alias)];
            let error = Error::new(ErrorKind::GivenTwice, &path, message).with_origin(origin);
            self.errors.push(error);
        }
        bindings::expand(&mut node, self.schema);
        let variable = |path: &[Step]| self.names.variable(path);
        self.warnings.extend(deprecated(&node, self.schema));
        let schemes = self.schemes();
        let errors = check(&node, self.schema, Extent::Part, &variable, &schemes);
        self.errors.extend(errors);
        merge(&mut self.tree, node, Some(self.schema));
    }

    fn source(&mut self, read: Result<Node, Vec<Error>>) {
        match read {
            Ok(node) => self.lay(node),
            Err(errors) => self.errors.extend(errors),
        }
    }

    #[cfg(feature = "reload")]
    fn remotes(&mut self) {
        let documents = self.outside.documents;
        self.warnings.extend(documents.warnings());
        for read in documents.read() {
            match read {
                Ok(node) => {
                    let variable = |path: &[Step]| self.names.variable(path);
                    let secrets = secrets_in(&node, self.schema, &self.schemes(), &variable);
                    self.errors.extend(secrets);
                    self.lay(node);
                }
                Err(errors) => self.errors.extend(errors),
            }
        }
    }

    fn environment(&mut self, variables: &Variables) {
        self.errors.extend(self.loader.not_text());
        let known = self.loader.known_names();
        let absent = &self.loader.absent;
        let found = self.names.read(variables, (&known, absent), self.outside.disk);
        self.errors.extend(found.errors);
        self.warnings.extend(found.warnings);
        self.bindings(variables, &found.nodes);
        for node in found.nodes {
            self.lay(node);
        }
    }

    /// What a platform has attached, below what variables say.
    fn bindings(&mut self, variables: &Variables, nodes: &[Node]) {
        let root = self.loader.binding_root(variables);
        let (below, set) = (&self.tree, &self.loader.set[..]);
        let sources = Sources { below, variables: nodes, set };
        let attached = bindings::attach(self.schema, self.names, &sources, root, self.outside.disk);
        self.errors.extend(attached.errors);
        self.warnings.extend(attached.warnings);
        for (keys, node) in attached.nodes {
            self.tree.remove(&keys);
            self.lay(node.nested(&keys));
        }
    }

    fn command_line(&mut self) {
        for (key, value) in &self.loader.set {
            match self.set(key, value) {
                Ok(node) => self.lay(node),
                Err(error) => {
                    let origin = Origin::CommandLine { key: key.as_str().into() };
                    self.errors.push(error.with_origin(origin));
                }
            }
        }
    }

    fn set(&self, key: &str, value: &str) -> Result<Node, Error> {
        let keys: Vec<_> = key.split('.').map(str::to_owned).collect();
        let path: Vec<_> = keys.iter().cloned().map(Step::Key).collect();
        let error = |kind, message: String| Error::new(kind, &path, message);
        let schemas = self.schema.at(&path);
        if schemas.is_empty() {
            let known: Vec<_> = self.names.keys().collect();
            let help = match nearest(key, known.iter().map(String::as_str)) {
                Some(name) => format!("did you mean `{name}`?"),
                None => "no setting has this name".to_owned(),
            };
            return Err(error(ErrorKind::UnknownKey, format!("unknown key; {help}")));
        }
        if schemas.iter().any(|schema| schema.holds_secret()) {
            let variable = self.names.variable(&path);
            let message = format!(
                "a secret cannot be set on the command line, which other processes can read; \
                 use {variable}_FILE"
            );
            return Err(error(ErrorKind::SecretOnCommandLine, message));
        }
        let origin = Origin::CommandLine { key: key.into() };
        text::read(value, &schemas, &origin)
            .map(|node| node.nested(&keys))
            .ok_or_else(|| error(ErrorKind::WrongType, unfit(value, &schemas)))
    }

    /// Checks what only all sources together show: what is missing.
    fn whole(&mut self) {
        // What an unread source would have said is unknown, so nothing is called missing.
        if self.unread() {
            return;
        }
        fill_defaults(&mut self.tree, self.schema, None);
        let variable = |path: &[Step]| self.names.variable(path);
        let schemes = self.schemes();
        let errors = check(&self.tree, self.schema, Extent::Whole, &variable, &schemes);
        // A value that is wrong is not missing as well.
        let given: Vec<_> = self.errors.iter().map(|error| error.path.clone()).collect();
        let new = errors.into_iter().filter(|error| {
            let covered = |given: &Vec<Step>| !given.is_empty() && error.path.starts_with(given);
            error.kind != ErrorKind::Missing || !given.iter().any(covered)
        });
        self.errors.extend(new);
    }

    /// Whether a source could not be read at all.
    fn unread(&self) -> bool {
        let stops = |error: &Error| {
            error.path.is_empty()
                && matches!(
                    error.kind,
                    ErrorKind::Unreadable | ErrorKind::Syntax | ErrorKind::GivenTwice
                )
        };
        self.errors.iter().any(stops)
    }

    fn structs<F, S>(&mut self, whole: &Whole) -> Option<(F, S)>
    where
        F: DeserializeOwned,
        S: DeserializeOwned,
    {
        if self.unread() {
            return None;
        }
        let is_section = |key: &str| whole.is_section(key);
        let schema = self.schema;
        let tree = &self.tree;
        let part = |nothing: bool, wanted: &dyn Fn(&str) -> bool| match &tree.data {
            _ if nothing => Json::Null, // the type is `()`
            Data::Table(all) => {
                let part = all.iter().filter(|entry| wanted(&entry.key));
                Json::Object(part.map(|entry| (entry.key.clone(), entry.node.to_json())).collect())
            }
            _ => tree.to_json(),
        };
        let known = |wanted: &dyn Fn(&str) -> bool| -> Vec<Error> {
            let of_part = |error: &&Error| match error.path.first() {
                Some(Step::Key(key)) => wanted(key),
                _ => true,
            };
            self.errors.iter().filter(of_part).cloned().collect()
        };
        let other = |key: &str| !is_section(key);
        let framework = deserialize::<F>(
            tree,
            || part(whole.no_framework, &is_section),
            schema,
            &known(&is_section),
        );
        let settings =
            deserialize::<S>(tree, || part(whole.no_settings, &other), schema, &known(&other));
        match (framework, settings) {
            (Ok(framework), Ok(settings)) => Some((framework, settings)),
            (framework, settings) => {
                self.errors.extend(framework.err().into_iter().flatten());
                self.errors.extend(settings.err().into_iter().flatten());
                None
            }
        }
    }
}
