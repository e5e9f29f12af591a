//! What a span or an event says, captured as JSON while it is borrowed.
//!
//! A span's fields are captured once, when they are recorded; an event of that span copies bytes.
//! A key is held once: what is recorded later replaces what was there, so that no line can hold a
//! key twice.
use super::UserIds;
use super::json::{self, NAME_LIMIT, VALUE_LIMIT};
use super::observer::Details;
use crate::trace::{SpanId, TraceContext, TraceId};
use siphasher::sip::SipHasher24;
use std::error::Error;
use std::fmt::{self, Write};
use std::hash::Hasher;
use tracing::field::{Field, Visit};

/// Keys, and values as JSON, in one buffer.
#[derive(Clone, Debug, Default)]
pub(super) struct Fields {
    values: String,
    /// Each key, and where its value ends.
    keys: Vec<(&'static str, usize)>,
}

impl Fields {
    /// Sets `key` to what `write` appends, in place of what it was.
    pub(super) fn set(&mut self, key: &'static str, write: impl FnOnce(&mut String)) {
        if let Some(at) = self.keys.iter().position(|(k, _)| *k == key) {
            self.remove(at);
        }
        write(&mut self.values);
        self.keys.push((key, self.values.len()));
    }

    /// Sets `key` unless it is there.
    pub(super) fn set_if_absent(&mut self, key: &'static str, json: &str) {
        if !self.keys.iter().any(|(k, _)| *k == key) {
            self.values.push_str(json);
            self.keys.push((key, self.values.len()));
        }
    }

    fn remove(&mut self, at: usize) {
        let start = if at == 0 { 0 } else { self.keys[at - 1].1 };
        let (_, end) = self.keys.remove(at);
        self.values.drain(start..end);
        for (_, later) in &mut self.keys[at..] {
            *later -= end - start;
        }
    }

    /// Keys and values, oldest first.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let starts = std::iter::once(0).chain(self.keys.iter().map(|(_, end)| *end));
        starts.zip(&self.keys).map(|(start, (key, end))| (*key, &self.values[start..*end]))
    }

    fn clear(&mut self) {
        self.values.clear();
        self.keys.clear();
    }
}

/// The fields of a span or an event: the standard ones apart, as escaped text without quotes and
/// empty if absent, and all others.
#[derive(Clone, Debug, Default)]
pub(super) struct Captured {
    /// Only for events: the place in a trace of the innermost span that has one.
    pub(super) place: Option<(TraceId, SpanId)>,
    pub(super) correlation_id: String,
    pub(super) user_id: String,
    pub(super) context: Fields,
}

impl Captured {
    /// Adds what was recorded later.
    pub(super) fn update(&mut self, later: &Self) {
        for (slot, new) in
            [(&mut self.correlation_id, &later.correlation_id), (&mut self.user_id, &later.user_id)]
        {
            if !new.is_empty() {
                slot.clone_from(new);
            }
        }
        for (key, json) in later.context.iter() {
            self.context.set(key, |out| out.push_str(json));
        }
    }

    /// Adds the fields of the span around. Of fields of one name the inner one is kept; but the
    /// ids of the outermost span stand, so that nothing inside a request can speak in the name of
    /// another, and those inside move to the context.
    pub(super) fn inherit(&mut self, outer: &Self) {
        for (key, slot, new) in [
            ("correlation_id", &mut self.correlation_id, &outer.correlation_id),
            ("user_id", &mut self.user_id, &outer.user_id),
        ] {
            if new.is_empty() {
                continue;
            }
            if !slot.is_empty() && slot != new {
                self.context.set_if_absent(key, &format!("\"{slot}\""));
            }
            slot.clone_from(new);
        }
        for (key, json) in outer.context.iter() {
            self.context.set_if_absent(key, json);
        }
    }

    /// Takes the place of a span, unless one further in has given its own.
    pub(super) fn locate(&mut self, at: Option<&TraceContext>) {
        let ids = |at: &TraceContext| (at.trace_id(), at.span_id());
        self.place = self.place.or_else(|| at.map(ids));
    }

    pub(super) fn clear(&mut self) {
        self.place = None;
        self.correlation_id.clear();
        self.user_id.clear();
        self.context.clear();
    }
}

/// What only events have. Texts are escaped, without quotes, and empty if absent.
#[derive(Debug, Default)]
pub(super) struct Said {
    pub(super) message: String,
    pub(super) fatal: bool,
    pub(super) error: ErrorParts,
}

