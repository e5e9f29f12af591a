//! Strings and values as JSON, with a bound on their length.
//!
//! Escaped is more than JSON asks for: also the second block of control characters and those that
//! change the direction of text. A terminal that shows a log obeys both, so a client that can put
//! them into a path could forge what an operator sees.
use octostack_core::inspect::Value;
use std::fmt::{self, Write};

/// Longest value, in bytes of JSON. What is cut off is counted at its end.
pub(super) const VALUE_LIMIT: usize = 8 * 1024;
/// Longest identifier: an id, a target, the type of an error, a key, a part of the identity.
pub(super) const NAME_LIMIT: usize = 256;

/// Writes escaped text until its limit, then counts.
pub(super) struct Escaped<'a> {
    out: &'a mut String,
    end: usize,
    cut: usize,
}

impl Escaped<'_> {
    fn plain(&mut self, text: &str) {
        let mut fits = self.end.saturating_sub(self.out.len()).min(text.len());
        if self.cut > 0 {
            fits = 0;
        }
        while !text.is_char_boundary(fits) {
            fits -= 1;
        }
        let (head, tail) = text.split_at(fits);
        self.out.push_str(head);
        self.cut += tail.len();
    }

    fn escaped(&mut self, c: char) {
        let longest = "\\u0000".len();
        if self.cut > 0 || self.out.len() + longest > self.end {
            self.cut += c.len_utf8();
            return;
        }
        match c {
            '"' => self.out.push_str("\\\""),
            '\\' => self.out.push_str("\\\\"),
            '\n' => self.out.push_str("\\n"),
            '\r' => self.out.push_str("\\r"),
            '\t' => self.out.push_str("\\t"),
            // All that we escape lies in the basic plane, so four digits do.
            c => {
                let _ = write!(self.out, "\\u{:04x}", u32::from(c));
            }
        }
    }
}

/// Never fails: a `Debug` of a user that cannot bear an error would panic in the middle of a log.
impl Write for Escaped<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if text.bytes().all(|b| matches!(b, b' '..=b'~') && b != b'"' && b != b'\\') {
            self.plain(text); // nearly always, and told much faster than character by character
            return Ok(());
        }
        let mut rest = text;
        while let Some(at) = rest.find(must_escape) {
            self.plain(&rest[..at]);
            let mut tail = rest[at..].chars();
            if let Some(c) = tail.next() {
                self.escaped(c);
            }
            rest = tail.as_str();
        }
        self.plain(rest);
        Ok(())
    }
}

fn must_escape(c: char) -> bool {
    matches!(
        c,
        '"' | '\\'
            | ..' '
            | '\u{7f}'..='\u{9f}'
            | '\u{61c}'
            | '\u{200e}'
            | '\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2066}'..='\u{2069}'
    )
}

/// Appends `text` without quotes, at most about `limit` bytes of it.
pub(super) fn text(out: &mut String, limit: usize, text: fmt::Arguments<'_>) {
    let end = out.len() + limit;
    let mut escaped = Escaped { out, end, cut: 0 };
    // A `Debug` or `Display` of the user that fails has written what it could.
    let _ = escaped.write_fmt(text);
    let cut = escaped.cut;
    if cut > 0 {
        let _ = write!(out, "…[{cut} more bytes]");
    }
}

/// Appends `text` in quotes, at most about `limit` bytes of it.
pub(super) fn string(out: &mut String, limit: usize, value: fmt::Arguments<'_>) {
    out.push('"');
    text(out, limit, value);
    out.push('"');
}

/// Appends a value. One that is too long becomes a string of its beginning.
pub(super) fn value(out: &mut String, value: &Value) {
    let start = out.len();
    nested(out, value);
    if out.len() - start > VALUE_LIMIT {
        out.truncate(start);
        string(out, VALUE_LIMIT, format_args!("{value}"));
    }
}

