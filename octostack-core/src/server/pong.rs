/// Length of what an HTTP/2 client sends before its first frame (RFC 9113, section 3.4).
const PREFACE: usize = 24;

/// Length of the head of a frame (section 4.1).
const HEAD: usize = 9;

/// Type of a PING, and the flag of an answer to one (section 6.7).
const PING: u8 = 6;
const ACK: u8 = 1;

/// Counts the answers to pings in what an HTTP/2 peer sends: a pure state machine that sees its
/// bytes, from the first one on.
///
/// After GOAWAY, h2 ends a connection by itself if the ping that went with it was answered, and
/// otherwise never. It does not tell which; whether anything at all was heard says too little, as
/// a peer may go on asking and not answer pings.
#[derive(Debug)]
pub(super) struct Pongs {
    /// What is left of the preface, or of a frame behind its head.
    skip: usize,
    head: [u8; HEAD],
    filled: usize,
    seen: u64,
}

impl Pongs {
    pub(super) fn new() -> Self {
        Self { skip: PREFACE, head: [0; HEAD], filled: 0, seen: 0 }
    }

    pub(super) fn seen(&self) -> u64 {
        self.seen
    }

    pub(super) fn read(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let skipped = self.skip.min(bytes.len());
            self.skip -= skipped;
            bytes = &bytes[skipped..];
            let taken = (HEAD - self.filled).min(bytes.len());
            self.head[self.filled..self.filled + taken].copy_from_slice(&bytes[..taken]);
            self.filled += taken;
            bytes = &bytes[taken..];
            if self.filled == HEAD {
                let [high, middle, low, kind, flags, ..] = self.head;
                self.skip = u32::from_be_bytes([0, high, middle, low]) as usize;
                self.seen += u64::from(kind == PING && flags & ACK != 0);
                self.filled = 0;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Pongs;

    fn frame(kind: u8, flags: u8, payload: usize) -> Vec<u8> {
        let length = u32::try_from(payload).unwrap().to_be_bytes();
        let mut frame = vec![length[1], length[2], length[3], kind, flags, 0, 0, 0, 0];
        frame.resize(9 + payload, 6); // which looks like pings
        frame
    }

    proptest::proptest! {
        #[test]
        fn however_the_bytes_arrive(
            frames in proptest::collection::vec((0..10_u8, 0..2_u8, 0..70_000_usize), 0..20),
            piece in 1..20_000_usize,
        ) {
            let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
            for (kind, flags, payload) in &frames {
                bytes.extend(frame(*kind, *flags, *payload));
            }
            let mut pongs = Pongs::new();
            for piece in bytes.chunks(piece) {
                pongs.read(piece);
            }
            let right = frames.iter().filter(|(kind, flags, _)| (*kind, *flags) == (6, 1)).count();
            proptest::prop_assert_eq!(pongs.seen(), right as u64);
        }
    }
}
