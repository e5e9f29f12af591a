//! Where one part of what is encrypted ends.
use crate::server::frames::Frames;

/// Length of the head of a record (RFC 8446, section 5.1).
const HEAD: usize = 5;

/// Whether what a peer has sent over TLS ends with a whole record: a pure state machine that sees
/// its bytes, from the first one on. Of a part rustls makes nothing yet.
#[derive(Debug)]
pub(in super::super) struct Records(Frames<HEAD>);

impl Records {
    pub(in super::super) const fn new() -> Self {
        Self(Frames::after(0))
    }

    pub(in super::super) const fn are_whole(&self) -> bool {
        self.0.are_whole()
    }

    pub(in super::super) fn read(&mut self, bytes: &[u8]) {
        let length = |&[.., high, low]: &[u8; HEAD]| usize::from(u16::from_be_bytes([high, low]));
        self.0.read(bytes, length, |_, _| {});
    }
}

#[cfg(test)]
mod tests {
    use super::Records;

    proptest::proptest! {
        #[test]
        fn whole_at_the_end_of_each_and_nowhere_else(
            lengths in proptest::collection::vec(0..20_000_u16, 1..8),
            piece in 1..9_000_usize,
        ) {
            let mut records = Records::new();
            let (mut bytes, mut ends) = (Vec::new(), vec![0]);
            for length in lengths {
                bytes.extend([23, 3, 3]);
                bytes.extend(length.to_be_bytes());
                bytes.resize(bytes.len() + usize::from(length), 3);
                ends.push(bytes.len());
            }
            let mut read = 0;
            for piece in bytes.chunks(piece) {
                records.read(piece);
                read += piece.len();
                proptest::prop_assert_eq!(records.are_whole(), ends.contains(&read));
            }
        }
    }
}
