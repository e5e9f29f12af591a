//! HTTP/1.1, as far as a client of Vault uses it, and how it can go wrong.

use super::{Script, answers};
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// What a client has asked.
#[derive(Clone, Debug)]
pub struct Request {
    pub method: String,
    /// After `/v1/`, without the query.
    pub path: String,
    pub query: String,
    /// By their names in lower case.
    pub headers: BTreeMap<String, String>,
    /// `null` without a body.
    pub body: Value,
}

impl Request {
    /// The token that it came with.
    pub fn token(&self) -> &str {
        self.headers.get("x-vault-token").map_or("", String::as_str)
    }
}

/// What can go wrong.
#[derive(Clone, Debug)]
pub enum Fault {
    /// Answers this status with this as its error.
    Status(u16, &'static str),
    /// The same, and wants to be left alone for so many seconds.
    Busy(u16, u64),
    /// Never answers.
    Hang,
    /// Answers after this time.
    Slow(Duration),
    /// Closes the connection in place of an answer.
    Drop,
    /// Does what it was asked, and closes the connection in the middle of the answer.
    Cut,
    /// Answers this text.
    Say(String),
    /// Answers so many bytes.
    Huge(usize),
    /// Sends to this address with this status.
    Redirect(u16, String),
}

pub(super) struct Ordered {
    pub(super) times: usize,
    pub(super) path: String,
    pub(super) fault: Fault,
}

/// Status, headers and body.
pub(super) type Reply = (u16, String, String);

pub(super) async fn serve<S>(script: &Script, mut socket: S)
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    while let Some(request) = read(&mut socket).await {
        let fault = script.with(|state| {
            state.requests.push(request.clone());
            let meant = |order: &Ordered| request.path.starts_with(&order.path);
            let at = state.faults.iter().position(meant)?;
            state.faults[at].times -= 1;
            let fault = state.faults[at].fault.clone();
            if state.faults[at].times == 0 {
                state.faults.remove(at);
            }
            Some(fault)
        });
        script.shared.count.send_modify(|count| *count += 1);
        let reply = match fault {
            None => answers::answer(script, &request).await,
            Some(Fault::Slow(time)) => {
                tokio::time::sleep(time).await;
                answers::answer(script, &request).await
            }
            Some(Fault::Hang) => std::future::pending().await,
            Some(Fault::Drop) => return,
            Some(Fault::Cut) => {
                let (status, headers, body) = answers::answer(script, &request).await;
                let whole = written(&(status, headers, body));
                let _ = socket.write_all(&whole[..whole.len() - 5]).await;
                return;
            }
            Some(Fault::Status(status, error)) => answers::errors(status, error),
            Some(Fault::Busy(status, seconds)) => {
                let (status, _, body) = answers::errors(status, "come back later");
                (status, format!("retry-after: {seconds}\r\n"), body)
            }
            Some(Fault::Say(text)) => (200, String::new(), text),
            Some(Fault::Huge(bytes)) => (200, String::new(), "x".repeat(bytes)),
            Some(Fault::Redirect(status, to)) => {
                (status, format!("location: {to}\r\n"), String::new())
            }
        };
        if socket.write_all(&written(&reply)).await.is_err() {
            return;
        }
    }
}

fn written((status, headers, body): &Reply) -> Vec<u8> {
    let length = body.len();
    let head = format!("HTTP/1.1 {status} x\r\ncontent-length: {length}\r\n{headers}\r\n");
    (head + body).into_bytes()
}

async fn read<S: AsyncRead + Unpin>(socket: &mut S) -> Option<Request> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(socket.read_u8().await.ok()?);
    }
    let head = String::from_utf8(head).unwrap();
    let mut lines = head.lines();
    let mut first = lines.next().unwrap().split(' ');
    let (method, target) = (first.next().unwrap().to_owned(), first.next().unwrap());
    let headers: BTreeMap<String, String> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let length = headers.get("content-length").map_or(0, |length| length.parse().unwrap());
    let mut body = vec![0; length];
    socket.read_exact(&mut body).await.ok()?;
    let body = if body.is_empty() { Value::Null } else { serde_json::from_slice(&body).unwrap() };
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let path = decoded(path.strip_prefix("/v1/").unwrap_or(path));
    Some(Request { method, path, query: query.to_owned(), headers, body })
}

fn decoded(text: &str) -> String {
    let (mut bytes, mut rest) = (Vec::new(), text.as_bytes());
    while let Some((&first, more)) = rest.split_first() {
        if first == b'%' {
            let hex = std::str::from_utf8(&more[..2]).unwrap();
            bytes.push(u8::from_str_radix(hex, 16).unwrap());
            rest = &more[2..];
        } else {
            bytes.push(first);
            rest = more;
        }
    }
    String::from_utf8(bytes).unwrap()
}
