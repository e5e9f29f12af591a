use crate::inspect::Value;
use std::fmt;
use std::time::Duration;

/// How far a request has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Stage {
    /// The service works on it: there is no head of a response.
    Handler,
    /// The head of the response is there, and its body is being sent.
    Body,
    /// The response is a stream, which may last as long as its client likes.
    Stream,
    /// The connection was handed over to another protocol, such as WebSocket.
    Upgraded,
}

impl Stage {
    /// Its name on pages and in logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Handler => "handler",
            Self::Body => "body",
            Self::Stream => "stream",
            Self::Upgraded => "upgraded",
        }
    }

    pub(super) const fn of(number: u64) -> Self {
        match number & 0xff {
            0 => Self::Handler,
            1 => Self::Body,
            2 => Self::Stream,
            _ => Self::Upgraded,
        }
    }
}

/// A request in flight, as it is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Request {
    /// The method, of those that are known.
    pub method: Option<&'static str>,
    /// The route, as its pattern.
    pub route: Option<String>,
    /// How far it has come.
    pub stage: Stage,
    /// For how long it has been in flight.
    pub age: Duration,
    /// The id of its trace.
    pub trace_id: Option<String>,
    /// Its own id.
    pub request_id: Option<String>,
}

impl Request {
    /// As pages and logs show it.
    pub fn status(&self) -> Value {
        Value::map([
            ("method", Value::from(self.method.map(str::to_owned))),
            ("route", self.route.clone().into()),
            ("stage", self.stage.as_str().into()),
            ("age", Duration::from_millis(millis(self.age)).into()),
            ("trace_id", self.trace_id.clone().into()),
            ("request_id", self.request_id.clone().into()),
        ])
    }

    /// Method and route.
    pub(super) fn what(&self) -> String {
        let route = self.route.as_deref().unwrap_or("unknown");
        self.method.map_or_else(|| route.to_owned(), |method| format!("{method} {route}"))
    }
}

/// `GET /orders/{id} for 3s 200ms (trace 4bf92f3577b34da6a3ce929d0e0e4736)`
impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let age = crate::duration::format(Duration::from_millis(millis(self.age)));
        write!(f, "{} for {age}", self.what())?;
        match &self.trace_id {
            Some(trace_id) => write!(f, " (trace {trace_id})"),
            None => Ok(()),
        }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Some of the requests that are in flight.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Seen {
    /// How many there are in all.
    pub total: usize,
    /// How many of them are as old as was asked for.
    pub matching: usize,
    /// The oldest of those, the oldest first.
    pub requests: Vec<Request>,
}
