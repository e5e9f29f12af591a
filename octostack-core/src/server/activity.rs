use super::ServerConfig;
use super::pong::Pongs;
#[cfg(feature = "tls")]
use super::tls::Records;
use crate::Clock;
use std::time::{Duration, Instant};

/// What the peer speaks, as far as its first bytes tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    Unknown,
    Http1,
    Http2,
}

/// Begins every HTTP/2 connection and no HTTP/1 request: there is no method `PRI`.
const HTTP2_PREFACE: &[u8] = b"PRI";

/// What a connection without requests is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// TLS is being agreed on.
    #[cfg(feature = "tls")]
    Handshake { heard: bool },
    /// Nothing has arrived yet.
    Fresh,
    /// The head of a request has begun to arrive.
    Head,
    /// HTTP/2 is spoken, and nothing was asked for yet.
    Greeted,
    /// The last request on HTTP/1 has ended, and a part of the next one may have come with it.
    Behind,
    /// The last request has ended.
    Idle,
}

/// What happens on one connection, as its socket and its requests see it: a pure state machine.
///
/// It answers one question: when is this connection not worth keeping any more? hyper's own timer
/// does not: it does not run on a new connection that says nothing, and it takes an idle
/// connection for a slow head.
#[derive(Debug)]
pub(super) struct Activity {
    protocol: Protocol,
    /// What TLS has agreed on. It counts from the first byte after that: until then the peer has
    /// not begun to speak it, and cannot be asked to end it.
    agreed: Option<Protocol>,
    /// Where in what arrives one part of TLS ends and the next begins.
    #[cfg(feature = "tls")]
    records: Option<Records>,
    /// How much of the preface has arrived.
    preface: usize,
    /// Answers to the ping of GOAWAY on HTTP/2.
    pongs: Pongs,
    /// Requests from the call of the service to the end of the response body.
    in_flight: usize,
    /// Those of them that are answered by a stream which began before streams were cut.
    streams: usize,
    /// Those of them whose answer is there, and waits until the peer has room for it.
    waiting: usize,
    /// Since when the socket takes no more: something of ours has not been sent.
    blocked: Option<Instant>,
    /// Our side is closed and we wait for the peer to close its side.
    lingering: bool,
    /// A request body was not read to its end.
    unread_body: bool,
    /// hyper has asked for more since the last request began and all that had arrived, and there
    /// was nothing.
    nothing_behind: bool,
    stage: Stage,
    /// Since when it is in `stage`; while requests are in flight that are all `waiting`, since when
    /// the peer has taken nothing of them. Means nothing while there are others.
    since: Instant,
}

