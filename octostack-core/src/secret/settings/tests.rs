use super::*;
use crate::config::Loader;
use crate::config::SecretSource as _;
use crate::config::live::{Commit, Hangups, Live, Trigger, Watching};
use crate::inspect::Event;
use crate::secret::Secret;
use crate::secret::provider::{Answer, Fetched, Lease, LeaseId, ProviderError};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::sync::mpsc;

/// A pair of credentials whose number counts up when it is told to.
#[derive(Clone, Default)]
struct Pairs(Arc<Mutex<Inner>>, Arc<Notify>);

#[derive(Default)]
struct Inner {
    number: u32,
    revoked: Vec<String>,
    down: bool,
    bad: bool,
    lacks: bool,
    look_again: Option<Duration>,
}

impl Pairs {
    fn with<T>(&self, look: impl FnOnce(&mut Inner) -> T) -> T {
        look(&mut lock(&self.0))
    }
}

impl SecretProvider for Pairs {
    fn scheme(&self) -> &'static str {
        "pair"
    }

    fn fetch<'a>(&'a self, _: &'a SecretRef) -> Answer<'a, Fetched> {
        Box::pin(async move {
            self.with(|inner| {
                if inner.down {
                    return Err(ProviderError::unavailable("is down"));
                }
                inner.number += 1;
                let number = inner.number;
                let name = if inner.bad { "x".to_owned() } else { format!("user-{number}") };
                let fields = [("username", name), ("password", format!("word-{number}"))];
                let fields = fields.map(|(name, text)| (name.to_owned(), Secret::new(text)));
                let fields = fields.into_iter().take(if inner.lacks { 0 } else { 2 });
                let fields = fields.collect();
                let id = Some(LeaseId::new(format!("lease-{number}")));
                // About two thirds of it.
                let ttl = inner.look_again.unwrap_or(Duration::from_secs(3600));
                let lease = Lease { id, ttl, renewable: false };
                Ok(Fetched::fields(fields).with_lease(lease))
            })
        })
    }

    fn revoke<'a>(&'a self, lease: &'a LeaseId) -> Answer<'a, ()> {
        self.with(|inner| inner.revoked.push(lease.expose().clone()));
        self.1.notify_one();
        Box::pin(std::future::ready(Ok(())))
    }
}

#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
struct Sections {
    #[serde(default)]
    secrets: SecretsConfig,
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
struct Settings {
    #[schemars(length(min = 3))]
    username: Secret<String>,
    password: Secret<String>,
    #[serde(default)]
    size: u32,
}

struct Service {
    pairs: Pairs,
    secrets: Arc<SettingsSecrets>,
    file: PathBuf,
    loader: Loader,
}

impl Service {
    fn new(name: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("octostack-of-settings-{name}"));
        let _ = std::fs::remove_dir_all(&dir);
        std::fs::create_dir_all(&dir).unwrap();
        let file = dir.join("default.toml");
        let pairs = Pairs::default();
        let secrets = SettingsSecrets::new("orders", &Registry::new());
        let secrets = Arc::new(secrets.with_provider(Arc::new(pairs.clone())));
        let loader = Loader::new("T_").config_dir(&dir).secrets(secrets.clone());
        let service = Self { pairs, secrets, file, loader };
        service.write("");
        service
    }

    fn write(&self, more: &str) {
        let both = "username = 'pair://db#username'\npassword = 'pair://db#password'\n";
        std::fs::write(&self.file, format!("{both}{more}")).unwrap();
    }

    fn start(&self) -> Live<Sections, Settings> {
        Live::start(self.loader.clone(), |_, _| Vec::new()).unwrap()
    }
}

