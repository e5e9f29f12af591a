use super::url::{endpoint, parse};
use super::{Any, Binding, BindingKind, Http, Kafka, Mongodb, Postgresql, Rabbitmq, Redis};
use crate::secret::Secret;
use proptest::prelude::*;
use schemars::JsonSchema;

fn read<K: BindingKind>(text: &str) -> Binding<K> {
    text.parse().unwrap()
}

fn table<K: BindingKind>(json: &str) -> Result<Binding<K>, String> {
    serde_json::from_str(json).map_err(|error| error.to_string())
}

fn refused(text: &str) -> String {
    text.parse::<Binding<Postgresql>>().unwrap_err().to_string()
}

#[test]
fn reads_all_parts_of_a_url() {
    let db: Binding<Postgresql> =
        read("POSTGRES://app:p%40%2F%25%3A@DB.example/shop?sslmode=require&a=%26+");
    assert_eq!(db.kind(), "postgresql");
    assert_eq!((db.scheme(), db.host(), db.port()), ("postgres", Some("db.example"), Some(5432)));
    assert_eq!(db.username(), Some("app"));
    assert_eq!(db.password().unwrap().expose(), "p@/%:");
    assert_eq!(db.database(), Some("shop"));
    assert_eq!(db.options().collect::<Vec<_>>(), [("sslmode", "require"), ("a", "&+")]);
    assert_eq!(
        db.url().expose(),
        "postgres://app:p%40%2F%25%3A@db.example:5432/shop?sslmode=require&a=%26%2B"
    );
    assert_eq!((db.provider(), db.name()), (None, None));
}

#[test]
fn reads_several_hosts_and_addresses() {
    let db: Binding<Mongodb> = read("mongodb://[2001:DB8::1],b:27018,10.0.0.1/x");
    let hosts: Vec<_> = db.endpoints().iter().map(ToString::to_string).collect();
    assert_eq!(hosts, ["[2001:db8::1]:27017", "b:27018", "10.0.0.1:27017"]);
    assert_eq!(db.host(), Some("2001:db8::1"));
    assert_eq!(read::<Mongodb>("mongodb+srv://cluster.example/x").port(), None);
    assert_eq!(read::<Http>("https://a/b/c%20d").path(), "/b/c%20d");
    assert_eq!(read::<Redis>("redis://:pw@h/0").username(), None);
}

#[test]
fn a_slash_in_a_name_is_none_between_names() {
    // The virtual host `/` of a broker, the empty one, and none.
    let vhosts = ["amqp://h/%2F", "amqp://h/", "amqp://h"];
    let read = vhosts.map(read::<Rabbitmq>);
    assert_eq!(read[0].database(), Some("/"));
    assert_eq!(read[0].url().expose(), "amqp://h:5672/%2F");
    assert_eq!(read[1].url().expose(), "amqp://h:5672/");
    assert_eq!(read[2].url().expose(), "amqp://h:5672");
}

