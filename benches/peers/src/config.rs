//! A hundred settings from three layers: loaded, loaded again, and read.
//!
//! The layers are a file with all keys, a file with ten of them, and twenty variables. The files
//! are read each time, from a file system in memory if `TMPDIR` is one. The variables are handed to
//! all, as the copy of an environment is no loader's business.
use crate::drive::{Scenario, Subject};
use ::config::{Config, Environment, File, FileFormat};
use figment::Figment;
use figment::providers::{Format as _, Serialized, Toml};
use octostack_core::config::Loader;
use octostack_core::config::live::{Live, Trigger};
use octostack_core::dynamic::Dynamic;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

macro_rules! settings {
    ($($section:ident),*) => {
        /// Ten sections of ten settings.
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
        struct Settings { $(/// A section.
            $section: Section),* }

        const SECTIONS: &[&str] = &[$(stringify!($section)),*];
    };
}

settings!(web, database, cache, queue, search, mail, storage, billing, audit, limits);

/// What settings usually are: addresses, sizes, switches, texts, lists.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
struct Section {
    /// Where it listens.
    host: String,
    /// On which port.
    port: u16,
    /// Whether it is used.
    enabled: bool,
    /// How many connections there are.
    pool_size: u32,
    /// How long a call may take, in seconds.
    timeout: f64,
    /// How often a call is repeated.
    #[schemars(range(max = 10))]
    retries: u32,
    /// Who may.
    user: String,
    /// What it is called.
    name: String,
    /// How much, in bytes.
    max_bytes: u64,
    /// Which parts.
    tags: Vec<String>,
}

/// Loads everything from its sources.
pub(crate) fn load() -> Scenario {
    let subjects = || {
        let files = Arc::new(Files::write());
        assert_eq!(files.octostack(), files.config());
        assert_eq!(files.octostack(), files.figment());
        let with = |load: fn(&Files) -> Settings| {
            let files = files.clone();
            move || load(&files)
        };
        vec![
            // What the files cost that all of them read.
            Subject::asked_alone("baseline", {
                let files = files.clone();
                move || {
                    [&files.default, &files.production].map(|path| fs::read_to_string(path).ok())
                }
            })
            .long(),
            Subject::asked_alone("octostack", with(Files::octostack)).long(),
            Subject::asked_alone("config", with(Files::config)).long(),
            Subject::asked_alone("figment", with(Files::figment)).long(),
        ]
    };
    Scenario { name: "config/load", subjects, between_rounds: || () }
}

/// Loads it again after a change of one key: reads, checks, swaps.
pub(crate) fn reload() -> Scenario {
    let subjects = || {
        let files = Arc::new(Files::write());
        let live = Live::<(), Settings>::start(files.loader(), |(), _| Vec::new());
        let live = live.unwrap_or_else(|errors| panic!("{errors}"));
        let turn = Arc::new(AtomicU64::new(0));
        let write = {
            let (path, turn) = (files.production.clone(), turn);
            move || {
                let retries = turn.fetch_add(1, Ordering::Relaxed) % 10;
                fs::write(&path, format!("[database]\nretries = {retries}\n")).is_ok()
            }
        };
        let (written, kept) = (write.clone(), files);
        vec![
            Subject::asked_alone("baseline", write).long(),
            Subject::asked_alone("octostack", move || {
                let _ = &kept;
                written() && live.reload(Trigger::Code).is_ok()
            })
            .long(),
        ]
    };
    Scenario { name: "config/reload", subjects, between_rounds: || () }
}

/// Reads one of the settings in effect.
pub(crate) fn read() -> Scenario {
    let subjects = || {
        let fixed = Arc::new(8080_u16);
        let dynamic = Dynamic::new(8080_u16);
        let reader = dynamic.clone();
        vec![
            Subject::asked("baseline", move || *fixed),
            Subject::held("octostack", move || reader.reader(), |reader| *reader.get()),
            Subject::asked("octostack-shared", move || dynamic.load().value),
        ]
    };
    Scenario { name: "config/read", subjects, between_rounds: || () }
}

/// The files, written once.
struct Files {
    default: PathBuf,
    production: PathBuf,
    variables: HashMap<String, String>,
    understood: BTreeMap<&'static str, Understood>,
}

/// Two variables, as a parser of their names would have them.
#[derive(Serialize)]
struct Understood {
    host: String,
    port: u16,
}

impl Files {
    fn write() -> Self {
        let dir = std::env::temp_dir().join(format!("octostack-peers-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap_or_else(|error| panic!("{}: {error}", dir.display()));
        let (mut default, mut production) = (String::new(), String::new());
        let (mut variables, mut understood) = (HashMap::new(), BTreeMap::new());
        for (i, section) in SECTIONS.iter().enumerate() {
            let _ = write!(
                default,
                "[{section}]\nhost = \"{section}.internal\"\nport = {}\nenabled = true\n\
                 pool_size = 10\ntimeout = 2.5\nretries = 3\nuser = \"app\"\nname = \"{section}\"\n\
                 max_bytes = 1048576\ntags = [\"a\", \"b\"]\n\n",
                8000 + i
            );
            let _ = write!(production, "[{section}]\npool_size = 50\n\n");
            let prefix = format!("APP_{}__", section.to_uppercase());
            let host = format!("{section}.example");
            let port = 9000_u16.saturating_add(u16::try_from(i).unwrap_or_default());
            variables.insert(format!("{prefix}HOST"), host.clone());
            variables.insert(format!("{prefix}PORT"), port.to_string());
            understood.insert(*section, Understood { host, port });
        }
        let written = |name: &str, text: String| {
            let path = dir.join(name);
            fs::write(&path, text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            path
        };
        Self {
            default: written("default.toml", default),
            production: written("production.toml", production),
            variables,
            understood,
        }
    }

    fn loader(&self) -> Loader {
        let loader = Loader::new("APP_").environment(self.variables.clone());
        loader.file(&self.default).file(&self.production)
    }

    fn octostack(&self) -> Settings {
        let loaded = self.loader().load::<(), Settings>();
        loaded.unwrap_or_else(|errors| panic!("{errors}")).settings
    }

    fn config(&self) -> Settings {
        let file = |path: &PathBuf| File::from(path.clone()).format(FileFormat::Toml);
        let variables = Environment::with_prefix("APP").separator("__").prefix_separator("_");
        let variables = variables.try_parsing(true).source(Some(self.variables.clone()));
        let config = Config::builder()
            .add_source(file(&self.default))
            .add_source(file(&self.production))
            .add_source(variables)
            .build();
        config.and_then(Config::try_deserialize).unwrap_or_else(|error| panic!("{error}"))
    }

    /// figment's own source reads the environment of the process and nothing else; so it gets the
    /// variables as it would have understood them, which spares it the work.
    fn figment(&self) -> Settings {
        let figment = Figment::new()
            .merge(Toml::file(&self.default))
            .merge(Toml::file(&self.production))
            .merge(Serialized::defaults(&self.understood));
        figment.extract().unwrap_or_else(|error| panic!("{error}"))
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        let dir = self.default.parent();
        let _ = dir.map(fs::remove_dir_all);
    }
}
