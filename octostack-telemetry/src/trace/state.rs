//! What systems on the way have added to a trace: the header `tracestate`.
use std::fmt;
use std::sync::Arc;

/// Most members that are kept, as the standard has it.
const MOST_MEMBERS: usize = 32;
/// Longest text that is kept: what everybody has to propagate.
const LONGEST: usize = 512;
/// Longer members go first where room is short.
const LONG_MEMBER: usize = 128;
/// Longest key and longest value.
const LONGEST_PART: usize = 256;

/// The list that travels with a trace in `tracestate`. Nothing here reads or changes it; it is
/// passed on.
///
/// Cheap to clone. Empty for nearly all traces.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TraceState(Option<Arc<str>>);

impl TraceState {
    /// Nothing.
    pub const NONE: Self = Self(None);

    /// The list of one header or several, in their order.
    ///
    /// Empty if a member is malformed or there are more than 32: half a list would be wrong. If
    /// the whole is longer than 512 characters, members are left out as the standard says: first
    /// those longer than 128, then those at the end, whose systems were there first.
    ///
    /// ```
    /// use octostack_telemetry::trace::TraceState;
    ///
    /// assert_eq!(TraceState::parse(["a=1, b=2", "c=3"]).as_str(), "a=1,b=2,c=3");
    /// assert_eq!(TraceState::parse(["a=1", "B=2"]).as_str(), ""); // keys are in lower case
    /// ```
    pub fn parse<'a>(headers: impl IntoIterator<Item = &'a str>) -> Self {
        let members = headers.into_iter().flat_map(|header| header.split(','));
        let members = members.map(|member| member.trim_matches([' ', '\t']));
        let mut kept: Vec<&str> = Vec::new();
        for member in members.filter(|member| !member.is_empty()) {
            if kept.len() == MOST_MEMBERS || !is_member(member) {
                return Self::default();
            }
            kept.push(member);
        }
        // Each but the first has a comma before it.
        let length = |kept: &[&str]| kept.iter().map(|m| m.len() + 1).sum::<usize>();
        while length(&kept) > LONGEST + 1 {
            let last_long = kept.iter().rposition(|member| member.len() > LONG_MEMBER);
            kept.remove(last_long.unwrap_or(kept.len() - 1));
        }
        Self((!kept.is_empty()).then(|| kept.join(",").into()))
    }

    /// Its text, as in a header; empty if there is none.
    pub fn as_str(&self) -> &str {
        self.0.as_deref().unwrap_or_default()
    }

    /// Whether there is nothing in it.
    pub const fn is_empty(&self) -> bool {
        self.0.is_none()
    }
}

impl fmt::Display for TraceState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

fn is_member(member: &str) -> bool {
    let Some((key, value)) = member.split_once('=') else { return false };
    is_key(key.as_bytes()) && is_value(value.as_bytes())
}

fn is_key(key: &[u8]) -> bool {
    let letter = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    key.len() <= LONGEST_PART
        && key.first().is_some_and(letter)
        && key.iter().all(|byte| letter(byte) || b"_-*/@".contains(byte))
}

fn is_value(value: &[u8]) -> bool {
    // White space at its end was trimmed with that around the member.
    (1..=LONGEST_PART).contains(&value.len())
        && value.iter().all(|byte| matches!(byte, b' '..=b'~') && !b",=".contains(byte))
}

#[cfg(test)]
mod tests {
    use super::TraceState;
    use proptest::prelude::*;

    fn parse(headers: &[&str]) -> String {
        TraceState::parse(headers.iter().copied()).to_string()
    }

    #[test]
    fn keeps_what_is_well_formed() {
        for (headers, kept) in [
            (&["foo=1"][..], "foo=1"),
            (&["foo=1,bar=2"], "foo=1,bar=2"),
            (&["foo=1", "bar=2"], "foo=1,bar=2"),
            (&["foo=1 \t , \t bar=2, \t baz=3"], "foo=1,bar=2,baz=3"),
            (&["", "foo=1", "", "bar=2"], "foo=1,bar=2"),
            (&["foo=1,,,bar=2,"], "foo=1,bar=2"),
            (&["a b=1".trim_start_matches("a "), "foo= 1"], "b=1,foo= 1"),
            (&["foo@vendor=1", "0a-*/_=x!~"], "foo@vendor=1,0a-*/_=x!~"),
            (&["foo=1,foo=2"], "foo=1,foo=2"),
            (&[], ""),
            (&[" , \t"], ""),
        ] {
            assert_eq!(parse(headers), kept, "{headers:?}");
        }
    }

    #[test]
    fn a_malformed_member_ends_the_whole_list() {
        for wrong in
            ["foo", "=1", "foo=", "foo=1=2", "Foo=1", "foo bar=1", "@foo=1", "foo=\u{7f}", "fö=1"]
        {
            assert_eq!(parse(&["bar=2", wrong]), "", "{wrong:?}");
        }
        let long = "k".repeat(256);
        assert!(!parse(&[&format!("{long}=1")]).is_empty());
        assert_eq!(parse(&[&format!("{long}k=1")]), "");
        assert_eq!(parse(&[&format!("a={long}k")]), "");
    }

    #[test]
    fn keeps_at_most_32_members() {
        let members = |n: usize| (0..n).map(|i| format!("k{i}=1")).collect::<Vec<_>>().join(",");
        assert_eq!(parse(&[&members(32)]), members(32));
        assert_eq!(parse(&[&members(33)]), "");
    }

    #[test]
    fn leaves_out_long_members_first_then_the_last() {
        let long = format!("long={}", "x".repeat(200));
        let short = |i: usize| format!("k{i}={}", "y".repeat(96));
        let text = [short(0), long, short(1), short(2), short(3)].join(",");
        assert_eq!(parse(&[&text]), [short(0), short(1), short(2), short(3)].join(","));
        let text = (0..6).map(short).collect::<Vec<_>>().join(",");
        assert_eq!(parse(&[&text]), (0..5).map(short).collect::<Vec<_>>().join(","));
        let exact = format!("a={}", "x".repeat(126)); // 128
        let rest = (0..3).map(|i| format!("k{i}={}", "z".repeat(124))).collect::<Vec<_>>();
        let text = format!("{exact},{}", rest.join(","));
        assert_eq!(text.len(), 128 + 3 * 128);
        assert_eq!(parse(&[&text]), text, "512 characters fit");
    }

    proptest! {
        #[test]
        fn what_is_kept_is_kept_again(headers in prop::collection::vec("[a-c=, \t@1]{0,40}", 0..4)) {
            let once = TraceState::parse(headers.iter().map(String::as_str));
            prop_assert!(once.as_str().len() <= 512);
            prop_assert_eq!(&TraceState::parse([once.as_str()]), &once);
        }

        #[test]
        fn no_text_panics(header in any::<String>()) {
            TraceState::parse([&*header]);
        }
    }
}
