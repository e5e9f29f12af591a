//! What there is to bind to: the type of a service and the URLs that lead to it.

/// A scheme of URLs, such as `postgres`, and the port that it stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scheme {
    /// Its name, in small letters.
    pub name: &'static str,
    /// The port of an address that gives none. `None` where nobody can know.
    pub port: Option<u16>,
}

impl Scheme {
    /// The scheme `name`, whose services listen on `port` unless they are told otherwise.
    pub const fn new(name: &'static str, port: u16) -> Self {
        Self { name, port: Some(port) }
    }

    /// The scheme `name`, whose services have no usual port, or none that a name leads to.
    pub const fn without_port(name: &'static str) -> Self {
        Self { name, port: None }
    }
}

/// The kind of service that a [`Binding`](super::Binding) leads to: a marker, never a value.
///
/// Implement it for what is not here; see the [module](super).
pub trait BindingKind: 'static {
    /// The types of bindings that fit, as the Service Binding specification writes them. The first
    /// is the name of the kind. Without any, all fit, but only by name.
    const TYPES: &'static [&'static str];

    /// The schemes that its URLs may have. The first is used where there is no URL, only a host.
    /// Without any, all may be used.
    const SCHEMES: &'static [Scheme];

    /// Whether there must be a host; true unless said otherwise.
    const HOST_REQUIRED: bool = true;

    /// A URL for error messages and docs. Without a password.
    const EXAMPLE: &'static str;
}

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident: $types:expr, $schemes:expr, $example:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name {}

        impl BindingKind for $name {
            const TYPES: &'static [&'static str] = &$types;
            const SCHEMES: &'static [Scheme] = &$schemes;
            const EXAMPLE: &'static str = $example;
        }
    )*};
}

kinds! {
    /// `PostgreSQL`, and what speaks its protocol: `postgres://`, `postgresql://`, port 5432.
    Postgresql: ["postgresql"],
        [Scheme::new("postgres", 5432), Scheme::new("postgresql", 5432)],
        "postgres://user@host:5432/database";
    /// `MySQL` and `MariaDB`: `mysql://`, `mariadb://`, port 3306.
    Mysql: ["mysql", "mariadb"],
        [Scheme::new("mysql", 3306), Scheme::new("mariadb", 3306)],
        "mysql://user@host:3306/database";
    /// Redis and Valkey: `redis://`, with TLS `rediss://`, port 6379.
    Redis: ["redis", "valkey"],
        [Scheme::new("redis", 6379), Scheme::new("rediss", 6379)],
        "redis://host:6379/0";
    /// `MongoDB`: `mongodb://`, port 27017, several hosts with commas; `mongodb+srv://`, whose hosts
    /// DNS knows.
    Mongodb: ["mongodb"],
        [Scheme::new("mongodb", 27017), Scheme::without_port("mongodb+srv")],
        "mongodb://user@host:27017/database";
    /// `RabbitMQ` and other brokers of AMQP: `amqp://`, port 5672; `amqps://`, port 5671.
    Rabbitmq: ["rabbitmq", "amqp"],
        [Scheme::new("amqp", 5672), Scheme::new("amqps", 5671)],
        "amqp://user@host:5672/vhost";
    /// Kafka: `kafka://`, port 9092, several hosts with commas; `bootstrap-servers` of a binding.
    Kafka: ["kafka"],
        [Scheme::new("kafka", 9092)],
        "kafka://one:9092,two:9092";
    /// An HTTP service: `http://`, port 80; `https://`, port 443.
    Http: ["http", "https"],
        [Scheme::new("http", 80), Scheme::new("https", 443)],
        "https://host/path";
    /// An object store of S3's protocol: `https://`, `http://`; the bucket is the path.
    S3: ["s3"],
        [Scheme::new("https", 443), Scheme::new("http", 80)],
        "https://host/bucket";
    /// Anything that has a URL. It fits no binding by type, so a directory has to have its name.
    Any: [], [], "scheme://user@host:1234/path";
}
