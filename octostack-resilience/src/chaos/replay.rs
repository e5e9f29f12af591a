//! The numbers of the nth call: a pure function of the seed, so that a run can be repeated.
//!
//! It is `SplitMix64` (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014),
//! whose nth output needs none of those before: threads share nothing but the number of the call.
//! It stands here, and is not that of a crate, because a seed that was written down must mean the
//! same after an update.

/// What a generator of `SplitMix64` adds to its state before each output.
const GAMMA: u64 = 0x9e37_79b9_7f4a_7c15;

/// How many numbers belong to one call.
const EACH: u64 = 3;

/// Three numbers from 0 to below 1 for call `n`, which is 0 for the first.
pub(super) fn numbers(seed: u32, n: u64) -> [f64; 3] {
    let first = n.wrapping_mul(EACH);
    [0, 1, 2].map(|k| fraction(output(seed.into(), first.wrapping_add(k))))
}

/// Output `i` of the generator that starts in state `seed`.
fn output(seed: u64, i: u64) -> u64 {
    let state = seed.wrapping_add(i.wrapping_add(1).wrapping_mul(GAMMA));
    let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// The upper 53 bits, which is what an `f64` holds exactly.
fn fraction(bits: u64) -> f64 {
    (bits >> 11) as f64 / (1_u64 << 53) as f64
}

#[cfg(all(test, not(octostack_loom)))]
mod tests {
    use super::{fraction, numbers, output};

    /// The first outputs for seed 1234567, as the reference implementation gives them.
    #[test]
    fn is_the_generator_that_it_says() {
        let expected = [
            6_457_827_717_110_365_317,
            3_203_168_211_198_807_973,
            9_817_491_932_198_370_423,
            4_593_380_528_125_082_431,
            16_408_922_859_458_223_821,
        ];
        assert_eq!([0, 1, 2, 3, 4].map(|i| output(1_234_567, i)), expected);
    }

    /// A change of these breaks every seed that anybody has written down.
    #[test]
    fn a_seed_means_the_same_for_ever() {
        let all = [numbers(7, 0), numbers(7, 1)].concat();
        let expected: Vec<_> = (0..6).map(|i| fraction(output(7, i))).collect();
        assert_eq!(all, expected);
        assert!(all.iter().all(|number| (0.0..1.0).contains(number)));
        assert!(fraction(u64::MAX) < 1.0);
        assert_eq!(fraction(0).to_bits(), 0.0_f64.to_bits());
    }
}
