//! haproxy and nginx in front of the server, set up so that they hide nothing: they keep
//! connections to it, and never ask twice.
use crate::BoxError;
use crate::server::{Process, free_port, listens};
use serde::Serialize;
use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// How clients get to the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Via {
    /// On connections of their own.
    Direct,
    /// Through haproxy: HTTP/1.1 as such, HTTP/2 and gRPC as HTTP/2.
    Haproxy,
    /// Through nginx: HTTP as HTTP/1.1, gRPC by `grpc_pass`.
    Nginx,
}

impl Via {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Direct, Self::Haproxy, Self::Nginx];

    /// Whether the program is there; without one that is needed, the cell is skipped.
    pub fn is_there(self) -> bool {
        let Some(program) = self.program() else { return true };
        let paths = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&paths).any(|path| path.join(program).is_file())
    }

    fn program(self) -> Option<&'static str> {
        match self {
            Self::Direct => None,
            Self::Haproxy => Some("haproxy"),
            Self::Nginx => Some("nginx"),
        }
    }
}

impl fmt::Display for Via {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.program().unwrap_or("direct"))
    }
}

impl FromStr for Via {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|via| via.to_string() == name);
        found.ok_or_else(|| format!("no `{name}`: direct, haproxy or nginx"))
    }
}

/// Where clients go, and what runs on the way.
#[derive(Debug)]
pub(crate) struct Way {
    pub(crate) http1: SocketAddr,
    pub(crate) http2: SocketAddr,
    _process: Option<Process>,
    _dir: Option<Dir>,
}

impl Way {
    /// Starts what is needed between clients and the server at `server`.
    pub(crate) async fn open(via: Via, server: SocketAddr) -> Result<Self, BoxError> {
        let Some(program) = via.program() else {
            return Ok(Self { http1: server, http2: server, _process: None, _dir: None });
        };
        let [http1, http2] = [free_port(), free_port()].map(local);
        let dir = Dir::new()?;
        let config = match via {
            Via::Nginx => nginx(&dir.0, server, http1, http2),
            Via::Direct | Via::Haproxy => haproxy(server, http1, http2),
        };
        let file = dir.0.join("config");
        std::fs::write(&file, config)?;
        let file = file.display().to_string();
        let prefix = dir.0.display().to_string();
        let arguments: &[&str] = match via {
            Via::Nginx => &["-p", &prefix, "-e", "stderr", "-c", &file],
            Via::Direct | Via::Haproxy => &["-q", "-db", "-f", &file],
        };
        let command = std::iter::once(&program).chain(arguments);
        let command: Vec<_> = command.map(|&word| word.to_owned()).collect();
        let mut process = Process::start(&command, &[])?;
        process.until(async || listens(http1).await && listens(http2).await).await?;
        Ok(Self { http1, http2, _process: Some(process), _dir: Some(dir) })
    }
}

pub(crate) fn local(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}

/// A directory for the files of a proxy, gone with it.
#[derive(Debug)]
struct Dir(PathBuf);

impl Dir {
    fn new() -> std::io::Result<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("drain-kit-{}-{}", std::process::id(), NEXT.fetch_add(1, Relaxed));
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path)?;
        Ok(Self(path))
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn haproxy(server: SocketAddr, http1: SocketAddr, http2: SocketAddr) -> String {
    format!(
        "defaults
    mode http
    timeout connect 5s
    timeout client 60s
    timeout server 60s
    timeout tunnel 60s
    retries 0
    no option redispatch
    option http-no-delay
    http-reuse safe

frontend http1
    bind {http1}
    default_backend http1

backend http1
    server server {server}

frontend http2
    bind {http2} proto h2
    default_backend http2

backend http2
    server server {server} proto h2
"
    )
}

fn nginx(dir: &Path, server: SocketAddr, http1: SocketAddr, http2: SocketAddr) -> String {
    let dir = dir.display();
    let http = "proxy_pass http://http1;
            proxy_http_version 1.1;
            proxy_set_header Host $host;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection $connection_upgrade;
            proxy_buffering off;
            proxy_request_buffering off;
            proxy_next_upstream off;";
    format!(
        "daemon off;
master_process off;
pid {dir}/pid;
error_log stderr crit;
events {{ worker_connections 1000; }}
http {{
    access_log off;
    client_body_temp_path {dir}/body;
    proxy_temp_path {dir}/proxy;
    fastcgi_temp_path {dir}/fastcgi;
    uwsgi_temp_path {dir}/uwsgi;
    scgi_temp_path {dir}/scgi;
    keepalive_requests 1000000;
    add_header x-connected $upstream_connect_time always;
    map $http_upgrade $connection_upgrade {{ default upgrade; '' ''; }}
    upstream http1 {{ server {server} max_fails=0; keepalive 32; }}
    upstream grpc {{ server {server} max_fails=0; keepalive 32; }}
    server {{
        listen {http1};
        location / {{
            {http}
        }}
    }}
    server {{
        listen {http2} http2;
        location / {{
            {http}
        }}
        location /drain.v1.Drain/ {{
            grpc_pass grpc://grpc;
            grpc_next_upstream off;
        }}
    }}
}}
"
    )
}
