//! Values while a rule is evaluated, and how JSON logic treats them: truth, equality, order and
//! conversion are those of JavaScript, which the format comes from.
use super::evaluate::Joined;
use octostack_core::inspect::Value;
use std::borrow::Cow;
use std::cmp::Ordering;
use std::fmt::{self, Write as _};

/// A value that a rule computed. Borrows from the rule and from the context, so it costs nothing.
#[derive(Clone, Copy)]
pub(crate) enum Operand<'a> {
    Null,
    Bool(bool),
    Integer(i64),
    Float(f64),
    Text(&'a str),
    /// Text that has not been put together yet.
    Joined(Joined<'a>),
    /// A list whose items have not been computed yet.
    Computed(super::evaluate::Items<'a>),
    /// A list or a map.
    Compound(&'a Value),
}

impl<'a> Operand<'a> {
    #[inline]
    pub(crate) fn of(value: &'a Value) -> Self {
        match value {
            Value::Bool(yes) => Self::Bool(*yes),
            Value::Integer(number) => Self::Integer(*number),
            Value::Float(number) => Self::Float(*number),
            Value::Text(text) => Self::Text(text),
            Value::List(_) | Value::Map(_) => Self::Compound(value),
            _ => Self::Null,
        }
    }

    /// What decides in `if`, `and`, `or` and `!`. Empty text and empty lists are false.
    #[inline]
    pub(crate) fn is_true(self) -> bool {
        match self {
            Self::Null => false,
            Self::Bool(yes) => yes,
            Self::Integer(number) => number != 0,
            Self::Float(number) => number != 0.0 && !number.is_nan(),
            Self::Text(text) => !text.is_empty(),
            Self::Joined(joined) => !same_text("", joined),
            Self::Computed(items) => !items.is_empty(),
            Self::Compound(Value::List(items)) => !items.is_empty(),
            Self::Compound(_) => true,
        }
    }

    /// The text, if it is text. Allocates only where it has to be put together.
    pub(crate) fn text(self) -> Option<Cow<'a, str>> {
        match self {
            Self::Text(text) => Some(Cow::Borrowed(text)),
            Self::Joined(joined) => Some(Cow::Owned(joined.to_string())),
            _ => None,
        }
    }

    /// The number that JavaScript makes of it; not a number where there is none.
    fn number(self) -> f64 {
        #[allow(clippy::cast_precision_loss, reason = "as in every reader of this format")]
        match self {
            Self::Null => 0.0,
            Self::Bool(yes) => f64::from(u8::from(yes)),
            Self::Integer(number) => number as f64,
            Self::Float(number) => number,
            Self::Text(_) | Self::Joined(_) => self.text().map_or(f64::NAN, |t| number_in(&t)),
            Self::Computed(_) | Self::Compound(_) => f64::NAN,
        }
    }

    /// A weight of a split: a whole number, where less than 0 counts as 0.
    pub(crate) fn weight(self) -> Option<u32> {
        match self {
            Self::Integer(number) => u32::try_from(number.max(0)).ok(),
            #[allow(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "it is whole and in range"
            )]
            Self::Float(number) if number.fract() == 0.0 && number <= f64::from(u32::MAX) => {
                Some(number.max(0.0) as u32)
            }
            _ => None,
        }
    }

    /// `===`: of one kind, and equal. Lists and maps are equal if their contents are.
    pub(crate) fn is_identical(self, other: Self) -> bool {
        match (self, other) {
            (Self::Null, Self::Null) => true,
            (Self::Bool(a), Self::Bool(b)) => a == b,
            (Self::Integer(a), Self::Integer(b)) => a == b,
            (Self::Text(a), Self::Text(b)) => a == b,
            (Self::Text(a), Self::Joined(b)) | (Self::Joined(b), Self::Text(a)) => same_text(a, b),
            (Self::Joined(_), Self::Joined(_)) => self.text() == other.text(),
            (Self::Integer(_) | Self::Float(_), Self::Integer(_) | Self::Float(_)) => {
                same_number(self.number(), other.number())
            }
            (Self::Compound(a), Self::Compound(b)) => a == b,
            _ => false,
        }
    }

    /// `==`: as [`is_identical`](Self::is_identical), and between kinds as the numbers they make.
    pub(crate) fn is_equal(self, other: Self) -> bool {
        self.is_identical(other)
            || match (self, other) {
                // As numbers they may look equal, past 2⁵³.
                (Self::Integer(_), Self::Integer(_)) => false,
                _ if self.is_text() && other.is_text() => false,
                _ => {
                    self.is_simple()
                        && other.is_simple()
                        && same_number(self.number(), other.number())
                }
            }
    }

    /// Which is larger: two texts by their letters, everything else as the numbers they make.
    /// `None` where there is no order.
    pub(crate) fn order(self, other: Self) -> Option<Ordering> {
        match (self, other) {
            (Self::Integer(a), Self::Integer(b)) => Some(a.cmp(&b)),
            (Self::Text(a), Self::Text(b)) => Some(a.cmp(b)),
            _ if self.is_text() && other.is_text() => self.text().partial_cmp(&other.text()),
            _ => self.number().partial_cmp(&other.number()),
        }
    }

    /// `in`: part of a text, or an item of a list.
    pub(crate) fn is_in(self, haystack: Self) -> bool {
        match haystack {
            Self::Compound(Value::List(items)) => {
                items.iter().any(|item| self.is_identical(Operand::of(item)))
            }
            Self::Computed(items) => items.any(|item| self.is_identical(item)),
            Self::Text(_) | Self::Joined(_) => match (self.text(), haystack.text()) {
                (Some(needle), Some(haystack)) => haystack.contains(&*needle),
                _ => false,
            },
            _ => false,
        }
    }

    /// Neither null, which equals itself only, nor a list or a map.
    const fn is_simple(self) -> bool {
        self.is_text() || matches!(self, Self::Bool(_) | Self::Integer(_) | Self::Float(_))
    }

    const fn is_text(self) -> bool {
        matches!(self, Self::Text(_) | Self::Joined(_))
    }

    /// What an explanation shows.
    pub(crate) fn to_value(self) -> Value {
        match self {
            Self::Null => Value::Null,
            Self::Bool(yes) => yes.into(),
            Self::Integer(number) => number.into(),
            Self::Float(number) => number.into(),
            Self::Text(text) => text.to_owned().into(),
            Self::Joined(joined) => joined.to_string().into(),
            Self::Computed(items) => items.to_value(),
            Self::Compound(value) => value.clone(),
        }
    }
}

