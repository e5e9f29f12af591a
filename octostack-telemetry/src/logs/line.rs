//! One captured event as one line.
use super::capture::{Captured, Said};
use super::json::{self, NAME_LIMIT, VALUE_LIMIT};
use octostack_core::Identity;
use std::fmt::Write;
use std::time::SystemTime;
use tracing::{Level, Metadata};

/// Where a line comes from.
#[derive(Clone, Copy)]
pub(super) struct Origin<'a> {
    level: Level,
    target: &'a str,
}

impl<'a> Origin<'a> {
    pub(super) fn of(meta: &Metadata<'a>) -> Self {
        Self { level: *meta.level(), target: meta.target() }
    }
}

/// Longest line. Fields of the context that do not fit are left out and counted.
pub(super) const LINE_LIMIT: usize = 64 * 1024;
/// Kept for the marker and the closing brackets.
const RESERVE: usize = 64;
/// Where the number of fields that were left out is told; a field of this name is left out itself.
const LEFT_OUT: &str = "_left_out";

// All but the context always fits: message, text and stack of an error; names and ids; their keys.
const _: () = assert!(3 * (VALUE_LIMIT + 64) + 10 * (NAME_LIMIT + 64) + RESERVE < LINE_LIMIT / 2);

/// The look of a line, with what all lines share written already.
#[derive(Debug)]
pub(super) enum Style {
    Json { identity: String },
    Pretty { color: bool },
}

impl Style {
    pub(super) fn json(identity: &Identity) -> Self {
        let mut head = String::new();
        for (key, value) in [
            ("service", &identity.name),
            ("version", &identity.version),
            ("environment", &identity.environment),
        ] {
            let _ = write!(head, ",\"{key}\":");
            json::string(&mut head, NAME_LIMIT, format_args!("{value}"));
        }
        Self::Json { identity: head }
    }

    pub(super) fn without_color_if(self, no_color: bool) -> Self {
        match self {
            Self::Pretty { color } => Self::Pretty { color: color && !no_color },
            json @ Self::Json { .. } => json,
        }
    }

    /// Appends the line, with its line break.
    pub(super) fn write(&self, line: &mut String, from: Origin<'_>, said: &Said, all: &Captured) {
        // The formatter panics on times before 1970, and a log must not.
        let now = SystemTime::now().max(SystemTime::UNIX_EPOCH);
        match self {
            Self::Json { identity } => write_json(line, now, identity, from, said, all),
            Self::Pretty { color } => write_pretty(line, now, *color, from, said, all),
        }
        line.push('\n');
    }

    /// Appends the line that says how many are missing. No event, so no filter can swallow it.
    pub(super) fn write_notice(&self, line: &mut String, dropped: u64) {
        let (mut said, mut all) = (Said::default(), Captured::default());
        let lines = if dropped == 1 { "line" } else { "lines" };
        said.message = format!("dropped {dropped} log {lines}");
        all.context.set("dropped", |out| {
            let _ = write!(out, "{dropped}");
        });
        let from = Origin { level: Level::WARN, target: "octostack::logs" };
        self.write(line, from, &said, &all);
    }
}

fn write_json(
    line: &mut String,
    now: SystemTime,
    identity: &str,
    from: Origin<'_>,
    said: &Said,
    all: &Captured,
) {
    let _ = write!(line, "{{\"timestamp\":\"{}", humantime::format_rfc3339_micros(now));
    push(line, &["\",\"level\":\"", level_name(from.level, said.fatal), "\"", identity]);
    push(line, &[",\"message\":\"", &said.message, "\",\"target\":"]);
    json::string(line, NAME_LIMIT, format_args!("{}", from.target));
    if let Some((trace, span)) = all.place {
        let _ = write!(line, ",\"trace_id\":\"{trace}\",\"span_id\":\"{span}\"");
    }
    for (key, id) in [("correlation_id", &all.correlation_id), ("user_id", &all.user_id)] {
        if !id.is_empty() {
            push(line, &[",\"", key, "\":\"", id, "\""]);
        }
    }
    let mut open = ",\"error\":{";
    for (key, text) in said.error.iter() {
        push(line, &[open, "\"", key, "\":\"", text, "\""]);
        open = ",";
    }
    if open == "," {
        line.push('}');
    }
    write_context(line, all);
    line.push('}');
}

fn push(line: &mut String, parts: &[&str]) {
    for part in parts {
        line.push_str(part);
    }
}

fn write_context(line: &mut String, all: &Captured) {
    let mut left_out = 0_usize;
    let mut open = ",\"context\":{";
    for (key, value) in all.context.iter() {
        if key == LEFT_OUT || line.len() + key.len() + value.len() + RESERVE > LINE_LIMIT {
            left_out += 1;
            continue;
        }
        let before = line.len();
        line.push_str(open);
        json::string(line, NAME_LIMIT, format_args!("{key}"));
        line.push(':');
        line.push_str(value);
        // Escapes can make a key longer than it was.
        if line.len() + RESERVE > LINE_LIMIT {
            line.truncate(before);
            left_out += 1;
        } else {
            open = ",";
        }
    }
    if left_out > 0 {
        let _ = write!(line, "{open}\"{LEFT_OUT}\":{left_out}");
        open = ",";
    }
    if open == "," {
        line.push('}');
    }
}

fn write_pretty(
    line: &mut String,
    now: SystemTime,
    color: bool,
    from: Origin<'_>,
    said: &Said,
    all: &Captured,
) {
    let paint = |code: &'static str| if color { code } else { "" };
    let (dim, plain) = (paint("\x1b[2m"), paint("\x1b[0m"));
    let time = humantime::format_rfc3339_millis(now).to_string();
    // The day is no news to whoever watches a terminal.
    let _ = write!(line, "{dim}{}{plain} ", time.get(11..23).unwrap_or(&time));
    let level = level_name(from.level, said.fatal).to_uppercase();
    let _ = write!(line, "{}{level:>5}{plain} ", paint(level_color(from.level)));
    let _ = write!(line, "{dim}{}:{plain} ", from.target);
    json::readable(line, &said.message);
    for (key, value) in all.context.iter() {
        let _ = write!(line, " {dim}{key}={plain}");
        let bare = value.trim_matches('"');
        if bare.is_empty() || bare.contains([' ', '"', '=']) {
            line.push_str(value);
        } else {
            json::readable(line, value);
        }
    }
    if let Some((trace, _)) = all.place {
        let _ = write!(line, " {dim}trace_id={trace}{plain}");
    }
    for (key, id) in [("correlation_id", &all.correlation_id), ("user_id", &all.user_id)] {
        if !id.is_empty() {
            let _ = write!(line, " {dim}{key}={id}{plain}");
        }
    }
    for (key, text) in said.error.iter() {
        // Escaped as they are, line breaks of one text can neither forge a line nor hide one.
        for (i, part) in text.split("\\n").enumerate() {
            let label = if i == 0 { key } else { "" };
            let _ = write!(line, "\n    {dim}{label:>7}{plain} ");
            json::readable(line, part);
        }
    }
}

fn level_name(level: Level, fatal: bool) -> &'static str {
    match level {
        _ if fatal => "fatal",
        Level::TRACE => "trace",
        Level::DEBUG => "debug",
        Level::INFO => "info",
        Level::WARN => "warn",
        Level::ERROR => "error",
    }
}

fn level_color(level: Level) -> &'static str {
    match level {
        Level::ERROR => "\x1b[31m",
        Level::WARN => "\x1b[33m",
        Level::INFO => "\x1b[32m",
        _ => "\x1b[34m",
    }
}
