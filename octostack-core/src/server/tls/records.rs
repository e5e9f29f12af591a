//! Where one part of what is encrypted ends.

/// Length of the head of a record (RFC 8446, section 5.1).
const HEAD: usize = 5;

/// Whether what a peer has sent over TLS ends with a whole record: a pure state machine that sees
/// its bytes, from the first one on. Of a part rustls makes nothing yet.
#[derive(Debug, Default)]
pub(in super::super) struct Records {
    head: [u8; HEAD],
    filled: usize,
    /// What is left of a record behind its head.
    skip: usize,
}

impl Records {
    pub(in super::super) const fn are_whole(&self) -> bool {
        self.filled == 0 && self.skip == 0
    }

    pub(in super::super) fn read(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let skipped = self.skip.min(bytes.len());
            self.skip -= skipped;
            bytes = &bytes[skipped..];
            let taken = (HEAD - self.filled).min(bytes.len());
            self.head[self.filled..self.filled + taken].copy_from_slice(&bytes[..taken]);
            self.filled += taken;
            bytes = &bytes[taken..];
            if self.filled == HEAD {
                let [.., high, low] = self.head;
                self.skip = usize::from(u16::from_be_bytes([high, low]));
                self.filled = 0;
            }
        }
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
            let mut records = Records::default();
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
