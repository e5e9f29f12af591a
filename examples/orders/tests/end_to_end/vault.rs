//! A Vault, as small as can be: one secret of KV version 2 at `kv/orders`, tokens that may read it,
//! and an end and a return at the same address.
use serde_json::{Map, Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

/// The server. Clients keep no connection to it, so that it can be gone at once.
pub struct Vault {
    address: SocketAddr,
    holds: Arc<Mutex<Holds>>,
    running: Option<Running>,
}

/// What it knows.
#[derive(Default)]
struct Holds {
    /// The fields of the secret, and its version.
    fields: Map<String, Value>,
    version: u64,
    tokens: Vec<String>,
    /// Each request that was answered: its path and its token.
    requests: Vec<(String, String)>,
}

struct Running {
    over: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

fn held(holds: &Mutex<Holds>) -> MutexGuard<'_, Holds> {
    holds.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Vault {
    /// Starts one that lets this token read these fields of `kv/orders`.
    pub fn start(token: &str, fields: &[(&str, &str)]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let mut vault = Self { address, holds: Arc::default(), running: None };
        vault.allow(token);
        vault.put(fields);
        vault.serve(listener);
        vault
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Writes the next version of `kv/orders`.
    pub fn put(&self, fields: &[(&str, &str)]) {
        let mut holds = held(&self.holds);
        let fields = fields.iter().map(|(name, text)| ((*name).to_owned(), (*text).into()));
        holds.fields = fields.collect();
        holds.version += 1;
    }

    /// Lets this token read.
    pub fn allow(&self, token: &str) {
        held(&self.holds).tokens.push(token.to_owned());
    }

    /// Ends a token.
    pub fn revoke(&self, token: &str) {
        held(&self.holds).tokens.retain(|known| known != token);
    }

    /// Paths that were asked for with this token.
    pub fn asked_with(&self, token: &str) -> Vec<String> {
        let holds = held(&self.holds);
        let with = holds.requests.iter().filter(|(_, used)| used == token);
        with.map(|(path, _)| path.clone()).collect()
    }

    /// Is gone: whoever connects is refused.
    pub fn stop(&mut self) {
        let Some(running) = self.running.take() else { return };
        running.over.store(true, SeqCst);
        let _ = TcpStream::connect(self.address); // so that it looks
        running.thread.join().expect("it ends");
    }

    /// Is there again.
    pub fn resume(&mut self) {
        let listener = TcpListener::bind(self.address).expect("nobody took its port");
        self.serve(listener);
    }

    fn serve(&mut self, listener: TcpListener) {
        let over = Arc::new(AtomicBool::new(false));
        let (holds, end) = (self.holds.clone(), over.clone());
        let thread = thread::spawn(move || {
            for client in listener.incoming() {
                if end.load(SeqCst) {
                    return;
                }
                let holds = holds.clone();
                // Whoever breaks off has no answer.
                thread::spawn(move || client.map(|client| answer(client, &holds)));
            }
        });
        self.running = Some(Running { over, thread });
    }
}

impl Drop for Vault {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Reads one request, without a body of interest, and answers it.
fn answer(client: TcpStream, holds: &Mutex<Holds>) -> std::io::Result<()> {
    let mut client = BufReader::new(client);
    let mut first = String::new();
    client.read_line(&mut first)?;
    let (mut token, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        client.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        match name.to_ascii_lowercase().as_str() {
            "x-vault-token" => value.clone_into(&mut token),
            "content-length" => length = value.parse().unwrap_or(0),
            _ => {}
        }
    }
    client.read_exact(&mut vec![0; length])?;
    let path = first.split(' ').nth(1).unwrap_or_default().to_owned();
    let (status, body) = {
        let mut holds = held(holds);
        let answer = decide(&holds, &path, &token);
        holds.requests.push((path, token));
        answer
    };
    let (body, client) = (body.to_string(), client.get_mut());
    let length = body.len();
    write!(client, "HTTP/1.1 {status} x\r\nconnection: close\r\ncontent-length: {length}\r\n")?;
    write!(client, "content-type: application/json\r\n\r\n{body}")
}

fn decide(holds: &Holds, path: &str, token: &str) -> (u16, Value) {
    if !holds.tokens.iter().any(|known| known == token) {
        return (403, json!({ "errors": ["permission denied"] }));
    }
    match path {
        "/v1/auth/token/lookup-self" => (200, json!({ "data": { "ttl": 0, "renewable": false } })),
        "/v1/kv/data/orders" => {
            let metadata = json!({ "version": holds.version, "deletion_time": "" });
            (200, json!({ "data": { "data": holds.fields, "metadata": metadata } }))
        }
        _ if path.starts_with("/v1/sys/internal/ui/mounts/") => {
            let data = json!({ "path": "kv/", "type": "kv", "options": { "version": "2" } });
            (200, json!({ "data": data }))
        }
        _ => (404, json!({ "errors": [] })),
    }
}
