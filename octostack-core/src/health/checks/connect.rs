//! Connections of checks: one a run, with TLS where it is wanted.
use super::authorities::Authorities;
use crate::trust;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// What bytes can be sent through.
pub(super) trait Socket: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Socket for T {}

/// A connection of any sort.
pub(super) struct Stream {
    socket: Box<dyn Socket>,
    /// How many bytes more are read.
    left: usize,
}

impl Stream {
    pub(super) fn new(socket: impl Socket + 'static) -> Self {
        Self { socket: Box::new(socket), left: usize::MAX }
    }

    /// Of which no more than about `most` bytes are read.
    #[cfg(feature = "checks-postgresql")]
    pub(super) fn at_most(self, most: usize) -> Self {
        Self { left: most, ..self }
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        to: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.left == 0 {
            return Poll::Ready(Err(io::Error::other("it answers more than a check asks for")));
        }
        let before = to.filled().len();
        let read = Pin::new(&mut self.socket).poll_read(cx, to);
        self.left = self.left.saturating_sub(to.filled().len() - before);
        read
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}

/// How to encrypt.
#[derive(Clone, Copy)]
pub(super) struct Tls<'a> {
    /// Whom to believe that it is who it says.
    pub(super) authorities: Authorities<'a>,
    /// What is spoken inside, as ALPN names it.
    pub(super) speaks: &'static [&'static str],
}

/// A connection to `host`, an IPv6 address without brackets, and with `tls` an encrypted one.
pub(super) async fn open(host: &str, port: u16, tls: Option<Tls<'_>>) -> Result<Stream, String> {
    let failed = |error: &io::Error| format!("{host}:{port}: {}", trust::said(error));
    let tcp = TcpStream::connect((host, port)).await.map_err(|error| failed(&error))?;
    // Without it small messages are slower and no less right.
    let _ = tcp.set_nodelay(true);
    let Some(tls) = tls else { return Ok(Stream::new(tcp)) };
    let name = name(host)?;
    let stream = connector(&tls)?.connect(name, tcp).await;
    let stream = stream.inspect_err(|_| tls.authorities.were_no_help());
    Ok(Stream::new(stream.map_err(|error| failed(&error))?))
}

pub(super) fn name(host: &str) -> Result<ServerName<'static>, String> {
    let name = ServerName::try_from(host.to_owned());
    name.map_err(|_| format!("{host} is no name that a certificate can have"))
}

/// A new one for each run: it would remember sessions, and what resumes one shows no certificate.
pub(super) fn connector(tls: &Tls<'_>) -> Result<TlsConnector, String> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(tls.authorities.roots()?)
        .with_no_client_auth();
    config.alpn_protocols = tls.speaks.iter().map(|name| name.as_bytes().to_vec()).collect();
    Ok(TlsConnector::from(Arc::new(config)))
}