fn pair(settings: &Settings) -> String {
    format!("{} {}", settings.username.expose(), settings.password.expose())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_that_is_replaced_is_a_new_generation_whole_and_the_old_one_is_revoked() {
    let service = Service::new("replaced");
    service.write("[secrets]\ndrain = '10ms'");
    let live = tokio::task::spawn_blocking({
        let loader = service.loader.clone();
        move || Live::<Sections, Settings>::start(loader, |_, _| Vec::new()).unwrap()
    });
    let live = live.await.unwrap();
    assert_eq!(pair(&live.settings().load().value), "user-1 word-1");
    let (registry, (said, mut events)) = (Registry::new(), tokio::sync::mpsc::unbounded_channel());
    registry.observe(move |event: &Event| _ = said.send(event.kind));
    live.register(&registry);
    let (told, changes) = mpsc::channel();
    live.on_reload("pool", move |change| {
        let (told, pair, keys) = (told.clone(), pair(change.new.settings), change.keys.to_vec());
        Ok(Commit::new(move || told.send((pair, keys)).unwrap()))
    });
    let following = tokio::spawn({
        let (live, hangups) = (live.clone(), Hangups::install().unwrap());
        async move { live.follow(hangups, Watching::new()).await }
    });
    // The sources are wrong by now, which must not keep a new secret out.
    let broken = format!("{}\nsize = 'many'", std::fs::read_to_string(&service.file).unwrap());
    std::fs::write(&service.file, broken).unwrap();
    assert_eq!(events.recv().await, Some("config_reload_failed"));
    assert!(live.standing().is_err());
    let secrets = service.secrets.secrets().unwrap();
    let handle = secrets.open("test", &"pair://db".parse().unwrap()).await.unwrap();
    handle.refresh().await.unwrap();
    let next = tokio::task::spawn_blocking(move || changes.recv().unwrap()).await.unwrap();
    assert_eq!(next, ("user-2 word-2".to_owned(), vec!["password".into(), "username".into()]));
    assert_eq!(pair(&live.settings().load().value), "user-2 word-2");
    assert!(live.standing().unwrap_err().contains("size"), "the file is as wrong as before");
    let of_page = live.status().to_string();
    assert!(of_page.contains("pair://db#password (") && !of_page.contains("word-"), "{of_page}");
    service.pairs.1.notified().await;
    assert_eq!(service.pairs.with(|inner| inner.revoked.clone()), ["lease-1"]);
    following.abort();
    service.secrets.close().await;
    assert_eq!(service.pairs.with(|inner| inner.revoked.len()), 2);
    assert!(service.secrets.secrets().is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_secret_that_does_not_fit_leaves_the_old_one_in_use() {
    let service = Service::new("unfit");
    let live = tokio::task::block_in_place(|| service.start());
    service.pairs.with(|inner| inner.bad = true);
    let secrets = service.secrets.secrets().unwrap();
    let handle = secrets.open("test", &"pair://db".parse().unwrap()).await.unwrap();
    handle.refresh().await.unwrap();
    service.secrets.changed().await;
    let refused = tokio::task::block_in_place(|| live.reload(Trigger::Secrets)).unwrap_err();
    assert!(refused.to_string().contains("username"), "{refused}");
    assert_eq!(pair(&live.settings().load().value), "user-1 word-1");
    assert!(live.standing().is_err());
    let again = tokio::time::timeout(Duration::from_millis(50), service.secrets.changed()).await;
    assert!(again.is_err(), "it is not tried again until there is another one");
    assert_eq!(service.pairs.with(|inner| inner.revoked.len()), 0, "the old one is in use");

    service.pairs.with(|inner| inner.bad = false);
    handle.refresh().await.unwrap();
    service.secrets.changed().await;
    tokio::task::block_in_place(|| live.reload(Trigger::Secrets)).unwrap();
    assert_eq!(pair(&live.settings().load().value), "user-3 word-3");
    assert_eq!(live.standing(), Ok(()));
    service.secrets.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_secret_that_lacks_its_fields_is_tried_again_until_it_is_whole() {
    let service = Service::new("lacks");
    let live = tokio::task::block_in_place(|| service.start());
    service.pairs.with(|inner| inner.lacks = true);
    let secrets = service.secrets.secrets().unwrap();
    let handle = secrets.open("test", &"pair://db".parse().unwrap()).await.unwrap();
    handle.refresh().await.unwrap();
    service.secrets.changed().await;
    let refused = tokio::task::block_in_place(|| live.reload(Trigger::Secrets)).unwrap_err();
    assert!(refused.to_string().contains("password"), "{refused}");
    assert_eq!(pair(&live.settings().load().value), "user-1 word-1");

    service.pairs.with(|inner| inner.lacks = false);
    handle.refresh().await.unwrap();
    service.secrets.changed().await; // nothing in the settings is of the version that lacks it
    tokio::task::block_in_place(|| live.reload(Trigger::Secrets)).unwrap();
    assert_eq!(pair(&live.settings().load().value), "user-3 word-3");
    let again = tokio::time::timeout(Duration::from_millis(50), service.secrets.changed()).await;
    assert!(again.is_err(), "all is well");
    let status = service.secrets.status().to_string();
    assert!(status.contains("pair://db") && !status.contains("word-"), "{status}");
    service.secrets.close().await;
}

#[test]
fn nothing_works_until_a_reference_leads_elsewhere() {
    let service = Service::new("idle");
    std::fs::write(&service.file, "username = 'env://HOME'\npassword = 'env://HOME'").unwrap();
    let loader = service.loader.clone().environment([("HOME", "/root")]);
    let live = Live::<Sections, Settings>::start(loader, |_, _| Vec::new()).unwrap();
    assert_eq!(live.settings().load().value.username.expose(), "/root");
    assert!(lock(&service.secrets.state).running.is_none());
    assert_eq!((service.secrets.standing(), service.secrets.generation()), (Ok(()), 1));
}

#[test]
fn secrets_that_no_setting_refers_to_any_more_are_given_up() {
    let service = Service::new("given-up");
    service.write("[secrets]\ndrain = '1ms'");
    let live = service.start();
    let plain = "username = 'env://U'\npassword = 'env://U'\n[secrets]\ndrain = '1ms'";
    std::fs::write(&service.file, plain).unwrap();
    let refused = live.reload(Trigger::Code).unwrap_err();
    assert!(refused.to_string().contains("the variable U is not set"), "{refused}");
    assert_eq!(service.pairs.with(|inner| inner.revoked.len()), 0);
    std::fs::write(&service.file, plain.replace("env://U", "env://HOME")).unwrap();
    if std::env::var("HOME").is_err() {
        return; // then there is nothing to refer to
    }
    let loader = service.loader.clone().process_environment();
    let live = Live::<Sections, Settings>::start(loader, |_, _| Vec::new()).unwrap();
    assert_eq!(live.settings().generation(), 1);
    while service.pairs.with(|inner| inner.revoked.is_empty()) {
        std::thread::yield_now();
    }
}

#[test]
fn what_is_wrong_with_the_section_or_cannot_be_reached_is_told_with_its_place() {
    let service = Service::new("wrong");
    let of = |more: &str| {
        service.write(more);
        let loader = service.loader.clone();
        let errors = loader.load::<Sections, Settings>().unwrap_err();
        errors.to_string()
    };
    let shown = of("[secrets]\nstart_timeout = '1h'");
    assert!(shown.contains(":4:17: secrets.start_timeout: 1h is too long"), "{shown}");
    let shown = of("[secrets]\non_errror = 'drop'");
    assert!(shown.contains("secrets.on_errror: unknown key; did you mean `on_error`?"), "{shown}");
    service.pairs.with(|inner| inner.down = true);
    let shown = of("[secrets]\nstart_timeout = '1ms'");
    assert!(shown.contains("password: pair://db#password: is down"), "{shown}");
    std::fs::write(&service.file, "username = 'vault://a#b'\npassword = 'gcp-sm://x'").unwrap();
    let shown = service.loader.load::<Sections, Settings>().unwrap_err().to_string();
    let vault = if cfg!(feature = "vault") { "VAULT_ADDR" } else { "the feature `vault`" };
    assert!(shown.contains("username: vault://a#b: ") && shown.contains(vault), "{shown}");
    assert!(shown.contains("nobody here follows `gcp-sm://`"), "{shown}");
}

#[tokio::test(flavor = "multi_thread")]
async fn they_are_kept_fresh_while_all_threads_of_the_service_are_blocked() {
    let service = Service::new("blocked");
    service.pairs.with(|inner| inner.look_again = Some(Duration::from_millis(60)));
    let live = tokio::task::block_in_place(|| service.start());
    assert_eq!(live.settings().generation(), 1);
    let before = service.pairs.with(|inner| inner.number);
    // This thread stands for all of them: it runs nothing else meanwhile.
    while service.pairs.with(|inner| inner.number) < before + 3 {
        std::thread::yield_now();
    }
    service.secrets.close().await;
}

#[test]
fn the_book_has_the_default_of_what_becomes_of_a_secret() {
    let book = include_str!("../../../../docs/secrets.md");
    let default = serde_json::to_value(SecretsConfig::default().on_error).unwrap();
    let default = default.as_str().unwrap();
    for line in
        [format!("| `secrets.on_error` | `{default}` |"), format!("`{default}` (default) |")]
    {
        assert!(book.contains(&line), "{line}");
    }
}

#[cfg(feature = "vault")]
#[tokio::test(flavor = "multi_thread")]
async fn a_vault_comes_and_changes_and_goes_with_the_settings() {
    let service = Service::new("vaults");
    let vault = |port: u16| {
        format!("[secrets.vault]\naddress = 'http://127.0.0.1:{port}'\nauth = 'agent'\n")
    };
    tokio::task::spawn_blocking(move || {
        let live = service.start();
        let reload = |text: &str| {
            service.write(text);
            live.reload(Trigger::Signal).map(drop).map_err(|refused| format!("{refused:?}"))
        };
        let at = |port: u16| {
            service.secrets.status().to_string().matches(&format!("127.0.0.1:{port}\"")).count()
        };
        reload(&format!("size = 'x'\n{}", vault(1))).unwrap_err();
        reload(&vault(2)).unwrap();
        assert_eq!((at(1), at(2)), (0, 2), "{}", service.secrets.status());
        reload(&format!("size = 'x'\n{}", vault(3))).unwrap_err();
        assert_eq!((at(2), at(3)), (2, 0), "what was refused has changed nothing");
        reload(&vault(4)).unwrap();
        assert_eq!((at(2), at(4)), (0, 2));
        reload("").unwrap();
        reload(&vault(5)).unwrap();
        assert_eq!((at(4), at(5)), (0, 2));
    })
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_secret_that_somebody_did_not_agree_to_is_offered_again() {
    let service = Arc::new(Service::new("refused"));
    let live = tokio::task::spawn_blocking({
        let service = service.clone();
        move || service.start()
    });
    let live = live.await.unwrap();
    let (told, changes) = mpsc::channel();
    live.on_reload("pool", move |change| {
        let _ = told.send(pair(change.new.settings));
        // The database does not know it yet.
        Err(vec![Problem::new("password", "cannot connect")])
    });
    let following = tokio::spawn({
        let (live, hangups) = (live.clone(), Hangups::install().unwrap());
        async move { live.follow(hangups, Watching::new()).await }
    });
    let secrets = service.secrets.secrets().unwrap();
    let handle = secrets.open("test", &"pair://db".parse().unwrap()).await.unwrap();
    handle.refresh().await.unwrap();
    let offered = tokio::task::spawn_blocking(move || {
        let next = || changes.recv_timeout(Duration::from_secs(10)).unwrap();
        [next(), next()]
    });
    assert_eq!(offered.await.unwrap(), ["user-2 word-2", "user-2 word-2"]);
    assert_eq!(pair(&live.settings().load().value), "user-1 word-1");
    following.abort();
}
