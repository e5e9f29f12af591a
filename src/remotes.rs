//! Config documents that come from elsewhere: which there are, and their first fetch.
use octostack_core::config::Loader;
#[cfg(feature = "config-http")]
use octostack_core::config::remote::HttpSource;
use octostack_core::config::remote::Remote;

/// Variables that say where documents are, and how to get them. Each has a prefixed form too.
#[cfg(feature = "config-http")]
const VARIABLES: [&str; 6] = [
    "CONFIG_URL",
    "CONFIG_TOKEN_FILE",
    "CONFIG_CA_FILE",
    "CONFIG_CACHE_DIR",
    "CACHE_DIRECTORY",
    "STATE_DIRECTORY",
];

/// Adds those of `CONFIG_URL`, of the command line and of the service itself, in this order, once
/// each has been asked for.
pub(crate) fn add(loader: Loader, urls: &[String], own: &[Remote]) -> Result<Loader, String> {
    #[cfg(feature = "config-http")]
    let (loader, mut remotes) = {
        let loader = VARIABLES.into_iter().fold(loader, Loader::known_variable);
        let named = loader.variable("CONFIG_URL");
        let urls = named.iter().chain(urls);
        let remotes = urls.map(|url| http(&loader, url)).collect::<Result<Vec<_>, _>>()?;
        (loader, remotes)
    };
    #[cfg(not(feature = "config-http"))]
    let (loader, mut remotes) = (loader, Vec::new());
    #[cfg(not(feature = "config-http"))]
    debug_assert!(urls.is_empty(), "the command line refuses them");
    remotes.extend(own.iter().cloned());
    if !remotes.is_empty() {
        // The service's own runtime needs the config first.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime =
            runtime.map_err(|error| format!("the async runtime cannot start: {error}"))?;
        let wrong = |error| format!("the config cannot be fetched\n\n{error}");
        let started = runtime.block_on(async {
            for remote in &remotes {
                remote.start().await.map_err(wrong)?;
            }
            Ok::<_, String>(())
        });
        runtime.shutdown_background(); // a name that is being looked up holds nobody up
        started?;
    }
    Ok(remotes.iter().fold(loader, Loader::remote))
}

#[cfg(feature = "config-http")]
fn http(loader: &Loader, url: &str) -> Result<Remote, String> {
    let mut source = HttpSource::new(url).map_err(|error| error.to_string())?;
    if let Some(file) = loader.variable("CONFIG_TOKEN_FILE") {
        source = source.with_token_file(file);
    }
    if let Some(file) = loader.variable("CONFIG_CA_FILE") {
        source = source.with_ca_file(file);
    }
    let remote = Remote::new(source);
    // systemd's come with `CacheDirectory=` and `StateDirectory=`; they may be several.
    let dirs = ["CONFIG_CACHE_DIR", "CACHE_DIRECTORY", "STATE_DIRECTORY"];
    let dir = dirs.into_iter().find_map(|name| loader.variable(name));
    let dir = dir.as_deref().and_then(|dirs| dirs.split(':').next());
    Ok(match dir {
        Some(dir) => remote.with_cache(dir),
        None => remote,
    })
}

#[cfg(all(test, feature = "config-http"))]
mod tests {
    use super::{Loader, add};
    use axum::Router;
    use axum::http::header::CONTENT_TYPE;
    use axum::routing::get;
    use octostack_core::config::Report;
    use schemars::JsonSchema;
    use serde::{Deserialize, Serialize};

    #[derive(Serialize, Deserialize, JsonSchema)]
    struct Settings {
        pool: u32,
        name: String,
    }

    /// A server of two documents, until the test ends.
    fn serve() -> (tokio::runtime::Runtime, String) {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
        let document =
            |text: &'static str| get(move || async move { ([(CONTENT_TYPE, "text/toml")], text) });
        let router = Router::new()
            .route("/a", document("pool = 1\nname = 'a'"))
            .route("/b", document("pool = 2"));
        let url = runtime.block_on(async {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
            let url = format!("http://{}", listener.local_addr().expect("its address"));
            tokio::spawn(async move { axum::serve(listener, router).await });
            url
        });
        (runtime, url)
    }

    fn load(loader: &Loader) -> (Settings, Report) {
        let all = loader.load::<(), Settings>().expect("the documents are right");
        assert_eq!(all.warnings, [""; 0]);
        (all.settings, all.report)
    }

    #[test]
    fn documents_of_the_environment_come_before_those_of_the_command_line() {
        let (_runtime, url) = serve();
        let variables =
            [("T_CONFIG_URL", format!("{url}/a")), ("T_CONFIG_CACHE_DIR", String::new())];
        let loader = Loader::new("T_").environment(variables);
        let loader = add(loader, &[format!("{url}/b")], &[]).unwrap();
        let (settings, report) = load(&loader);
        assert_eq!((settings.pool, settings.name.as_str()), (2, "a"));
        assert_eq!(report.get("pool").unwrap().origin.to_string(), format!("{url}/b:1:8"));
    }

    #[test]
    fn a_document_that_cannot_be_had_is_told_with_what_to_do() {
        let (runtime, url) = serve();
        drop(runtime);
        let error = add(Loader::new("T_"), &[format!("{url}/a")], &[]).unwrap_err();
        assert!(
            error.starts_with(&format!("the config cannot be fetched\n\n{url}/a: ")),
            "{error}"
        );
        assert!(error.contains("there is no cache of it (CONFIG_CACHE_DIR)"), "{error}");
        assert!(add(Loader::new("T_"), &["http://".into()], &[]).is_err());
    }
}
