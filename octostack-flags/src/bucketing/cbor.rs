//! Deterministic CBOR (RFC 8949, section 4.2.1), written straight into the hash.
//!
//! Two languages that agree on a value have to agree on its bytes. So every head and number takes
//! its shortest form, a float that is a whole number is encoded as that number (JSON does not tell
//! `1.0` from `1`), and the keys of a map are sorted by their encoding.
use super::murmur::Murmur3;
use octostack_core::inspect::Value;

const UNSIGNED: u8 = 0;
const NEGATIVE: u8 = 1;
const TEXT: u8 = 3;
const LIST: u8 = 4;
const MAP: u8 = 5;

/// Sizes of a number that follows its head, in the low bits of the head.
const ONE_BYTE: u8 = 0x18;
const TWO_BYTES: u8 = 0x19;
const FOUR_BYTES: u8 = 0x1a;
const EIGHT_BYTES: u8 = 0x1b;

const FALSE: u8 = 0xf4;
const TRUE: u8 = 0xf5;
const NULL: u8 = 0xf6;
const HALF: u8 = 0xf9;
const SINGLE: u8 = 0xfa;
const DOUBLE: u8 = 0xfb;

/// Any value; `None` for a kind of value that this version of the encoding does not know.
pub(super) fn value(value: &Value, out: &mut Murmur3) -> Option<()> {
    match value {
        Value::Null => out.write(&[NULL]),
        Value::Bool(is_true) => out.write(&[if *is_true { TRUE } else { FALSE }]),
        Value::Integer(number) => integer(*number, out),
        Value::Float(number) => float(*number, out),
        Value::Text(content) => text(content, out),
        Value::List(items) => {
            list_of(items.len(), out);
            for item in items {
                self::value(item, out)?;
            }
        }
        Value::Map(entries) => {
            head(MAP, entries.len() as u64, out);
            let mut sorted: Vec<_> = entries.iter().collect();
            // The encoding of a text starts with its length.
            sorted.sort_by_key(|(key, _)| (key.len(), key.as_bytes()));
            for (key, item) in sorted {
                text(key, out);
                self::value(item, out)?;
            }
        }
        _ => return None,
    }
    Some(())
}

/// The head of a list, whose `len` items have to follow.
pub(super) fn list_of(len: usize, out: &mut Murmur3) {
    head(LIST, len as u64, out);
}

/// A text.
pub(super) fn text(content: &str, out: &mut Murmur3) {
    head_of_text(content.len(), out);
    out.write(content.as_bytes());
}

/// The head of a text, whose `len` bytes have to follow.
pub(super) fn head_of_text(len: usize, out: &mut Murmur3) {
    head(TEXT, len as u64, out);
}

fn integer(number: i64, out: &mut Murmur3) {
    match u64::try_from(number) {
        Ok(number) => head(UNSIGNED, number, out),
        Err(_) => head(NEGATIVE, number.unsigned_abs() - 1, out),
    }
}

fn float(number: f64, out: &mut Murmur3) {
    const TWO_POW_64: f64 = 18_446_744_073_709_551_616.0;
    let size = number.abs();
    if size < TWO_POW_64 && size.fract() == 0.0 {
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a whole number that is in range"
        )]
        let whole = size as u64;
        if number < 0.0 {
            head(NEGATIVE, whole - 1, out);
        } else {
            head(UNSIGNED, whole, out);
        }
        return;
    }
    if let Some(half) = half(number) {
        out.write(&[HALF]);
        return out.write(&half.to_be_bytes());
    }
    #[allow(clippy::cast_possible_truncation, reason = "taken only if nothing is lost")]
    let single = number as f32;
    if f64::from(single).to_bits() == number.to_bits() {
        out.write(&[SINGLE]);
        out.write(&single.to_be_bytes());
    } else {
        out.write(&[DOUBLE]);
        out.write(&number.to_be_bytes());
    }
}

/// The bits of the same number in half precision, if it has it.
fn half(number: f64) -> Option<u16> {
    let bits = number.to_bits();
    let sign = if number.is_sign_negative() { 0x8000 } else { 0 };
    let fraction = bits & ((1 << 52) - 1);
    let exponent = i32::try_from((bits >> 52) & 0x7ff).ok()? - 1023;
    // What remains of the significand in steps of half precision, or nothing if bits are lost.
    let shifted = |significand: u64, by: i32| {
        let kept = significand >> by;
        (kept << by == significand).then_some(kept)
    };
    let size = match exponent {
        1024 if fraction == 0 => 0x7c00, // infinite
        1024 => 0x7e00,                  // the one NaN
        -14..=15 => (u64::try_from(exponent + 15).ok()? << 10) | shifted(fraction, 42)?,
        -24..=-15 => shifted(fraction | 1 << 52, 28 - exponent)?, // subnormal
        _ => return None,
    };
    Some(sign | u16::try_from(size).ok()?)
}

/// Kind and length, or kind and number, in the fewest bytes.
fn head(kind: u8, number: u64, out: &mut Murmur3) {
    let kind = kind << 5;
    let bytes = number.to_be_bytes();
    match number {
        0..24 => out.write(&[kind | bytes[7]]),
        24..0x100 => out.write(&[kind | ONE_BYTE, bytes[7]]),
        0x100..0x1_0000 => {
            out.write(&[kind | TWO_BYTES]);
            out.write(&bytes[6..]);
        }
        0x1_0000..0x1_0000_0000 => {
            out.write(&[kind | FOUR_BYTES]);
            out.write(&bytes[4..]);
        }
        _ => {
            out.write(&[kind | EIGHT_BYTES]);
            out.write(&bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::half;

    #[test]
    fn half_precision() {
        let cases = [
            (1.5, Some(0x3e00)),
            (-2.5, Some(0xc100)),
            (65_504.0, Some(0x7bff)),
            (6.103_515_625e-5, Some(0x0400)),
            (5.960_464_477_539_063e-8, Some(0x0001)),
            (f64::INFINITY, Some(0x7c00)),
            (f64::NEG_INFINITY, Some(0xfc00)),
            (1.1, None),
            (65_536.0, None),
            (2.0_f64.powi(-25), None),
            (1.000_976_562_5 / 32_768.0, None), // needs one bit more than a subnormal has
        ];
        for (number, bits) in cases {
            assert_eq!(half(number), bits, "{number}");
        }
    }
}
