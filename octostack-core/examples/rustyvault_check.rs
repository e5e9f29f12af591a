//! The client of Vault against a server of other people: RustyVault 0.2.1, which has KV version 1,
//! `AppRole` and few of the answers' fields. `scripts/test --long` installs it and runs this:
//!
//! ```console
//! $ cargo install rusty_vault --version 0.2.1
//! $ cargo run -p octostack-core --example rustyvault_check --features vault -- ~/.cargo/bin/rvault
//! ```
#![allow(clippy::print_stdout, reason = "it tells what was checked")]

use octostack_core::secret::provider::{Fetched, ProviderError, ProviderErrorKind, SecretProvider};
use octostack_core::secret::vault::{VaultConfig, VaultProvider};
use octostack_core::secret::{Secret, SecretRef};
use serde_json::{Value, json};
use std::error::Error;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// A server with a directory of its own. Both are gone when it is dropped.
struct Server {
    process: Child,
    dir: PathBuf,
    port: u16,
    root: String,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

impl Server {
    async fn start(program: &str) -> Result<Self> {
        let port = TcpListener::bind("127.0.0.1:0").await?.local_addr()?.port();
        let dir = std::env::temp_dir().join(format!("rustyvault-check-{}", std::process::id()));
        std::fs::create_dir_all(dir.join("data"))?;
        let config = dir.join("config.hcl");
        let data = dir.join("data");
        let text = format!(
            "storage \"file\" {{\n  path = \"{}\"\n}}\n\
             listener \"tcp\" {{\n  address = \"127.0.0.1:{port}\"\n  tls_disable = \"true\"\n}}\n\
             api_addr = \"http://127.0.0.1:{port}\"\nlog_level = \"error\"\n",
            data.display(),
        );
        std::fs::write(&config, text)?;
        let process = Command::new(program)
            .args(["server", "--config"])
            .arg(&config)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let mut server = Self { process, dir, port, root: String::new() };
        let up = async {
            while server.ask("GET", "sys/init", &Value::Null).await.is_err() {
                sleep(Duration::from_millis(50)).await;
            }
        };
        timeout(Duration::from_secs(20), up).await?;
        let keys = json!({ "secret_shares": 1, "secret_threshold": 1 });
        let keys = server.ask("PUT", "sys/init", &keys).await?;
        server.root = text_of(&keys["root_token"])?;
        server.ask("PUT", "sys/unseal", &json!({ "key": keys["keys"][0] })).await?;
        Ok(server)
    }

    /// What an operator does: asks as root and wants success.
    async fn ask(&self, method: &str, path: &str, body: &Value) -> Result<Value> {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let (root, length) = (&self.root, body.len());
        let request = format!(
            "{method} /v1/{path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\
             x-vault-token: {root}\r\ncontent-length: {length}\r\n\r\n{body}"
        );
        let mut socket = TcpStream::connect(("127.0.0.1", self.port)).await?;
        socket.write_all(request.as_bytes()).await?;
        let mut answer = String::new();
        socket.read_to_string(&mut answer).await?;
        let (head, body) = answer.split_once("\r\n\r\n").ok_or("no answer")?;
        if !head.starts_with("HTTP/1.1 2") {
            return Err(format!("{method} {path}: {head} {body}").into());
        }
        if body.is_empty() { Ok(Value::Null) } else { Ok(serde_json::from_str(body)?) }
    }

    fn config(&self) -> VaultConfig {
        VaultConfig::new(format!("http://127.0.0.1:{}", self.port))
    }