#[test]
fn what_stands_beside_a_url_wins() {
    let db = table::<Postgresql>(
        r#"{"url": "postgres://old:pw@db:6000/shop?a=1&b=2", "username": "app",
            "password": "n/w", "database": "a/b", "options": {"a": "3"}}"#,
    );
    assert_eq!(db.unwrap().url().expose(), "postgres://app:n%2Fw@db:6000/a%2Fb?b=2&a=3");
    let db = table::<Postgresql>(r#"{"url": "postgres://old/x", "host": "::1", "port": 7}"#);
    assert_eq!(db.unwrap().url().expose(), "postgres://[::1]:7/x");
    let db = table::<Postgresql>(r#"{"host": "db", "entries": {"certificates": "PEM"}}"#).unwrap();
    assert_eq!(db.url().expose(), "postgres://db:5432");
    assert_eq!(db.entry("certificates").unwrap().expose(), "PEM");
    let db = table::<Kafka>(r#"{"hosts": ["a", "b:1"]}"#).unwrap();
    assert_eq!(db.redacted(), "kafka://a:9092,b:1");
    let db = table::<Any>(r#"{"type": "nats", "host": "h"}"#).unwrap();
    assert_eq!((db.url().expose().as_str(), db.kind()), ("nats://h", "nats"));
}

#[test]
fn says_all_that_is_wrong_and_repeats_nothing() {
    let cases = [
        (
            r#"{"type": "mysql", "host": "a b", "hosts": ["c"]}"#,
            "`type` is not `postgresql`; \
          `host` and `hosts` are both given; keep one; `host` is a name or an address",
        ),
        (r#"{"hosts": ["a", "b"], "port": 1}"#, "`port` is that of one host"),
        (r#"{"username": "hunter2"}"#, "it has no host"),
        (r#"{"url": "mysql://h"}"#, "its scheme is not `postgres` or `postgresql`"),
        (r#"{"hots": "hunter2"}"#, "a key that a binding does not have"),
        (r#"{"password": 12345}"#, "or of another type"),
    ];
    for (json, expected) in cases {
        let error = table::<Postgresql>(json).unwrap_err();
        assert!(error.contains(expected), "{json}: {error}");
        assert!(!error.contains("hunter2") && !error.contains("12345"), "{error}");
    }
    assert!(table::<Any>("{}").unwrap_err().contains("it needs a URL"));
}

/// No form of a URL, right or wrong, brings the password into the open.
#[test]
fn a_password_is_in_no_error() {
    let forms = [
        "hunter2",
        "app:hunter2@db",
        "postgres:/app:hunter2@db",
        "postgres//app:hunter2@db",
        "://app:hunter2@db",
        "1postgres://app:hunter2@db",
        "post gres://app:hunter2@db",
        "postgres://app:hunter2#@db",
        "postgres://app:hunter2/@db",
        "postgres://app:hunter2?@db",
        "postgres://app:hunter2@@db",
        "postgres://app@hunter2@db",
        "postgres://app:hunter2%@db",
        "postgres://app:hunter2%zz@db",
        "postgres://app:hunter2%ff@db",
        "postgres://app:hunter2@",
        "postgres://app:5432/hunter2@db",
        "postgres://app:5432?hunter2@db",
        "postgres://app:5432/=hunter2@db/shop?a=b",
        "postgres://app:5432/1?hunter2@db/shop?a=b",
        "postgres://app:hunter2@db:port",
        "postgres://app:hunter2@db:0",
        "postgres://app:hunter2@db:65536",
        "postgres://app:hunter2@db:+1",
        "postgres://app:hunter2@::1",
        "postgres://app:hunter2@[::1",
        "postgres://app:hunter2@[db]",
        "postgres://app:hunter2@[::1]5432",
        "postgres://app:hunter2@a,,b",
        "postgres://app:hunter2@db/%",
        "postgres://app:hunter2@db/?a=%x",
        "mysql://app:hunter2@db",
        "postgres://hunter2:5432x",
        "postgres://app:hunter2\n@db",
    ];
    for form in forms {
        let error = refused(form);
        assert!(!error.contains("hunter2") && error.len() > 20, "{form}: {error}");
    }
    assert!(refused("postgres://app:hunter2/x@db").contains("%2F"));
    assert!(refused("postgres://u:p@::1").contains("brackets"));
    // In the value of an option, and behind a user, it is usual.
    assert_eq!(read::<Mongodb>("mongodb://a/?appName=@x@").option("appName"), Some("@x@"));
    assert_eq!(read::<Http>("https://u@a/@x").path(), "/%40x");
}

#[test]
fn a_password_is_in_nothing_that_prints() {
    let db: Binding<Http> =
        read("http://app:hunter2@db/x?Password=hunter2&api_KEY=hunter2&sig=hunter2&mode=plain");
    let json = serde_json::to_string(&db).unwrap();
    let shown = [format!("{db}"), format!("{db:?}"), json, format!("{:?}", db.summary())];
    for shown in &shown {
        assert!(!shown.contains("hunter2"), "{shown}");
    }
    assert_eq!(shown[2], r#""[redacted]""#);
    assert!(
        shown[0].ends_with("?Password=[redacted]&api_KEY=[redacted]&sig=[redacted]&mode=plain")
    );
    assert_eq!(read::<Http>("https://hunter2@h").redacted(), "https://[redacted]@h:443");
    assert_eq!(read::<Postgresql>("postgres://app@h").redacted(), "postgres://app@h:5432");
}

#[test]
fn its_schema_is_a_secret_that_names_its_type() {
    let mut generator = schemars::SchemaGenerator::default();
    let schema = Binding::<Postgresql>::json_schema(&mut generator);
    assert_eq!(schema.get("x-secret"), Some(&true.into()));
    assert_eq!(schema.get("x-binding"), Some(&"postgresql".into()));
    assert_eq!(schema.get("default"), None);
}

#[test]
fn equality_is_that_of_all_parts() {
    let one: Binding<Postgresql> = read("postgres://a:b@c/d");
    assert_eq!(one, one.clone());
    assert_eq!(one, read("postgres://a:b@C:5432/d"), "the same service");
    for other in ["postgres://a:x@c/d", "postgres://a:b@x/d", "postgres://a:b@c/d?x=y"] {
        assert_ne!(one, read(other));
    }
}

proptest! {
    /// Whatever user, password, path and options hold, it comes back from the URL.
    #[test]
    fn parts_survive_the_way_through_a_url(
        user in any::<String>(),
        password in any::<String>(),
        segments in prop::collection::vec(any::<String>(), 0..3),
        options in prop::collection::vec(("[^=&]+", any::<String>()), 0..3),
        hosts in prop::collection::vec(("[a-z][a-z0-9.-]{0,8}", prop::option::of(1_u16..)), 1..4),
        address in prop::option::of(any::<std::net::Ipv6Addr>()),
    ) {
        let mut url = parse("any://h").unwrap();
        url.username = Some(user).filter(|user| !user.is_empty());
        url.password = Some(Secret::new(password));
        url.segments = segments;
        url.options = options;
        let hosts = hosts.into_iter().chain(address.map(|address| (address.to_string(), Some(1))));
        url.endpoints = hosts.map(|(host, port)| super::Endpoint { host, port }).collect();
        prop_assert!(parse(&url.exposed()).unwrap() == url);
        for endpoint in &url.endpoints {
            prop_assert_eq!(&super::url::endpoint(&endpoint.to_string()).unwrap(), endpoint);
        }
    }

    #[test]
    fn no_text_makes_it_panic(text in any::<String>(), rest in ".{0,40}") {
        let _ = parse(&text);
        let _ = parse(&format!("a://{rest}"));
        let _ = endpoint(&rest);
    }
}

#[cfg(feature = "bindings-check")]
mod reached {
    use crate::binding::{Endpoint, reach, register};
    use crate::health::Health;
    use crate::inspect::Registry;
    use tokio::net::TcpListener;

    fn at(port: u16) -> Endpoint {
        Endpoint { host: "127.0.0.1".to_owned(), port: Some(port) }
    }

    async fn closed() -> u16 {
        TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port()
    }

    #[tokio::test]
    async fn one_that_answers_is_enough() {
        let open = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = open.local_addr().unwrap().port();
        let (one, other) = (closed().await, closed().await);
        assert_eq!(reach(&[at(one), at(port)]).await, Ok(()));
        let error = reach(&[at(one), at(other)]).await.unwrap_err();
        for port in [one, other] {
            assert!(error.contains(&format!("127.0.0.1:{port}: ")), "{error}");
        }
    }

    #[tokio::test]
    async fn what_has_no_port_is_not_tried() {
        let unknown = Endpoint { host: "cluster.invalid".to_owned(), port: None };
        assert_eq!(reach(&[unknown]).await, Ok(()));
        assert_eq!(reach(&[]).await, Ok(()));
    }

    #[tokio::test]
    async fn it_is_listed_without_its_password_for_as_long_as_there_is_a_check() {
        let registry = Registry::new();
        let health = Health::new(&registry);
        let db: crate::binding::Binding<crate::binding::Postgresql> =
            "postgres://app:hunter2@db/shop".parse().unwrap();
        register("database", &health, &registry, move || Some(db.clone()));
        register("cache", &health, &registry, || {
            None::<crate::binding::Binding<crate::binding::Redis>>
        });
        let shown = |name: &str| {
            let items = registry.items();
            let item = items.iter().find(|item| item.kind() == "binding" && item.name() == name);
            item.map(|item| item.status().to_string())
        };
        let expected = r#"{"attached": true, "type": "postgresql", "provider": null, "#.to_owned()
            + r#""from": "settings", "endpoints": ["db:5432"], "#
            + r#""url": "postgres://app:[redacted]@db:5432/shop"}"#;
        assert_eq!(shown("database"), Some(expected));
        assert_eq!(shown("cache").as_deref(), Some(r#"{"attached": false}"#));
        drop(health);
        assert_eq!(shown("database"), None);
    }
}
