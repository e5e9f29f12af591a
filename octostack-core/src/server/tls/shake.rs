//! From a connection to one that is encrypted.
use super::PeerIdentity;
use super::state::State;
use crate::lifecycle::{Step, Stop};
use crate::server::activity::Protocol;
use crate::server::connection::drive;
use crate::server::io::Watched;
use crate::server::link::Link;
use crate::server::socket::Stream;
use std::pin::pin;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// A connection after its handshake.
pub(in super::super) struct Shaken {
    pub(in super::super) stream: Box<TlsStream<Watched<Stream>>>,
    /// As ALPN says; HTTP/1 for whoever does not use it.
    pub(in super::super) http2: bool,
    pub(in super::super) identity: Option<PeerIdentity>,
}

/// Shakes hands with the peer, in the time that the limits give it. There is no connection if that
/// fails, which is counted, or if the end comes first, for which nothing is lost.
pub(in super::super) async fn shake(
    tls: &State,
    io: Watched<Stream>,
    link: &Link,
    stop: &Stop,
    grace: impl FnOnce() -> Duration,
) -> Option<Shaken> {
    link.handshake_begins();
    let acceptor = TlsAcceptor::from(tls.config());
    let mut done = None;
    {
        let handshake = async {
            done = Some(match acceptor.accept(io).into_fallible().await {
                Ok(stream) => Ok(stream),
                Err((error, mut io)) => {
                    // So that the peer gets to read why.
                    let _ = io.shutdown().await;
                    Err(error.to_string())
                }
            });
        };
        let mut handshake = pin!(handshake);
        drive(handshake.as_mut(), |_| {}, link, stop, grace).await;
    }
    let failure = match done {
        Some(Ok(stream)) => match shaken(stream) {
            Ok(shaken) => {
                let next = if shaken.http2 { Protocol::Http2 } else { Protocol::Http1 };
                link.handshake_ended(next);
                return Some(shaken);
            }
            Err(error) => error,
        },
        // A probe of somebody who wants to know whether the port is open.
        Some(Err(_)) | None if link.heard_nothing() => return None,
        Some(Err(error)) => error,
        None if stop.step() >= Step::Drain => return None,
        None => {
            let limit = crate::duration::format(link.config.handshake_timeout);
            format!("took longer than {limit} (server.handshake_timeout)")
        }
    };
    tls.failed(failure);
    None
}

fn shaken(stream: TlsStream<Watched<Stream>>) -> Result<Shaken, String> {
    let (_, session) = stream.get_ref();
    let leaf = session.peer_certificates().and_then(<[_]>::first);
    let identity = leaf.map(PeerIdentity::of).transpose();
    let identity =
        identity.map_err(|error| format!("the client's certificate cannot be read: {error}"))?;
    let http2 = session.alpn_protocol() == Some(b"h2");
    Ok(Shaken { stream: Box::new(stream), http2, identity })
}