/// How JavaScript writes it into a text.
impl fmt::Display for Operand<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => Ok(()),
            Self::Bool(yes) => yes.fmt(f),
            Self::Integer(number) => number.fmt(f),
            Self::Float(number) => write_float(*number, f),
            Self::Text(text) => f.write_str(text),
            Self::Joined(joined) => joined.fmt(f),
            Self::Computed(items) => items.fmt(f),
            Self::Compound(Value::List(items)) => {
                for (i, item) in items.iter().enumerate() {
                    f.write_str(if i == 0 { "" } else { "," })?;
                    Operand::of(item).fmt(f)?;
                }
                Ok(())
            }
            Self::Compound(_) => f.write_str("[object Object]"),
        }
    }
}

/// ECMA-262, `Number::toString`: decimals up to 10²¹ and from 10⁻⁶, an exponent beyond.
fn write_float(number: f64, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let size = number.abs();
    if number.is_nan() {
        f.write_str("NaN")
    } else if number == 0.0 {
        f.write_char('0')
    } else if number.is_infinite() {
        f.write_str(if number > 0.0 { "Infinity" } else { "-Infinity" })
    } else if size >= 1e21 {
        // Rust writes no plus.
        let mut plus = WithPlus { out: f };
        write!(plus, "{number:e}")
    } else if size < 1e-6 {
        write!(f, "{number:e}")
    } else {
        write!(f, "{number}")
    }
}

/// Writes `1e21` as `1e+21`.
struct WithPlus<'a, 'b> {
    out: &'a mut fmt::Formatter<'b>,
}

impl fmt::Write for WithPlus<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        match text.split_once('e') {
            Some((digits, exponent)) => write!(self.out, "{digits}e+{exponent}"),
            None => self.out.write_str(text),
        }
    }
}

#[allow(clippy::float_cmp, reason = "equality of numbers is what the rule asks for")]
fn same_number(a: f64, b: f64) -> bool {
    a == b
}

/// The number that a text is, as JavaScript reads it: decimal, without anything around it but
/// space. No text is 0.
fn number_in(text: &str) -> f64 {
    let text = text.trim();
    if text.is_empty() {
        return 0.0;
    }
    // Rust also reads `inf` and `nan`, which JavaScript writes otherwise.
    let unsigned = text.trim_start_matches(['+', '-']);
    if unsigned == "Infinity" || unsigned.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
        text.parse().unwrap_or(f64::NAN)
    } else {
        f64::NAN
    }
}

/// Whether `joined` would print as `text`, without printing it.
pub(crate) fn same_text(text: &str, joined: impl fmt::Display) -> bool {
    let mut rest = Rest(text.as_bytes());
    write!(rest, "{joined}").is_ok() && rest.0.is_empty()
}

/// What is left of a text that a writer has to repeat.
struct Rest<'a>(&'a [u8]);

impl fmt::Write for Rest<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0 = self.0.strip_prefix(text.as_bytes()).ok_or(fmt::Error)?;
        Ok(())
    }
}