    /// A role whose tokens live so long; it may read, since this server has no policies. Returns its id and its secret.
    async fn role(&self, ttl: &str, max_ttl: &str) -> Result<(String, String)> {
        let spec =
            json!({ "token_ttl": ttl, "token_max_ttl": max_ttl, "token_policies": "orders" });
        self.ask("POST", "auth/approle/role/orders", &spec).await?;
        let id = self.ask("GET", "auth/approle/role/orders/role-id", &Value::Null).await?;
        let secret = self.ask("PUT", "auth/approle/role/orders/secret-id", &json!({})).await?;
        Ok((text_of(&id["data"]["role_id"])?, text_of(&secret["data"]["secret_id"])?))
    }
}

fn text_of(value: &Value) -> Result<String> {
    Ok(value.as_str().ok_or("the server says something else")?.to_owned())
}

fn check(what: &str, is_so: bool) -> Result<()> {
    if !is_so {
        return Err(format!("not so: {what}").into());
    }
    println!("{what}: ok");
    Ok(())
}

fn provider(config: VaultConfig) -> Result<Arc<VaultProvider>> {
    Ok(Arc::new(VaultProvider::new(config).map_err(|problems| problems[0].to_string())?))
}

async fn fetch(vault: &VaultProvider, path: &str) -> std::result::Result<Fetched, ProviderError> {
    let reference: SecretRef = path.parse().map_err(|_| ProviderError::invalid("no reference"))?;
    vault.fetch(&reference).await
}

async fn password(vault: &VaultProvider) -> Result<String> {
    let fetched = fetch(vault, "vault://kv/orders").await?;
    Ok(fetched.payload.select(Some("password"))?.expose().clone())
}

fn is(result: &std::result::Result<Fetched, ProviderError>, kind: ProviderErrorKind) -> bool {
    result.as_ref().is_err_and(|error| error.kind() == kind)
}

/// A token of the operator, and what there is to read.
async fn secrets(server: &Server) -> Result<()> {
    server.ask("POST", "sys/mounts/kv", &json!({ "type": "kv" })).await?;
    let orders = json!({ "password": "hunter2", "ttl": "20s" });
    server.ask("POST", "kv/orders", &orders).await?;
    let vault = provider(server.config().with_token(Secret::new(server.root.clone())))?;
    let fetched = fetch(&vault, "vault://kv/orders").await?;
    check("a secret of KV version 1", password(&vault).await? == "hunter2")?;
    let again = fetched.look_again == Some(Duration::from_secs(20));
    check("its ttl is when to look again", again && fetched.lease.is_none())?;
    let none = fetch(&vault, "vault://kv/none").await;
    check("a secret that is not there", is(&none, ProviderErrorKind::NotFound))?;
    let none = fetch(&vault, "vault://none/orders").await;
    check("a mount that is not there", is(&none, ProviderErrorKind::NotFound))?;
    check("root never ends", vault.abnormal().is_none())
}

/// A role: in, out, and in again.
async fn logins(server: &Server) -> Result<()> {
    server.ask("POST", "sys/auth/approle", &json!({ "type": "approle" })).await?;
    let (role, secret) = server.role("1h", "2h").await?;
    let wrong = Secret::new("wrong".to_owned());
    let vault = provider(server.config().with_approle(&role, wrong))?;
    let refused = fetch(&vault, "vault://kv/orders").await;
    check("a wrong secret of the role", is(&refused, ProviderErrorKind::Refused))?;
    let right = server.config().with_approle(&role, Secret::new(secret));
    vault.reconfigure(right).map_err(|problems| problems[0].to_string())?;
    check("the right one, at once", password(&vault).await? == "hunter2")?;
    vault.close().await?;
    check("an orderly end, and another login", password(&vault).await? == "hunter2")?;

    // No token is renewed here, so that one that lives for 3 s is replaced after 2 s.
    let (role, secret) = server.role("3s", "1h").await?;
    let vault = provider(server.config().with_approle(role, Secret::new(secret)))?;
    let run = Arc::clone(&vault);
    let run = tokio::spawn(async move { run.run().await });
    password(&vault).await?;
    let first = vault.status().get("login").map(ToString::to_string);
    let replaced = async {
        while vault.status().get("login").map(ToString::to_string) == first {
            sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(Duration::from_secs(10), replaced).await?;
    check("a login is replaced before its end", password(&vault).await? == "hunter2")?;
    check("and nothing is wrong", vault.abnormal().is_none())?;
    run.abort();

    server.ask("PUT", "sys/seal", &Value::Null).await?;
    let sealed = fetch(&vault, "vault://kv/orders").await;
    check("a server that is sealed", is(&sealed, ProviderErrorKind::Unavailable))
}

#[tokio::main]
async fn main() -> Result<()> {
    let program = std::env::args().nth(1).ok_or("say where `rvault` is")?;
    let server = Server::start(&program).await?;
    secrets(&server).await?;
    logins(&server).await
}
