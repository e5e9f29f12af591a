/// Finds the heads of frames in what arrives, however it is cut into reads: a pure state machine
/// that sees all bytes, from the first one on. A head of `HEAD` bytes tells the length of the rest.
#[derive(Debug)]
pub(super) struct Frames<const HEAD: usize> {
    /// What is left of a frame behind its head.
    skip: usize,
    head: [u8; HEAD],
    filled: usize,
}

impl<const HEAD: usize> Frames<HEAD> {
    /// The first frame comes after so many bytes.
    pub(super) const fn after(skip: usize) -> Self {
        Self { skip, head: [0; HEAD], filled: 0 }
    }

    /// Whether what has arrived ends with a frame.
    #[cfg(feature = "tls")]
    pub(super) const fn are_whole(&self) -> bool {
        self.filled == 0 && self.skip == 0
    }

    /// Asks for each head how long the rest of its frame is. Shows that rest with its head, in the
    /// parts in which it arrives; what comes before the first frame has a head of zeros.
    pub(super) fn read(
        &mut self,
        mut bytes: &[u8],
        length: impl Fn(&[u8; HEAD]) -> usize,
        mut rest: impl FnMut(&[u8; HEAD], &[u8]),
    ) {
        while !bytes.is_empty() {
            let skipped = self.skip.min(bytes.len());
            self.skip -= skipped;
            if skipped > 0 {
                rest(&self.head, &bytes[..skipped]);
            }
            bytes = &bytes[skipped..];
            let taken = (HEAD - self.filled).min(bytes.len());
            self.head[self.filled..self.filled + taken].copy_from_slice(&bytes[..taken]);
            self.filled += taken;
            bytes = &bytes[taken..];
            if self.filled == HEAD {
                self.skip = length(&self.head);
                self.filled = 0;
            }
        }
    }
}
