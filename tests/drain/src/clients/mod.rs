//! Who asks: each kind of client that meets an end in its own way.
mod http1;
mod http2;
mod quiet;
mod stream;

use crate::tally::Tally;
use serde::{Serialize, Serializer};
use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;
use tokio::task::JoinSet;

/// A kind of client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Client {
    /// HTTP/1.1 on connections that are kept, some busy and some with pauses; leaves on
    /// `Connection: close`.
    KeepAlive,
    /// HTTP/1.1, several requests in one write.
    Pipeline,
    /// HTTP/2, several streams at a time.
    Http2,
    /// gRPC, one message each way.
    GrpcUnary,
    /// gRPC, messages until the server ends.
    GrpcStream,
    /// Server-sent events until the server ends.
    Sse,
    /// A WebSocket that is told its own words until the server ends.
    WebSocket,
    /// The answer takes its time.
    Download,
    /// The request takes its time.
    Upload,
    /// Connects and says nothing.
    Silent,
    /// HTTP/2 that never answers the ping that comes with GOAWAY.
    NoPong,
    /// Begins a request and never finishes it.
    Half,
}

/// Whom a client asks, and where it counts.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) addr: SocketAddr,
    pub(crate) tally: Tally,
    pub(crate) seed: u64,
}

impl Client {
    /// All of them.
    pub const ALL: [Self; 12] = [
        Self::KeepAlive,
        Self::Pipeline,
        Self::Http2,
        Self::GrpcUnary,
        Self::GrpcStream,
        Self::Sse,
        Self::WebSocket,
        Self::Download,
        Self::Upload,
        Self::Silent,
        Self::NoPong,
        Self::Half,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::KeepAlive => "keep-alive",
            Self::Pipeline => "pipeline",
            Self::Http2 => "http2",
            Self::GrpcUnary => "grpc-unary",
            Self::GrpcStream => "grpc-stream",
            Self::Sse => "sse",
            Self::WebSocket => "websocket",
            Self::Download => "download",
            Self::Upload => "upload",
            Self::Silent => "silent",
            Self::NoPong => "no-pong",
            Self::Half => "half",
        }
    }

    /// Whether it needs HTTP/2 from the first byte on.
    pub fn speaks_http2(self) -> bool {
        matches!(self, Self::Http2 | Self::GrpcUnary | Self::GrpcStream | Self::NoPong)
    }

    /// Whether what it does is between it and the next hop only, so that behind a proxy the
    /// server sees nothing of it.
    pub fn is_of_one_hop(self) -> bool {
        matches!(self, Self::Silent | Self::NoPong | Self::Half)
    }

    /// Connections of the kind at a time. Those that are kept are only at risk in the moment of
    /// the end.
    fn connections(self) -> usize {
        match self {
            Self::KeepAlive => 16,
            _ => 4,
        }
    }

    /// Starts several of the kind; they end when the server is gone.
    pub(crate) fn start(self, target: &Target) -> JoinSet<()> {
        let mut tasks = JoinSet::new();
        for (number, pause) in (0..).zip(http1::PAUSES.into_iter().cycle().take(self.connections()))
        {
            let seed = target.seed.wrapping_mul(31).wrapping_add(number);
            let target = Target { seed, ..target.clone() };
            let http1 = |way| http1::run(target.clone(), way);
            let http2 = |ask| http2::run(target.clone(), ask);
            match self {
                Self::KeepAlive => tasks.spawn(http1(http1::Way::KeepAlive { pause })),
                Self::Pipeline => tasks.spawn(http1(http1::Way::Pipeline)),
                Self::Download => tasks.spawn(http1(http1::Way::Download)),
                Self::Upload => tasks.spawn(http1(http1::Way::Upload)),
                Self::Http2 => tasks.spawn(http2(http2::Ask::Page)),
                Self::GrpcUnary => tasks.spawn(http2(http2::Ask::Echo)),
                Self::GrpcStream => tasks.spawn(http2(http2::Ask::Count)),
                Self::Sse => tasks.spawn(stream::events(target)),
                Self::WebSocket => tasks.spawn(stream::websocket(target)),
                Self::Silent => tasks.spawn(quiet::silent(target)),
                Self::NoPong => tasks.spawn(quiet::no_pong(target)),
                Self::Half => tasks.spawn(quiet::half(target)),
            };
        }
        tasks
    }
}

impl fmt::Display for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Client {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|client| client.name() == name).ok_or_else(|| {
            let names = Self::ALL.map(Self::name).join(", ");
            format!("no client `{name}`: {names}")
        })
    }
}

impl Serialize for Client {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(self.name())
    }
}
