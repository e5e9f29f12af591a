//! `MurmurHash3_x86_32`, fed piece by piece, so that a name and a key are hashed as one text
//! without being joined in memory.

/// A hash under way.
pub(super) struct Murmur3 {
    state: u32,
    /// Bytes that do not fill a block of four yet, from the lowest, and how many bits they are.
    rest: u32,
    rest_bits: u32,
    /// All bytes so far; the algorithm wraps it at 2³².
    len: u32,
}

impl Murmur3 {
    pub(super) const fn new(seed: u32) -> Self {
        Self { state: seed, rest: 0, rest_bits: 0, len: 0 }
    }

    #[inline]
    pub(super) fn write(&mut self, bytes: &[u8]) {
        #[allow(
            clippy::cast_possible_truncation,
            reason = "the algorithm takes the length modulo 2^32"
        )]
        let len = bytes.len() as u32;
        self.len = self.len.wrapping_add(len);
        let (blocks, tail) = bytes.as_chunks::<4>();
        for block in blocks {
            // In a wide word, as a shift by all 32 bits is none.
            let word = u64::from(u32::from_le_bytes(*block)) << self.rest_bits;
            self.block(self.rest | low(word));
            self.rest = low(word >> 32);
        }
        for byte in tail {
            self.rest |= u32::from(*byte) << self.rest_bits;
            self.rest_bits += 8;
            if self.rest_bits == 32 {
                self.block(self.rest);
                (self.rest, self.rest_bits) = (0, 0);
            }
        }
    }

    pub(super) fn finish(mut self) -> u32 {
        if self.rest_bits > 0 {
            self.state ^= scramble(self.rest);
        }
        let mut hash = self.state ^ self.len;
        hash = (hash ^ (hash >> 16)).wrapping_mul(0x85eb_ca6b);
        hash = (hash ^ (hash >> 13)).wrapping_mul(0xc2b2_ae35);
        hash ^ (hash >> 16)
    }

    #[inline]
    fn block(&mut self, block: u32) {
        let mixed = (self.state ^ scramble(block)).rotate_left(13);
        self.state = mixed.wrapping_mul(5).wrapping_add(0xe654_6b64);
    }
}

#[allow(clippy::cast_possible_truncation, reason = "the low half is what is wanted")]
const fn low(word: u64) -> u32 {
    word as u32
}

/// So that text can be hashed while it is put together.
impl std::fmt::Write for Murmur3 {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        self.write(text.as_bytes());
        Ok(())
    }
}

#[inline]
const fn scramble(block: u32) -> u32 {
    let mixed = block.wrapping_mul(0xcc9e_2d51).rotate_left(15);
    mixed.wrapping_mul(0x1b87_3593)
}

#[cfg(test)]
mod tests {
    use super::Murmur3;
    use proptest::prelude::*;

    fn hash(seed: u32, bytes: &[u8]) -> u32 {
        let mut hash = Murmur3::new(seed);
        hash.write(bytes);
        hash.finish()
    }

    #[test]
    fn known_values() {
        assert_eq!(hash(0, b""), 0);
        assert_eq!(hash(1, b""), 0x514e_28b7);
        assert_eq!(hash(0, b"hello"), 0x248b_fa47);
        assert_eq!(hash(0, b"hello, world"), 0x149b_bb7f);
    }

    /// The check that the algorithm's author ships: hashes of all short inputs, hashed.
    #[test]
    fn verification_value() {
        let keys: Vec<u8> = (0..=255).collect();
        let hashes: Vec<u8> = (0..256_u32)
            .flat_map(|len| hash(256 - len, &keys[..len as usize]).to_le_bytes())
            .collect();
        assert_eq!(hash(0, &hashes), 0xb0f5_7ee3);
    }

    proptest! {
        #[test]
        fn pieces_hash_like_the_whole(
            pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..9), 0..9),
        ) {
            let mut piecewise = Murmur3::new(0);
            for piece in &pieces {
                piecewise.write(piece);
            }
            prop_assert_eq!(piecewise.finish(), hash(0, &pieces.concat()));
        }
    }
}