fn nested(out: &mut String, value: &Value) {
    match value {
        Value::Text(text) => string(out, VALUE_LIMIT, format_args!("{text}")),
        Value::List(items) => {
            out.push('[');
            for (i, item) in items.iter().enumerate() {
                out.push_str(if i == 0 { "" } else { "," });
                nested(out, item);
            }
            out.push(']');
        }
        Value::Map(entries) => {
            out.push('{');
            for (i, (key, item)) in entries.iter().enumerate() {
                out.push_str(if i == 0 { "" } else { "," });
                string(out, NAME_LIMIT, format_args!("{key}"));
                out.push(':');
                nested(out, item);
            }
            out.push('}');
        }
        // Without text inside, the value prints itself as JSON.
        scalar => {
            let _ = write!(out, "{scalar}");
        }
    }
}

/// The text of a JSON string or number as a person reads it: without quotes, and with quotation
/// marks and backslashes as they are. Other escapes stay, so it is one safe line.
pub(super) fn readable(out: &mut String, json: &str) {
    let mut chars =
        json.strip_prefix('"').and_then(|j| j.strip_suffix('"')).unwrap_or(json).chars();
    while let Some(c) = chars.next() {
        match (c, chars.clone().next()) {
            ('\\', Some(next @ ('"' | '\\'))) => {
                out.push(next);
                chars.next();
            }
            _ => out.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{VALUE_LIMIT, readable, string, value};
    use octostack_core::inspect::Value;
    use proptest::prelude::*;

    fn quoted(text: &str, limit: usize) -> String {
        let mut out = String::from("before ");
        string(&mut out, limit, format_args!("{text}"));
        out.split_off("before ".len())
    }

    #[test]
    fn escapes_what_a_terminal_or_a_line_reader_would_obey() {
        assert_eq!(quoted("a\"b\\c", 99), r#""a\"b\\c""#);
        assert_eq!(quoted("\n\r\t\0\u{1b}[31m", 99), r#""\n\r\t\u0000\u001b[31m""#);
        assert_eq!(quoted("\u{9b}\u{7f}", 99), r#""\u009b\u007f""#);
        assert_eq!(quoted("\u{202e}\u{2066}\u{2028}", 99), r#""\u202e\u2066\u2028""#);
        assert_eq!(quoted("grüße, 世界 🦀", 99), "\"grüße, 世界 🦀\"");
    }

    #[test]
    fn cuts_at_a_character_and_says_so() {
        assert_eq!(quoted("abcdef", 6), r#""abcdef""#);
        assert_eq!(quoted("abcdefg", 6), r#""abcdef…[1 more bytes]""#);
        assert_eq!(quoted("abcde🦀", 6), r#""abcde…[4 more bytes]""#);
        assert_eq!(quoted("ab\ncd", 6), r#""ab…[3 more bytes]""#, "never half an escape");
        let long = quoted(&"\u{1}".repeat(100_000), VALUE_LIMIT);
        assert!(long.len() < VALUE_LIMIT + 40, "{}", long.len());
    }

    #[test]
    fn a_long_value_becomes_a_string() {
        let mut out = String::new();
        value(&mut out, &Value::map([("a", Value::from("x\u{9b}")), ("b", 1_u64.into())]));
        assert_eq!(out, r#"{"a":"x\u009b","b":1}"#);

        let long = Value::from(vec![Value::from("x".repeat(1_000)); 20]);
        out.clear();
        value(&mut out, &long);
        let read: serde_json::Value = serde_json::from_str(&out).unwrap();
        assert!(read.as_str().unwrap().ends_with(" more bytes]"), "{read}");
    }

    #[test]
    fn reads_well() {
        let mut out = String::new();
        readable(&mut out, r#""say \"hi\" to C:\\temp\n""#);
        assert_eq!(out, r#"say "hi" to C:\temp\n"#);
    }

    proptest! {
        #[test]
        fn what_fits_reads_back(text in any::<String>()) {
            let read: String = serde_json::from_str(&quoted(&text, usize::MAX / 2)).unwrap();
            prop_assert_eq!(read, text);
        }

        #[test]
        fn any_cut_is_valid_json(text in any::<String>(), limit in 0_usize..40) {
            let json = quoted(&text, limit);
            prop_assert!(serde_json::from_str::<String>(&json).is_ok(), "{}", json);
        }
    }
}