/// The error of an event.
#[derive(Debug, Default)]
pub(super) struct ErrorParts {
    pub(super) kind: String,
    pub(super) code: String,
    pub(super) message: String,
    pub(super) stack: String,
}

impl ErrorParts {
    /// Names as in the log line, in its order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&'static str, &str)> {
        [
            ("type", &*self.kind),
            ("code", &self.code),
            ("message", &self.message),
            ("stack", &self.stack),
        ]
        .into_iter()
        .filter(|(_, text)| !text.is_empty())
    }

    fn read(&mut self, error: &(dyn Error + 'static)) {
        replace(&mut self.message, VALUE_LIMIT, format_args!("{error}"));
        if self.kind.is_empty() {
            self.kind = type_of(error);
        }
        if self.stack.is_empty() && error.source().is_some() {
            replace(&mut self.stack, VALUE_LIMIT, format_args!("{}", Causes(error, "\n")));
        }
    }
}

impl Said {
    pub(super) fn clear(&mut self) {
        self.fatal = false;
        let error = &mut self.error;
        for text in [
            &mut self.message,
            &mut error.kind,
            &mut error.code,
            &mut error.message,
            &mut error.stack,
        ] {
            text.clear();
        }
    }
}

/// Sorts recorded values into their places.
pub(super) struct Recorder<'a> {
    pub(super) to: &'a mut Captured,
    /// Only for events.
    pub(super) said: Option<&'a mut Said>,
    pub(super) user_ids: UserIds,
    /// A span of ours, whose fields have the names of OpenTelemetry.
    pub(super) ours: bool,
}

impl Recorder<'_> {
    /// The name in the log of a field of this name; none for what is only for OpenTelemetry.
    fn logged(&self, name: &'static str) -> Option<&'static str> {
        match name {
            _ if self.said.is_some() => Some(name),
            _ if name.starts_with("otel.") => None,
            "http.request.method" if self.ours => Some("method"),
            "http.route" if self.ours => Some("route"),
            "peer.service" if self.ours => Some("dependency"),
            "url.scheme" | "rpc.system.name" if self.ours => None,
            _ => Some(name),
        }
    }

    fn text(&mut self, name: &'static str, value: fmt::Arguments<'_>) {
        let Some(name) = self.logged(name) else { return };
        if !self.standard(name, value) {
            self.to.context.set(name, |out| json::string(out, VALUE_LIMIT, value));
        }
    }

    /// For what prints itself as JSON.
    fn bare(&mut self, name: &'static str, value: fmt::Arguments<'_>) {
        let Some(name) = self.logged(name) else { return };
        if !self.standard(name, value) {
            self.to.context.set(name, |out| {
                let _ = out.write_fmt(value);
            });
        }
    }

    /// Takes the value if the field is one of the standard ones.
    fn standard(&mut self, name: &'static str, value: fmt::Arguments<'_>) -> bool {
        match name {
            "correlation_id" => {
                replace(&mut self.to.correlation_id, NAME_LIMIT, value);
                return true;
            }
            "user_id" => {
                self.user_id(value);
                return true;
            }
            _ => {}
        }
        let Some(said) = &mut self.said else {
            return false;
        };
        let (slot, limit) = match name {
            "message" => (&mut said.message, VALUE_LIMIT),
            "error" | "error.message" => (&mut said.error.message, VALUE_LIMIT),
            // The macros cannot spell the first without quotes: `type` is a word of the language.
            "error.type" | "error.kind" => (&mut said.error.kind, NAME_LIMIT),
            "error.code" => (&mut said.error.code, NAME_LIMIT),
            "error.stack" => (&mut said.error.stack, VALUE_LIMIT),
            _ => return false,
        };
        replace(slot, limit, value);
        true
    }

    fn user_id(&mut self, value: fmt::Arguments<'_>) {
        let slot = &mut self.to.user_id;
        match self.user_ids {
            UserIds::Plain => replace(slot, NAME_LIMIT, value),
            UserIds::Hashed => {
                let hash = hash_of(value);
                replace(slot, NAME_LIMIT, format_args!("{hash:016x}"));
            }
        }
    }
}

