use super::frames::Frames;

/// Length of what an HTTP/2 client sends before its first frame (RFC 9113, section 3.4).
const PREFACE: usize = 24;

/// Length of the head of a frame (section 4.1).
const HEAD: usize = 9;

/// Type of a PING, and the flag of an answer to one (section 6.7).
const PING: u8 = 6;
const ACK: u8 = 1;

/// What h2 pings with when it says GOAWAY (its `Ping::SHUTDOWN`), and an answer to that has in it.
/// A test of the drain notices when h2 takes another.
const GOODBYE: [u8; 8] = [0x0b, 0x7b, 0xa2, 0xf0, 0x8b, 0x9b, 0xfe, 0x54];

/// Counts the answers to the ping of GOAWAY in what an HTTP/2 peer sends: a pure state machine that
/// sees its bytes, from the first one on.
///
/// After GOAWAY, h2 ends a connection by itself if the ping that went with it was answered, and
/// otherwise never. It does not tell which; whether anything at all was heard says too little, as
/// a peer may go on asking and not answer pings. So does an answer to a ping that there never was,
/// which h2 passes over.
#[derive(Debug)]
pub(super) struct Pongs {
    frames: Frames<HEAD>,
    /// What an answer has in it, as far as it has arrived.
    payload: [u8; GOODBYE.len()],
    filled: usize,
    seen: u64,
}

fn length(&[high, middle, low, ..]: &[u8; HEAD]) -> usize {
    u32::from_be_bytes([0, high, middle, low]) as usize
}

/// Whether it is the head of an answer to a ping. One of another length is an error to h2.
fn is_pong(head: &[u8; HEAD]) -> bool {
    head[3] == PING && head[4] & ACK != 0 && length(head) == GOODBYE.len()
}

impl Pongs {
    pub(super) const fn new() -> Self {
        let payload = [0; GOODBYE.len()];
        Self { frames: Frames::after(PREFACE), payload, filled: 0, seen: 0 }
    }

    pub(super) const fn seen(&self) -> u64 {
        self.seen
    }

    pub(super) fn read(&mut self, bytes: &[u8]) {
        self.frames.read(bytes, length, |head, part| {
            if !is_pong(head) {
                return;
            }
            self.payload[self.filled..self.filled + part.len()].copy_from_slice(part);
            self.filled += part.len();
            if self.filled == self.payload.len() {
                self.filled = 0;
                self.seen += u64::from(self.payload == GOODBYE);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::{GOODBYE, Pongs};
    use proptest::prelude::*;

    fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        [&[length[1], length[2], length[3], kind, flags, 0, 0, 0, 0], payload].concat()
    }

    fn payload() -> impl Strategy<Value = Vec<u8>> {
        let almost = (0..GOODBYE.len(), any::<u8>()).prop_map(|(at, byte)| {
            let mut payload = GOODBYE.to_vec();
            payload[at] = byte;
            payload
        });
        // Full of what looks like answers.
        let other = (0..70_000_usize)
            .prop_map(|length| frame(6, 1, &GOODBYE).into_iter().cycle().take(length).collect());
        prop_oneof![Just(GOODBYE.to_vec()), almost, other]
    }

    proptest! {
        #[test]
        fn however_the_bytes_arrive(
            frames in prop::collection::vec((5..8_u8, 0..3_u8, payload()), 0..20),
            piece in prop_oneof![1..30_usize, 1..20_000_usize],
        ) {
            let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
            for (kind, flags, payload) in &frames {
                bytes.extend(frame(*kind, *flags, payload));
            }
            let mut pongs = Pongs::new();
            for piece in bytes.chunks(piece) {
                pongs.read(piece);
            }
            let right = frames.iter().filter(|(kind, flags, payload)| {
                (*kind, *flags) == (6, 1) && *payload == GOODBYE
            });
            prop_assert_eq!(pongs.seen(), right.count() as u64);
        }
    }
}
