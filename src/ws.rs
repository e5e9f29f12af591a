//! How a WebSocket ends with the service.
//!
//! A WebSocket lasts as long as its client likes, so it has to be told when the service ends: it
//! says `Close` with the code 1001, "going away", and the client connects again, elsewhere. Axum
//! has the protocol (`octostack::axum::extract::ws`); this module has the end.
//!
//! ```
//! use octostack::axum::extract::ws::{WebSocket, WebSocketUpgrade};
//! use octostack::prelude::*;
//! use octostack::{Shutdown, ws};
//!
//! async fn build(app: App<()>) -> Result<Router> {
//!     Ok(Router::new().route("/talk", get(talk)).with_state(app))
//! }
//!
//! async fn talk(upgrade: WebSocketUpgrade, State(shutdown): State<Shutdown>) -> Response {
//!     upgrade.on_upgrade(|socket| echo(socket, shutdown))
//! }
//!
//! async fn echo(mut socket: WebSocket, shutdown: Shutdown) {
//!     // Each message; or none any more, once the service ends.
//!     while let Some(message) = shutdown.until(socket.recv()).await {
//!         let Some(Ok(message)) = message else { return }; // the client has left
//!         if socket.send(message).await.is_err() {
//!             return;
//!         }
//!     }
//!     ws::go_away(socket, &shutdown).await;
//! }
//! ```
//!
//! The server waits for sockets as it waits for requests. One that is not closed when
//! `lifecycle.stream_grace` is over is cut: its next read or write fails.
use crate::Shutdown;
use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket, close_code};

/// Tells the client that this instance goes away (code 1001), and waits until it has closed its
/// side, so that it gets all that was sent before. No longer than streams have to end.
pub async fn go_away(mut socket: WebSocket, shutdown: &Shutdown) {
    let reason = Utf8Bytes::from_static("this instance ends");
    let close = Message::Close(Some(CloseFrame { code: close_code::AWAY, reason }));
    let goodbye = async {
        if socket.send(close).await.is_ok() {
            while let Some(Ok(_)) = socket.recv().await {}
        }
    };
    // All was said, so a client that does not answer is no stream that was cut: that comes first.
    tokio::select! {
        biased;
        () = shutdown.over() => {}
        () = goodbye => {}
    }
}
