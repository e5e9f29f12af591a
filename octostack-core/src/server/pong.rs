use super::frames::Frames;

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
    frames: Frames<HEAD>,
    seen: u64,
}

impl Pongs {
    pub(super) const fn new() -> Self {
        Self { frames: Frames::after(PREFACE), seen: 0 }
    }

    pub(super) const fn seen(&self) -> u64 {
        self.seen
    }

    pub(super) fn read(&mut self, bytes: &[u8]) {
        self.frames.read(bytes, |&[high, middle, low, kind, flags, ..]| {
            self.seen += u64::from(kind == PING && flags & ACK != 0);
            u32::from_be_bytes([0, high, middle, low]) as usize
        });
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
