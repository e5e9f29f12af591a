//! A PostgreSQL of its own for each test: made in a folder, reached by a socket in it, gone at the
//! end.

use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tokio_postgres::{Client, Config, NoTls};

/// Who may do everything, and only through the socket.
const ADMIN: &str = "postgres";

/// How long a server may take to start, on a machine that has other things to do.
const START: Duration = Duration::from_secs(60);

/// A server that runs.
pub(crate) struct Postgres {
    server: Child,
    dir: PathBuf,
    port: u16,
}

impl Postgres {
    /// Starts one. `None`, and a word to whoever runs the tests, where there is no PostgreSQL.
    pub(crate) async fn start() -> Option<Self> {
        Self::start_with(&["-c", "listen_addresses="], |_| {}).await
    }

    /// The same with options of one's own, and whatever else is to be in the folder of its data.
    pub(crate) async fn start_with(options: &[&str], files: impl FnOnce(&Path)) -> Option<Self> {
        let port = options.iter().find_map(|option| option.strip_prefix("port=")?.parse().ok());
        let programs = match programs() {
            Ok(programs) => programs,
            Err(what) => {
                let required =
                    std::env::var_os("OCTOSTACK_REQUIRE_TOOLS").is_some_and(|v| v == "1");
                assert!(!required, "{what}");
                eprintln!("SKIPPED: {what}");
                return None;
            }
        };
        let dir = folder();
        let user = other_user(&dir);
        let data = dir.join("data");
        let mut initdb = Command::new(programs.join("initdb"));
        initdb.args(["--auth=trust", "--no-sync", "--encoding=UTF8", "--locale=C", "-U", ADMIN]);
        let made = as_user(initdb.arg("-D").arg(&data), user).output().unwrap();
        assert!(made.status.success(), "initdb: {}", String::from_utf8_lossy(&made.stderr));
        // The owner comes in by the socket; everybody else by their password.
        let rules = format!(
            "local all {ADMIN} trust\nlocal all all scram-sha-256\nhostssl all all all scram-sha-256\n"
        );
        fs::write(data.join("pg_hba.conf"), rules).unwrap();
        let mut server = Command::new(programs.join("postgres"));
        files(&data);
        server.arg("-D").arg(&data).arg("-k").arg(&dir).args(options);
        server.args(["-c", "fsync=off", "-c", "max_connections=200"]);
        let log = fs::File::create(dir.join("log")).unwrap();
        server.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let server = as_user(&mut server, user).spawn().unwrap();
        let mut postgres = Self { server, dir, port: port.unwrap_or(5432) };
        postgres.wait().await;
        Some(postgres)
    }

    async fn wait(&mut self) {
        let ready = async {
            while self.config(ADMIN).connect(NoTls).await.is_err() {
                assert!(self.server.try_wait().unwrap().is_none(), "{}", self.log());
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let ready = tokio::time::timeout(START, ready).await;
        assert!(ready.is_ok(), "it does not get ready: {}", self.log());
    }

    /// What it has written down.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.dir.join("log")).unwrap_or_default()
    }

    /// The folder with its socket.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Where it is, as `user`.
    pub(crate) fn config(&self, user: &str) -> Config {
        let mut config = Config::new();
        config.host_path(&self.dir).port(self.port).dbname("postgres").user(user);
        config
    }

    /// A connection that may do everything.
    pub(crate) async fn admin(&self) -> Arc<Client> {
        let (client, connection) = self.config(ADMIN).connect(NoTls).await.unwrap();
        tokio::spawn(connection);
        Arc::new(client)
    }
}

/// Ends it at once: nothing of it is needed any more.
impl Drop for Postgres {
    fn drop(&mut self) {
        let pid = i32::try_from(self.server.id()).ok().and_then(Pid::from_raw);
        if let Some(pid) = pid {
            let _ = kill_process(pid, Signal::QUIT);
        }
        let _ = self.server.wait();
        let _ = fs::remove_dir_all(&self.dir);
    }
}

/// A new folder with a name that is short enough for a socket in it.
fn folder() -> PathBuf {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let name = format!("octostack-pg-{}-{number}", std::process::id());
    let dir = std::env::temp_dir().join(name);
    let _ = fs::remove_dir_all(&dir);
    fs::create_dir_all(&dir).unwrap();
    dir
}

/// The folder with the programs of the newest version that there is.
fn programs() -> Result<PathBuf, String> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let on_path = std::env::split_paths(&path);
    let mut of_debian: Vec<_> = fs::read_dir("/usr/lib/postgresql")
        .map(|all| all.filter_map(|entry| Some(entry.ok()?.path().join("bin"))).collect())
        .unwrap_or_default();
    of_debian.sort();
    let mut all = on_path.chain(of_debian.into_iter().rev());
    let found = all.find(|dir| dir.join("initdb").exists() && dir.join("postgres").exists());
    found.ok_or_else(|| "there is no `initdb` and `postgres`; install PostgreSQL".to_owned())
}

/// Somebody else, if this is root, as whom PostgreSQL refuses to run. The folder is theirs then.
fn other_user(dir: &Path) -> Option<(u32, u32)> {
    if !rustix::process::geteuid().is_root() {
        return None;
    }
    let users = fs::read_to_string("/etc/passwd").unwrap();
    let nobody = users.lines().find_map(|line| line.strip_prefix("nobody:")).unwrap();
    let mut ids = nobody.split(':').skip(1).map(str::parse::<u32>);
    let (user, group) = (ids.next().unwrap().unwrap(), ids.next().unwrap().unwrap());
    chown(dir, Some(user), Some(group)).unwrap();
    fs::set_permissions(dir, fs::Permissions::from_mode(0o755)).unwrap();
    Some((user, group))
}

fn as_user(command: &mut Command, user: Option<(u32, u32)>) -> &mut Command {
    if let Some((user, group)) = user {
        command.gid(group).uid(user).current_dir("/");
    }
    command
}