impl Visit for Recorder<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.text(field.name(), format_args!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.text(field.name(), format_args!("{value}"));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        match (&mut self.said, field.name()) {
            (Some(said), "fatal") => said.fatal = value,
            _ => self.bare(field.name(), format_args!("{value}")),
        }
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.bare(field.name(), format_args!("{value}"));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.bare(field.name(), format_args!("{value}"));
    }

    // Readers of JSON hold at most 64 bits, most of them less: beyond that, text keeps the digits.
    fn record_i128(&mut self, field: &Field, value: i128) {
        match i64::try_from(value) {
            Ok(value) => self.record_i64(field, value),
            Err(_) => self.text(field.name(), format_args!("{value}")),
        }
    }

    fn record_u128(&mut self, field: &Field, value: u128) {
        match u64::try_from(value) {
            Ok(value) => self.record_u64(field, value),
            Err(_) => self.text(field.name(), format_args!("{value}")),
        }
    }

    // JSON has no word for NaN and the infinities; text keeps them apart. A whole number keeps its
    // `.0`, since stores that guess the type of a field take the first value they see for all.
    fn record_f64(&mut self, field: &Field, value: f64) {
        match value.abs() {
            _ if !value.is_finite() => self.text(field.name(), format_args!("{value}")),
            // Plain digits where `Debug` writes an exponent: 0.000021, not 2.1e-5.
            1e-7..1.0 => self.bare(field.name(), format_args!("{value}")),
            _ => self.bare(field.name(), format_args!("{value:?}")),
        }
    }

    fn record_error(&mut self, field: &Field, value: &(dyn Error + 'static)) {
        if let Some(Details(fields)) = value.downcast_ref() {
            for (key, value) in fields {
                self.to.context.set(key, |out| json::value(out, value));
            }
            return;
        }
        match (&mut self.said, field.name()) {
            (Some(said), "error") => said.error.read(value),
            (_, name) => self.text(name, format_args!("{value}{}", Causes(value, ": "))),
        }
    }
}

/// The hash that stands for a user id in logs: what to search for to find the lines of that user.
///
/// ```
/// # use octostack_telemetry::logs::hash_user_id;
/// assert_eq!(hash_user_id("anna@example.org"), "e14c4a9729bad738");
/// ```
pub fn hash_user_id(id: &str) -> String {
    format!("{:016x}", hash_of(format_args!("{id}")))
}

fn hash_of(id: fmt::Arguments<'_>) -> u64 {
    struct HashOf(SipHasher24);
    impl Write for HashOf {
        fn write_str(&mut self, text: &str) -> fmt::Result {
            self.0.write(text.as_bytes());
            Ok(())
        }
    }
    // Fixed keys, so that a user has one hash everywhere and for good.
    let key = (0x6f63_746f_7374_6163, 0x6b2e_7573_6572_6964);
    let mut hash = HashOf(SipHasher24::new_with_keys(key.0, key.1));
    let _ = hash.write_fmt(id);
    hash.0.finish()
}

fn replace(slot: &mut String, limit: usize, value: fmt::Arguments<'_>) {
    slot.clear();
    json::text(slot, limit, value);
}

/// The sources of an error: `: a: b` or one a line.
struct Causes<'a>(&'a (dyn Error + 'static), &'static str);

impl fmt::Display for Causes<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = if self.1 == "\n" { "" } else { self.1 };
        for cause in std::iter::successors(self.0.source(), |e| (*e).source()) {
            write!(f, "{separator}{cause}")?;
            separator = self.1;
        }
        Ok(())
    }
}

/// The name that a derived `Debug` begins with: that of the struct or of the enum's variant. Empty
/// for an error whose `Debug` is prose. An error behind `dyn` has no other name to give.
fn type_of(error: &dyn Error) -> String {
    struct Start(String);
    impl Write for Start {
        fn write_str(&mut self, text: &str) -> fmt::Result {
            // One more than an identifier may have tells whether it ended.
            let room = (NAME_LIMIT + 1).saturating_sub(self.0.len());
            self.0.extend(text.chars().take(room));
            Ok(())
        }
    }
    let mut start = Start(String::new());
    let _ = write!(start, "{error:?}");
    let text = start.0;
    let end = text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(text.len());
    let (name, rest) = text.split_at(end);
    let whole = rest.is_empty() || rest.starts_with('(') || rest.starts_with(" {");
    if whole && name.starts_with(|c: char| c.is_ascii_uppercase()) {
        name.to_owned()
    } else {
        String::new()
    }
}
