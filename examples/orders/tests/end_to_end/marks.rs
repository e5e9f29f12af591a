//! Marked secrets, and the search for them in whatever form they may have got out.
use std::collections::BTreeSet;
use std::collections::hash_map::RandomState;
use std::fmt::Write as _;
use std::hash::BuildHasher as _;

/// How many characters of a mark in a row are a leak.
const PIECE: usize = 8;

/// A secret that nobody could have written by chance.
pub struct Mark {
    /// How it gets in.
    pub way: &'static str,
    pub text: String,
    /// Everything that gives a part of it away, with the name of the form. In lower case.
    forms: Vec<(&'static str, String)>,
    /// The forms by their first two bytes: so that a text is read once for all of them.
    by_start: Vec<Vec<usize>>,
}

impl Mark {
    pub fn new(way: &'static str) -> Self {
        // What URLs, JSON and shells write otherwise stands between two halves.
        let text = format!("{}+/=%&{}", random(), random());
        let forms = forms(text.as_bytes());
        let mut by_start = vec![Vec::new(); 1 << 16];
        for (index, (_, form)) in forms.iter().enumerate() {
            by_start[start(form.as_bytes())].push(index);
        }
        Self { way, text, forms, by_start }
    }

    /// The forms of it that are in `text`.
    pub fn found_in(&self, text: &str) -> BTreeSet<&'static str> {
        // The alphabet of base64 in URLs is another one.
        let text = text.to_ascii_lowercase().replace('-', "+").replace('_', "/");
        let (text, mut found) = (text.as_bytes(), BTreeSet::new());
        for at in 0..text.len().saturating_sub(1) {
            let rest = &text[at..];
            let forms = self.by_start[start(rest)].iter().map(|&index| &self.forms[index]);
            found.extend(forms.filter(|(_, f)| rest.starts_with(f.as_bytes())).map(|(n, _)| n));
        }
        found
    }
}

fn start(bytes: &[u8]) -> usize {
    usize::from(bytes[0]) << 8 | usize::from(bytes[1])
}

fn forms(secret: &[u8]) -> Vec<(&'static str, String)> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).to_ascii_lowercase();
    let mut forms = Vec::new();
    for piece in secret.windows(PIECE) {
        let numbers: Vec<_> = piece.iter().map(u8::to_string).collect();
        forms.extend([("plain", text(piece)), ("url-encoded", url_encoded(piece))]);
        forms.extend([("hex", hex(piece)), ("bytes", numbers.join(", "))]);
        forms.push(("bytes", numbers.join(",")));
    }
    for skipped in 0..3 {
        // A whole number of groups of three bytes, from each place that a group can begin at.
        let groups = &secret[skipped..secret.len() - (secret.len() - skipped) % 3];
        let encoded = base64(groups);
        let pieces = encoded.as_bytes().windows(PIECE * 4 / 3 + 1);
        forms.extend(pieces.map(|piece| ("base64", text(piece))));
    }
    forms
}

/// What was said somewhere, to be searched.
#[derive(Default)]
pub struct Sinks(Vec<(String, String)>);

impl Sinks {
    pub fn add(&mut self, name: impl Into<String>, text: impl Into<String>) {
        self.0.push((name.into(), text.into()));
    }

    pub fn extend(&mut self, sinks: impl IntoIterator<Item = (String, String)>) {
        self.0.extend(sinks);
    }

    /// The sinks that a mark is in.
    pub fn with(&self, mark: &Mark) -> Vec<&str> {
        let sinks = self.0.iter().filter(|(_, text)| !mark.found_in(text).is_empty());
        sinks.map(|(name, _)| name.as_str()).collect()
    }

    /// Fails with all places where one of `marks` has got out.
    pub fn hold_none_of<'a>(&self, marks: impl IntoIterator<Item = &'a Mark>) {
        let mut leaks = String::new();
        for mark in marks {
            for (sink, text) in &self.0 {
                let forms = mark.found_in(text);
                if !forms.is_empty() {
                    let what = format!("{} ({}), {forms:?}", mark.way, mark.text);
                    let _ = writeln!(leaks, "{what} in {sink}: {text}");
                }
            }
        }
        assert!(leaks.is_empty(), "secrets got out:\n{leaks}");
    }
}

/// Eleven characters or so of base 36.
fn random() -> String {
    let mut number = RandomState::new().hash_one("a mark");
    let mut text = String::new();
    while text.len() < 12 {
        let digit = u32::try_from(number % 36).expect("below 36");
        text.push(char::from_digit(digit, 36).expect("below 36"));
        number /= 36;
    }
    text
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// In lower case.
fn url_encoded(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, &byte| {
        if byte.is_ascii_alphanumeric() {
            text.push(char::from(byte.to_ascii_lowercase()));
        } else {
            let _ = write!(text, "%{byte:02x}");
        }
        text
    })
}

/// Of whole groups of three bytes.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let group = |group: &[u8]| {
        let bits = group.iter().fold(0, |bits, byte| bits << 8 | usize::from(*byte));
        [18, 12, 6, 0].map(|shift| char::from(DIGITS[bits >> shift & 63]))
    };
    bytes.chunks_exact(3).flat_map(group).collect()
}

#[test]
fn a_mark_is_found_in_each_form() {
    let mark = Mark::new("a test");
    let text = mark.text.as_str();
    let around = |leak: &str| format!("{{\"message\":\"before {leak} after\"}}");
    let bytes = text.as_bytes();
    for (leak, form) in [
        (text.to_owned(), "plain"),
        (text.to_uppercase(), "plain"),
        (text[..PIECE].to_owned(), "plain"),
        (text[text.len() - PIECE..].to_owned(), "plain"),
        (url_encoded(bytes), "url-encoded"),
        (url_encoded(&bytes[9..17]).to_uppercase(), "url-encoded"),
        (hex(bytes), "hex"),
        (hex(bytes).to_uppercase(), "hex"),
        (format!("{:?}", bytes), "bytes"),
        (base64(&bytes[..27]), "base64"),
        (base64(format!("x{text}y").as_bytes()), "base64"),
        (base64(format!("xy{text}").as_bytes()), "base64"),
        (base64(bytes).replace('+', "-").replace('/', "_"), "base64"),
    ] {
        let found = mark.found_in(&around(&leak));
        assert!(found.contains(&form), "{form} of {text}: {leak}: {found:?}");
    }
    for harmless in ["", &text[..PIECE - 1], &Mark::new("another").text, "[redacted]"] {
        assert!(mark.found_in(&around(harmless)).is_empty(), "{text}: {harmless}");
    }
    let mut sinks = Sinks::default();
    sinks.add("log", around("nothing"));
    sinks.hold_none_of([&mark]);
    sinks.add("page", around(text));
    assert_eq!(sinks.with(&mark), ["page"]);
    assert!(std::panic::catch_unwind(|| sinks.hold_none_of([&mark])).is_err());
}