impl Activity {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            protocol: Protocol::Unknown,
            agreed: None,
            #[cfg(feature = "tls")]
            records: None,
            preface: 0,
            pongs: Pongs::new(),
            in_flight: 0,
            streams: 0,
            waiting: 0,
            blocked: None,
            lingering: false,
            unread_body: false,
            nothing_behind: false,
            stage: Stage::Fresh,
            since: now,
        }
    }

    pub(super) fn protocol(&self) -> Protocol {
        self.protocol
    }

    pub(super) fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// How often the peer has answered the ping of GOAWAY.
    pub(super) fn pongs(&self) -> u64 {
        self.pongs.seen()
    }

    pub(super) fn unread_body(&self) -> bool {
        self.unread_body
    }

    /// Whether the answer to the request in flight on HTTP/1 may say that it is the last. Not if
    /// another request may have arrived behind it, which would get no answer then.
    ///
    /// hyper reads on while it serves a request, but only once it has used up all that it has
    /// read: so if it asks and finds nothing, nothing has arrived. A body that nobody read to its
    /// end is the other case: what follows it is not found, so the answer is the last anyway.
    pub(super) fn may_be_last(&self) -> bool {
        self.nothing_behind || self.unread_body
    }

    /// Nothing would be lost if the connection ended here.
    pub(super) fn is_quiet(&self) -> bool {
        self.in_flight == 0 && (self.blocked.is_none() || self.shakes()) && !self.lingering
    }

    #[cfg(feature = "tls")]
    pub(super) fn has_heard_nothing(&self) -> bool {
        matches!(self.stage, Stage::Handshake { heard: false })
    }

    #[cfg(feature = "tls")]
    pub(super) fn handshake_begins(&mut self) {
        self.stage = Stage::Handshake { heard: false };
        self.records = Some(Records::new());
    }

    /// From here on the socket's bytes are encrypted, and `agreed` is what is in them.
    #[cfg(feature = "tls")]
    pub(super) fn handshake_ended(&mut self, agreed: Protocol, clock: &impl Clock) {
        self.agreed = Some(agreed);
        self.stage = Stage::Fresh;
        self.since = clock.now();
    }

    const fn shakes(&self) -> bool {
        match self.stage {
            #[cfg(feature = "tls")]
            Stage::Handshake { .. } => true,
            Stage::Fresh | Stage::Head | Stage::Greeted | Stage::Behind | Stage::Idle => false,
        }
    }

    pub(super) fn read(&mut self, bytes: &[u8], clock: &impl Clock) {
        if bytes.is_empty() {
            return;
        }
        self.nothing_behind = false;
        #[cfg(feature = "tls")]
        if let Some(records) = &mut self.records {
            records.read(bytes);
        }
        #[cfg(feature = "tls")]
        if let Stage::Handshake { heard } = &mut self.stage {
            if !std::mem::replace(heard, true) {
                self.since = clock.now();
            }
            return;
        }
        if self.protocol == Protocol::Unknown {
            match self.agreed {
                Some(agreed) => self.protocol = agreed,
                None => self.sniff(bytes),
            }
        }
        if self.agreed.is_none() && self.protocol != Protocol::Http1 {
            self.pongs.read(bytes);
        }
        if self.in_flight > 0 || self.stage == Stage::Head {
            return;
        }
        // On HTTP/2 anything can arrive between requests (pings, windows), and a header block is
        // not told from it here. So a slow one runs into the idle timeout.
        let next = match self.protocol {
            Protocol::Http2 if self.stage == Stage::Idle => Stage::Idle,
            Protocol::Http2 => Stage::Greeted,
            Protocol::Http1 | Protocol::Unknown => Stage::Head,
        };
        if next != self.stage {
            self.stage = next;
            self.since = clock.now();
        }
    }

    /// What was encrypted in what arrived.
    #[cfg(feature = "tls")]
    pub(super) fn decrypted(&mut self, bytes: &[u8]) {
        if self.agreed == Some(Protocol::Http2) {
            self.pongs.read(bytes);
        }
    }

    /// Something was to be read, and nothing had arrived. A part of something encrypted is
    /// something, of which hyper sees nothing yet.
    pub(super) fn found_nothing(&mut self) {
        #[cfg(feature = "tls")]
        let whole = self.records.as_ref().is_none_or(Records::are_whole);
        #[cfg(not(feature = "tls"))]
        let whole = true;
        self.nothing_behind = whole;
    }

    fn sniff(&mut self, bytes: &[u8]) {
        let rest = &HTTP2_PREFACE[self.preface..];
        let common = rest.len().min(bytes.len());
        if rest[..common] != bytes[..common] {
            self.protocol = Protocol::Http1;
        } else if common == rest.len() {
            self.protocol = Protocol::Http2;
        } else {
            self.preface += common;
        }
    }

    /// The socket took something.
    pub(super) fn wrote(&mut self) {
        self.blocked = None;
    }

    /// The socket took nothing.
    pub(super) fn blocked(&mut self, clock: &impl Clock) {
        self.blocked.get_or_insert_with(|| clock.now());
    }

    pub(super) fn lingering(&mut self, lingering: bool) {
        self.lingering = lingering;
    }

    pub(super) fn left_body_unread(&mut self) {
        self.unread_body = true;
    }

    pub(super) fn request_started(&mut self) {
        self.in_flight += 1;
        self.unread_body = false;
        self.nothing_behind = false;
        if let Some(agreed) = self.agreed {
            self.protocol = agreed; // it came with the last bytes of the handshake
        }
    }

    /// A part of an answer, or all of it, is there and waits until the peer has room for it.
    pub(super) fn answer_waits(&mut self, clock: &impl Clock) {
        self.waiting += 1;
        self.answer_moves(clock);
    }

    /// More of an answer that waited is asked for.
    pub(super) fn answer_goes_on(&mut self) {
        self.waiting -= 1;
    }

    /// The peer has taken something of an answer that waits.
    pub(super) fn answer_moves(&mut self, clock: &impl Clock) {
        if self.in_flight == self.waiting {
            self.since = clock.now();
        }
    }

    pub(super) fn request_ended(&mut self, waited: bool, clock: &impl Clock) {
        self.in_flight -= 1;
        self.waiting -= usize::from(waited);
        if self.in_flight == 0 {
            let over = self.may_be_last() || self.protocol == Protocol::Http2;
            self.stage = if over { Stage::Idle } else { Stage::Behind };
        }
        self.answer_moves(clock);
    }

    pub(super) fn stream_started(&mut self) {
        self.streams += 1;
    }

    pub(super) fn stream_ended(&mut self) {
        self.streams -= 1;
    }

    /// Whether streams are all that is going on.
    pub(super) fn only_streams(&self) -> bool {
        self.streams > 0 && self.streams == self.in_flight
    }

    /// When the connection has waited long enough, if it is waiting.
    ///
    /// `crowded` says whether its place is wanted. On HTTP/2 it then ends once it is idle, which
    /// loses nothing; but not before its first request, or a client that is slow to ask would never
    /// be answered. On HTTP/1 a request may be on its way; there an answer says that it is the last.
    pub(super) fn due(&self, config: &ServerConfig, crowded: impl Fn() -> bool) -> Option<Instant> {
        let patience = match self.stage {
            #[cfg(feature = "tls")]
            Stage::Handshake { heard: false } => config.first_byte_timeout,
            #[cfg(feature = "tls")]
            Stage::Handshake { heard: true } => config.handshake_timeout,
            Stage::Fresh => config.first_byte_timeout,
            Stage::Head => config.header_read_timeout,
            Stage::Greeted if crowded() => config.first_byte_timeout.min(config.idle_timeout),
            // Half a head keeps no place for longer than it does elsewhere.
            Stage::Behind if crowded() => config.header_read_timeout.min(config.idle_timeout),
            Stage::Idle if self.protocol == Protocol::Http2 && crowded() => Duration::ZERO,
            Stage::Greeted | Stage::Behind | Stage::Idle => config.idle_timeout,
        };
        let wait = (self.in_flight == 0).then(|| self.since + patience);
        wait.into_iter().chain(self.stalls(config)).min()
    }

    /// Whether it waits for the next request on HTTP/1, which may be on its way.
    pub(super) fn is_kept(&self) -> bool {
        self.in_flight == 0 && self.stage == Stage::Idle && self.protocol != Protocol::Http2
    }

    /// When the peer has not taken anything for too long, if something waits for it.
    pub(super) fn stalls(&self, config: &ServerConfig) -> Option<Instant> {
        let waits = self.in_flight > 0 && self.in_flight == self.waiting;
        let since = self.blocked.into_iter().chain(waits.then_some(self.since)).min();
        since.map(|since| since + config.send_timeout)
    }

    /// Whether that is so. It will not take a goodbye either.
    pub(super) fn is_stalled(&self, config: &ServerConfig, now: Instant) -> bool {
        self.stalls(config).is_some_and(|at| at <= now)
    }

    /// The same in a drain that began at `start`: whatever it waits for gets `grace`. A request
    /// that is on its way arrives in that time, and its answer says that it was the last.
    pub(super) fn due_in_drain(&self, start: Instant, grace: Duration) -> Option<Instant> {
        (self.in_flight == 0).then(|| self.since.max(start) + grace)
    }
}
