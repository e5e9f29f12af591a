use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// How often to look whether it listens: 60 s in all.
const LOOKS: u32 = 3_000;

/// A server that runs.
pub(crate) struct Redis {
    server: Child,
    dir: PathBuf,
    pub(crate) port: u16,
}

impl Redis {
    /// Starts one. `None`, and a word to whoever runs the tests, where there is no Redis.
    pub(crate) async fn start(options: &[&str]) -> Option<Self> {
        Self::with(|port| vec!["--port".to_owned(), port], options).await
    }

    /// The same, for TLS alone.
    pub(crate) async fn start_tls(options: &[&str]) -> Option<Self> {
        let listen =
            |port| vec!["--port".to_owned(), "0".to_owned(), "--tls-port".to_owned(), port];
        Self::with(listen, options).await
    }

    async fn with(listen: impl Fn(String) -> Vec<String>, options: &[&str]) -> Option<Self> {
        // Free a moment ago; if somebody else was faster, another one is.
        for _ in 0..5 {
            let free = TcpListener::bind("127.0.0.1:0").unwrap();
            let port = free.local_addr().unwrap().port();
            drop(free);
            let mut redis = Self::spawn(port, &listen(port.to_string()), options)?;
            if redis.listens().await {
                return Some(redis);
            }
        }
        panic!("Redis finds no port");
    }

    fn spawn(port: u16, listen: &[String], options: &[&str]) -> Option<Self> {
        let dir = folder();
        let mut server = Command::new("redis-server");
        server.args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]);
        server.arg("--dir").arg(&dir).args(listen).args(options);
        let log = std::fs::File::create(dir.join("log")).unwrap();
        let server = server.stdin(Stdio::null()).stderr(Stdio::null()).stdout(log).spawn();
        match server {
            Ok(server) => Some(Self { server, dir, port }),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let required =
                    std::env::var_os("OCTOSTACK_REQUIRE_TOOLS").is_some_and(|v| v == "1");
                let what = "there is no `redis-server`; install Redis";
                assert!(!required, "{what}");
                eprintln!("SKIPPED: {what}");
                let _ = std::fs::remove_dir_all(dir);
                None
            }
            Err(error) => panic!("redis-server: {error}"),
        }
    }

    /// Waits until it does. `false`: it has ended.
    async fn listens(&mut self) -> bool {
        for _ in 0..LOOKS {
            if self.server.try_wait().unwrap().is_some() {
                return false;
            }
            if TcpStream::connect(("127.0.0.1", self.port)).is_ok() {
                return true;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("{}", std::fs::read_to_string(self.dir.join("log")).unwrap_or_default());
    }

    /// What it answers to these commands, as it comes over the wire.
    pub(crate) fn ask(&self, commands: &[&[&str]]) -> String {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        for command in commands.iter().copied().chain([&["QUIT"][..]]) {
            write!(stream, "*{}\r\n", command.len()).unwrap();
            for word in command {
                write!(stream, "${}\r\n{word}\r\n", word.len()).unwrap();
            }
        }
        let mut answers = String::new();
        stream.read_to_string(&mut answers).unwrap();
        // The answer to QUIT.
        answers.strip_suffix("+OK\r\n").unwrap_or(&answers).to_owned()
    }
}

/// Ends it at once: nothing of it is needed any more.
impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

/// A new folder.
pub(crate) fn folder() -> PathBuf {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let dir = std::env::temp_dir().join(format!("octostack-redis-{}-{number}", std::process::id()));
    let _ = std::fs::remove_dir_all(&dir);
    std::fs::create_dir_all(&dir).unwrap();
    dir
}
